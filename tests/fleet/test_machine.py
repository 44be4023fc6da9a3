"""What a machine says it has."""

from pathlib import Path

import pytest

from moorage.fleet import machine

GIB = 1024**3
KIB = 1024


def a_machine(root: Path, files: dict[str, str]) -> Path:
    for name, text in ({"proc/meminfo": f"MemTotal: {16 * GIB // KIB} kB\nMemFree: 1 kB\n"} | files).items():
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return root


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 16 * GIB),
        ({"sys/fs/cgroup/memory.max": "max\n"}, 16 * GIB),
        ({"sys/fs/cgroup/memory.max": f"{4 * GIB}\n"}, 4 * GIB),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, 16 * GIB),
        ({"sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * GIB}\n"}, 2 * GIB),
    ],
)
def test_memory_is_the_least_of_machine_and_control_group(tmp_path: Path, files: dict[str, str], expected: int) -> None:
    assert machine.memory_bytes(a_machine(tmp_path, files)) == expected


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"sys/fs/cgroup/cpu.max": "50000 100000\n"}, 500),
        ({"sys/fs/cgroup/cpu.max": "max 100000\n"}, None),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "20000\n", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000\n"}, 200),
        ({"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1\n"}, None),
        ({}, None),
    ],
)
def test_cpus_are_the_least_of_machine_and_control_group(
    tmp_path: Path, files: dict[str, str], expected: int | None
) -> None:
    whole = machine.cpu_millis(tmp_path / "nothing")

    assert whole >= 1000
    assert machine.cpu_millis(a_machine(tmp_path, files)) == (expected or whole)


def test_the_operators_word_on_memory_is_taken(settings: object) -> None:
    settings.MOORAGE_NODE_MEMORY_BYTES = 3 * GIB

    assert machine.this_machine().memory_bytes == 3 * GIB


def test_some_memory_is_kept_for_the_platform(settings: object) -> None:
    settings.MOORAGE_NODE_MEMORY_BYTES = None

    assert 0 < machine.this_machine().memory_bytes < machine.memory_bytes()


def test_a_machine_keeps_its_name_when_the_host_is_renamed(settings: object, tmp_path: Path) -> None:
    settings.MOORAGE_HOME = tmp_path
    first = machine.name()
    (tmp_path / "node-name").write_text("the name it had")

    assert first
    assert machine.name() == "the name it had"
