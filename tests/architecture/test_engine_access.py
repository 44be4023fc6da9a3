"""Who may reach the container Engine: one module knows how, one process may, and two commands of the operator."""

import re

import pytest

from tests.architecture.test_layout import MODULES, PACKAGE, imports

#: Adapters of the runtime, and where one is chosen.
_DOORS = {
    "moorage.fleet.runtime_docker",
    "moorage.fleet.runtime_process",
    "moorage.fleet.runtimes",
    "moorage.fleet.runtime_memory",
}


def users_of(pattern: str) -> set[str]:
    return {str(path.relative_to(PACKAGE)) for path in MODULES if re.search(pattern, path.read_text())}


@pytest.mark.parametrize("room", ["api", "console", "gateway", "cli", "accounts", "artifacts", "metering", "compose"])
def test_a_room_that_answers_people_or_programs_has_no_door_to_a_runtime(room: str) -> None:
    for path in (PACKAGE / room).rglob("*.py"):
        named = set(imports(path)) | {
            f"moorage.fleet.{name}"
            for line in re.findall(r"^from moorage\.fleet import \(?([\w, \n]+)", path.read_text(), re.MULTILINE)
            for name in re.findall(r"\w+", line)
        }
        assert not named & _DOORS, f"{path.relative_to(PACKAGE)} reaches for a container runtime"


def test_only_tasks_of_the_provisioning_worker_ask_for_the_runtime() -> None:
    for path in users_of(r"runtimes\.configured\("):
        assert path.endswith("tasks.py") or path.startswith("deployments/"), path


def test_only_commands_of_the_operator_pass_the_guard() -> None:
    users = users_of(r"of_operator\(\) *->|runtimes\.of_operator\(") - {"fleet/runtimes.py"}

    assert [path for path in users if "/management/commands/" not in path] == []


def test_adapters_are_made_in_one_place() -> None:
    users = users_of(r"\b(Docker|Process|Memory)Runtime\(") - {
        f"fleet/runtime_{name}.py" for name in ("docker", "process", "memory")
    }

    assert users == {"fleet/runtimes.py"}, users
