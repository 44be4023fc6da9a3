"""The systemd units start what `./manage.py up` starts, and only the provisioning worker reaches the Engine."""

import configparser
import sys
from pathlib import Path

import pytest

from moorage.config.instance.ports import Ports
from moorage.config.instance.processes import PROVISIONER, platform_programs

UNITS = Path(__file__).resolve().parents[2] / "deploy" / "systemd"
PROGRAMS = {
    program.name: program
    for program in platform_programs(
        python=sys.executable, ports=Ports(console=8400, gateway=8401), run_directory="/r", answers=lambda _: True
    )
}


def unit(name: str) -> dict[str, list[str]]:
    """The [Service] section; a name may come several times."""
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=("=",))
    parser.optionxform = str  # type: ignore[assignment, method-assign]
    text = (UNITS / f"moorage-{name}.service").read_text()
    parser.read_string(text)
    assert parser.has_section("Service")
    found: dict[str, list[str]] = {}
    for line in text.partition("[Service]")[2].splitlines():
        key, equals, value = line.partition("=")
        if equals:
            found.setdefault(key, []).append(value)
    return found


def test_there_is_a_unit_for_every_process_and_no_other() -> None:
    named = {path.stem.removeprefix("moorage-") for path in UNITS.glob("moorage-*.service")}

    assert named == set(PROGRAMS)
    wanted = (UNITS / "moorage.target").read_text()
    assert all(f"moorage-{name}.service" in wanted for name in PROGRAMS)


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_a_unit_starts_the_same_program(name: str) -> None:
    (started,) = unit(name)["ExecStart"]
    ours = [part for part in PROGRAMS[name].argv[1:] if not part.startswith(("/r", "--worker-tmp-dir"))]

    words = [word.replace("%H", "%h") for word in started.split()[1:]]

    assert [part for part in ours if part not in words] == []


@pytest.mark.parametrize("name", sorted(PROGRAMS))
def test_only_the_provisioning_worker_is_let_to_the_engine(name: str) -> None:
    service = unit(name)
    text = (UNITS / f"moorage-{name}.service").read_text()

    if name == PROVISIONER:
        assert service["SupplementaryGroups"] == ["docker"]
        assert "/etc/moorage/provision" in service["EnvironmentFile"]
        # A mount namespace of its own would keep its mounts from the Engine.
        assert not {"PrivateTmp", "ProtectSystem", "ProtectHome", "InaccessiblePaths"} & service.keys()
    else:
        assert service["SupplementaryGroups"] == [""]
        assert "provision" not in text.replace("moorage-worker-provision", "")
        assert "-/run/docker.sock" in service["InaccessiblePaths"][0]
        assert service["NoNewPrivileges"] == ["yes"]
        assert "CAP_SYS_ADMIN" not in text
