"""How manage.py makes its environment: hashed locks, a stamp written last, and what happens after an interruption."""

import re
import subprocess
import sys
from pathlib import Path

import manage
import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def locks(tmp_path: Path) -> list[Path]:
    """Two locks that need no package at all: pip has nothing to fetch."""
    made = [tmp_path / "requirements.lock", tmp_path / "requirements-test.lock"]
    for path in made:
        path.write_text(f"# {path.name}: nothing\n")
    return made


class Builder:
    """Makes environments in no time, and may be interrupted."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.is_interrupted = False

    def __call__(self, environment: Path, locks: list[Path]) -> Path:
        return manage.ensure_environment(environment, locks, create=self.create, install=self.install)

    def create(self, environment: Path) -> None:
        self.done.append("create")
        (environment / "bin").mkdir(parents=True)
        (environment / "bin" / "python").touch()

    def install(self, python: Path, lock: Path) -> None:
        self.done.append(f"install {lock.name}")
        if self.is_interrupted:
            raise KeyboardInterrupt


def test_a_real_environment_is_made_once_and_recognized_from_inside(tmp_path: Path, locks: list[Path]) -> None:
    environment = tmp_path / "venv"

    python = manage.ensure_environment(environment, locks[:1])

    inside = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert manage.is_ready(Path(inside.stdout.strip()), locks[:1])
    assert not manage.is_ready(environment, locks)
    # pip refuses what has no hash, and then nothing says that the environment is complete.
    unhashed = tmp_path / "unhashed.lock"
    unhashed.write_text("six==1.17.0\n")
    with pytest.raises(manage.SetupFailed, match="could not be installed"):
        manage.ensure_environment(environment, [*locks[:1], unhashed])
    assert not manage.is_ready(environment, locks[:1])


def test_a_complete_environment_is_used_as_it_is(tmp_path: Path, locks: list[Path]) -> None:
    build = Builder()

    build(tmp_path / "venv", locks[:1])
    build(tmp_path / "venv", locks[:1])

    assert build.done == ["create", "install requirements.lock"]


def test_the_test_packages_are_added_in_place_and_serve_both_doors(tmp_path: Path, locks: list[Path]) -> None:
    build = Builder()
    build(tmp_path / "venv", locks[:1])

    build(tmp_path / "venv", locks)
    build(tmp_path / "venv", locks[:1])

    assert build.done == ["create", "install requirements.lock", "install requirements-test.lock"]


def test_an_interrupted_installation_is_begun_again_from_nothing(tmp_path: Path, locks: list[Path]) -> None:
    build = Builder()
    build.is_interrupted = True
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "venv", locks[:1])
    (tmp_path / "venv" / "half-installed").touch()

    build.is_interrupted = False
    build(tmp_path / "venv", locks[:1])

    assert build.done == ["create", "install requirements.lock"] * 2
    assert not (tmp_path / "venv" / "half-installed").exists()
    assert manage.is_ready(tmp_path / "venv", locks[:1])


def test_an_interrupted_addition_is_begun_again_from_nothing(tmp_path: Path, locks: list[Path]) -> None:
    build = Builder()
    build(tmp_path / "venv", locks[:1])
    build.is_interrupted = True
    with pytest.raises(KeyboardInterrupt):
        build(tmp_path / "venv", locks)

    assert not manage.is_ready(tmp_path / "venv", locks[:1])


def test_other_locks_mean_another_environment(tmp_path: Path, locks: list[Path]) -> None:
    build = Builder()
    build(tmp_path / "venv", locks[:1])

    locks[0].write_text("# other\n")
    build(tmp_path / "venv", locks[:1])

    assert build.done == ["create", "install requirements.lock"] * 2


def test_every_locked_package_has_hashes_and_no_lock_names_an_index() -> None:
    for lock in (ROOT / "deploy").glob("requirements*.lock"):
        text = lock.read_text()
        packages = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]

        assert packages
        assert all("==" in package and "--hash=sha256:" in package for package in packages), lock
        assert not re.search(r"--(extra-)?index|find-links|https?:", text), lock


def test_the_test_lock_contains_the_other_lock_pin_by_pin() -> None:
    runtime, test = (
        set(re.findall(r"^\S+==\S+", (ROOT / "deploy" / name).read_text(), re.MULTILINE))
        for name in ("requirements.lock", "requirements-test.lock")
    )

    assert runtime < test


def test_every_dependency_of_the_project_is_locked() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = (ROOT / "deploy" / "requirements-test.lock").read_text()

    for requirement in [*project["dependencies"], *project["optional-dependencies"]["test"]]:
        name = re.split(r"[\[~>=<]", requirement)[0].lower()
        assert re.search(rf"^{re.escape(name)}==", locked, re.MULTILINE), name


def test_manage_without_an_argument_names_its_doors_and_needs_no_environment() -> None:
    shown = subprocess.run([sys.executable, "-I", "-S", ROOT / "manage.py"], capture_output=True, text=True, check=True)

    for door in ("up", "down", "status", "logs", "test"):
        assert f"  {door}" in shown.stdout
