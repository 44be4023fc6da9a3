"""The gateway as native code answers, meters and limits as from source; native code of other sources is not used."""

import contextlib
import io
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from moorage.config.instance import compile_door
from moorage.config.instance.home import Home
from moorage.gateway import compiled

ROOT = Path(__file__).parents[2]
#: Whole gateways at work: clients, faults of engines, hostile heads, kills, limits.
AT_WORK = (
    "test_openai_client.py",
    "test_anthropic_client.py",
    "test_billing_rules.py",
    "test_strict_door.py",
    "test_pipelines.py",
    "test_durability.py",
    "test_limits_race.py",
)
SHOWN = (
    "import sys; from pathlib import Path; from moorage.gateway import compiled; print(compiled.use(Path(sys.argv[1])))"
)
WHERE = "; from moorage.gateway import sse; print(sse.__file__)"


@pytest.fixture(scope="module")
def compilation(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with native code of the sources as they are, and what was said while it was made."""
    if shutil.which("cc") is None:
        pytest.skip("there is no C compiler")
    home = Home(path=tmp_path_factory.mktemp("home"))
    with contextlib.redirect_stderr(io.StringIO()) as said:
        assert compile_door.run(place=home) == 0, said.getvalue()
    return home.compiled, said.getvalue()


@pytest.fixture
def native(compilation: tuple[Path, str]) -> Path:
    return compilation[0]


def python(*arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT / "platform")},
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def test_the_modules_come_from_native_code_where_there_is_some(native: Path) -> None:
    shown = python("-c", SHOWN + WHERE, str(native))

    assert shown.splitlines() == ["True", str(compiled.file_of(compiled.folder(native), "moorage.gateway.sse"))]


def test_it_is_laid_out_by_what_a_rehearsal_counted(compilation: tuple[Path, str]) -> None:
    version = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True).stdout
    if "Free Software Foundation" not in version:
        pytest.skip("only gcc's way to take a profile is known")

    assert "no profile" not in compilation[1]


def test_native_code_of_other_sources_is_not_used(native: Path, tmp_path: Path) -> None:
    shutil.copytree(compiled.folder(native), tmp_path / "another-digest")

    shown = python("-c", SHOWN + WHERE, str(tmp_path))

    assert shown.splitlines() == ["False", str(compiled.source("moorage.gateway.sse"))]


def test_what_is_compiled_is_not_compiled_again(native: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compile_door.run(place=Home(path=native.parent)) == 0
    assert "The gateway is compiled" in capsys.readouterr().out


def test_a_native_gateway_passes_the_tests_of_whole_gateways(native: Path) -> None:
    # Services of its own: two runs cannot share a test database.
    surroundings = {name: value for name, value in os.environ.items() if name not in {"DATABASE_URL", "BROKER_URL"}}
    files = [f"tests/gateway/{name}" for name in AT_WORK]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *files],
        cwd=ROOT,
        env={**surroundings, "MOORAGE_GATEWAY_COMPILED": str(native), "MOORAGE_GATEWAY_IS_NATIVE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-6000:]
