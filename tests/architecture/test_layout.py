"""The plan of the house: what must exist, what must not, and how the rooms may depend on each other."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "platform" / "moorage"
ROOMS = sorted(path.name for path in PACKAGE.iterdir() if path.is_dir() and path.name != "__pycache__")
MODULES = sorted(path for path in PACKAGE.rglob("*.py") if "migrations" not in path.parts)
BANNED_NAMES = {"utils", "helpers", "common", "misc", "base", "manager", "handler", "processor", "data", "info"}


def tracked() -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True
    )
    assert listed.returncode == 0, listed.stderr
    return [ROOT / line for line in listed.stdout.splitlines() if (ROOT / line).is_file()]


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def test_platform_is_a_plain_source_root() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists(), "it would shadow the standard library's platform"
    probe = "import platform; assert platform.system()"
    subprocess.run([sys.executable, "-c", probe], cwd=ROOT, check=True)


def test_the_package_is_found_by_manage_py_and_by_an_installed_distribution() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    assert project["tool"]["setuptools"]["packages"]["find"]["where"] == ["platform"]
    assert '"platform"' in (ROOT / "manage.py").read_text()
    assert project["project"]["scripts"]["moorage"].startswith("moorage.cli")


def test_every_room_is_in_the_import_contract_and_has_a_readme() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    contract = project["tool"]["importlinter"]["contracts"][0]
    named = {room.strip() for layer in contract["layers"] for room in layer.split("|")}

    assert named == set(ROOMS)
    assert contract["exhaustive"] is True
    assert [room for room in ROOMS if not (PACKAGE / room / "README.md").is_file()] == []


def test_tests_are_packages_all_the_way_down() -> None:
    folders = {path.parent for path in (ROOT / "tests").rglob("test_*.py")}

    assert [str(folder) for folder in folders if not (folder / "__init__.py").is_file()] == []


def test_files_are_named_for_a_noun_and_stay_readable() -> None:
    assert [str(path) for path in MODULES if path.stem in BANNED_NAMES and path.name != "base.html"] == []
    long = {str(path.relative_to(ROOT)): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: lines for name, lines in long.items() if lines > 500} == {}


@pytest.mark.parametrize(
    ("package", "owner"),
    [
        ("docker", "fleet/runtime_docker.py"),
        ("oras", "artifacts/registry_oras.py"),
        ("stripe", "billing/payments_stripe.py"),
    ],
)
def test_a_vendors_sdk_is_imported_by_one_module(package: str, owner: str) -> None:
    users = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if any(name == package or name.startswith(f"{package}.") for name in imports(path))
    }

    assert users == {owner}


def test_the_pure_rooms_do_no_io_and_know_no_framework() -> None:
    forbidden = {"django", "celery", "rest_framework", "httpx", "socket", "subprocess", "psycopg", "asyncio"}
    for room in ("kernel", "wire", "compose"):
        for path in (PACKAGE / room).rglob("*.py"):
            used = {name.partition(".")[0] for name in imports(path)} & forbidden
            assert not used, f"{path.relative_to(ROOT)} imports {used}"


def test_nothing_under_runners_imports_the_platform() -> None:
    for path in (ROOT / "runners").rglob("*.py"):
        assert not [name for name in imports(path) if name.partition(".")[0] == "moorage"], path


def test_the_environment_is_read_in_two_places_only() -> None:
    allowed = {"config/settings.py", "gateway/settings.py", "gateway/__main__.py"}
    readers = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if re.search(r"os\.(environ\b|getenv)", path.read_text())
        # The instance starts the other processes, so it writes their environment; the client is not a server.
        and path.relative_to(PACKAGE).parts[:2] != ("config", "instance")
        and path.relative_to(PACKAGE).parts[0] != "cli"
        # A snippet for the reader to run.
        and path.name != "snippets.py"
        # These only name the settings module before Django is there.
        and path.name not in {"celery.py", "wsgi.py"}
    }

    assert readers <= allowed, readers - allowed


def test_status_is_written_by_states_alone() -> None:
    for room in ("deployments", "billing"):
        for path in (PACKAGE / room).rglob("*.py"):
            if path.name == "states.py" or "migrations" in path.parts:
                continue
            source = path.read_text()
            assert not re.search(r"\b(replica|deployment|invoice)\.status = ", source), path


def test_tenant_rows_leave_through_one_door() -> None:
    """API and console ask queries and services; neither reaches for rows itself."""
    for room in ("api", "console"):
        for path in (PACKAGE / room).rglob("*.py"):
            found = re.findall(r"\.objects\.(get|filter|all)\(", path.read_text())
            assert not found, f"{path.relative_to(ROOT)} asks the tables itself"


def test_one_broad_except_a_process_loop() -> None:
    broad = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if re.search(r"except( Exception| BaseException)?( as \w+)?:", path.read_text())
    }

    assert len(broad) <= 6, broad


def test_no_test_patches_by_import_path() -> None:
    pattern = re.compile(r"mock\.patch|mocker\.patch|monkeypatch\.setattr")
    users = [
        path for path in (ROOT / "tests").rglob("*.py") if path != Path(__file__) and pattern.search(path.read_text())
    ]

    assert users == []


def test_no_registry_address_and_no_secret_stands_in_a_file() -> None:
    # The words are put together here so that this file does not find itself.
    addresses = re.compile(
        "|".join(
            ["(?<!no-emit-)index" + "-url\\b", "pypi" + r"\.org", "files\\.python" + "hosted", "registry" + r"\.npmjs"]
        )
    )
    secrets = re.compile(r"mk_live_[0-9A-Za-z]{39}\b|sk_live_[0-9A-Za-z]{10,}")
    for path in tracked():
        if path.suffix in {".png", ".gguf", ".safetensors"} or "blobs" in path.parts:
            continue
        text = path.read_text(errors="replace")
        assert not addresses.search(text), f"{path.relative_to(ROOT)} names a registry's address"
        assert not secrets.search(text), f"{path.relative_to(ROOT)} holds a key"


def test_every_dependency_says_what_it_is_for() -> None:
    text = (ROOT / "pyproject.toml").read_text()
    lists = re.findall(
        r"^(?:dependencies|\w+) = \[\n((?:    \".*\n)+)\]", text.partition("[project.scripts]")[0], re.MULTILINE
    )
    requirements = [line for block in lists for line in block.splitlines()]

    assert len(requirements) > 20
    assert [line for line in requirements if "# " not in line] == []
