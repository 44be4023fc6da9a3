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


def test_an_environment_is_made_and_stamped_and_used_again(tmp_path: Path, locks: list[Path]) -> None:
    environment = tmp_path / "venv"

    python = manage.ensure_environment(environment, locks[:1])
    made_at = (environment / "pyvenv.cfg").stat().st_mtime_ns
    again = manage.ensure_environment(environment, locks[:1])

    assert python == again
    prefix = subprocess.run([python, "-c", "import sys; print(sys.prefix)"], capture_output=True, text=True, check=True)
    assert Path(prefix.stdout.strip()) == environment
    assert (environment / "pyvenv.cfg").stat().st_mtime_ns == made_at
    assert manage.is_ready(environment, locks[:1])
    assert not manage.is_ready(environment, locks)


def test_the_test_packages_are_added_in_place_and_serve_both_doors(tmp_path: Path, locks: list[Path]) -> None:
    environment = tmp_path / "venv"
    manage.ensure_environment(environment, locks[:1])
    (environment / "kept").touch()

    manage.ensure_environment(environment, locks)

    assert (environment / "kept").exists()
    assert manage.is_ready(environment, locks)
    assert manage.is_ready(environment, locks[:1])


def test_an_interrupted_or_outdated_environment_is_made_anew(tmp_path: Path, locks: list[Path]) -> None:
    environment = tmp_path / "venv"
    manage.ensure_environment(environment, locks[:1])

    for spoil in (lambda: (environment / manage.STAMP).unlink(), lambda: locks[0].write_text("# other\n")):
        (environment / "left").touch()
        spoil()
        manage.ensure_environment(environment, locks[:1])

        assert not (environment / "left").exists()
        assert manage.is_ready(environment, locks[:1])


def test_a_package_without_its_hash_is_not_installed_and_leaves_no_stamp(tmp_path: Path, locks: list[Path]) -> None:
    locks[0].write_text("six==1.17.0\n")

    with pytest.raises(manage.SetupFailed, match="could not be installed"):
        manage.ensure_environment(tmp_path / "venv", locks[:1])

    assert not manage.is_ready(tmp_path / "venv", locks[:1])


def test_every_locked_package_has_hashes_and_no_lock_names_an_index() -> None:
    for lock in (ROOT / "deploy").glob("requirements*.lock"):
        text = lock.read_text()
        packages = re.split(r"^(?=\S)", text, flags=re.MULTILINE)[1:]

        assert packages
        assert all("==" in package and "--hash=sha256:" in package for package in packages), lock
        assert not re.search(r"index-url|find-links|https?:", text), lock


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
