"""Where the freezer of a container is: by its first process, or, for a worker that does not see it, by its name."""

from pathlib import Path

import pytest

from moorage.fleet import freezer

ID = "c0ffee" * 10 + "beef"
PID = 4711


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    (tmp_path / "proc").mkdir()
    (tmp_path / "mounts").write_text(
        f"tmpfs {tmp_path}/cgroup tmpfs rw,mode=755 0 0\n"
        f"cgroup {tmp_path}/cgroup/memory cgroup rw,relatime,memory 0 0\n"
        f"cgroup {tmp_path}/cgroup/freezer cgroup rw,relatime,freezer 0 0\n"
        f"cgroup2 {tmp_path}/unified cgroup2 rw,relatime 0 0\n"
    )
    return tmp_path


def put(file: Path, text: str = "") -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def find(machine: Path, container_id: str = ID) -> freezer.Freezer | None:
    return freezer.find(pid=PID, container_id=container_id, processes=machine / "proc", mounts=machine / "mounts")


def test_it_is_found_by_the_containers_first_process(machine: Path) -> None:
    put(machine / "proc" / str(PID) / "cgroup", f"7:freezer:/elsewhere/{ID}\n")
    file = put(machine / "cgroup" / "freezer" / "elsewhere" / ID / "freezer.state", "THAWED")

    assert find(machine) == freezer.Freezer(file=file, version=1)


@pytest.mark.parametrize("place", [f"docker/{ID}", f"system.slice/docker-{ID}.scope"])
@pytest.mark.parametrize(
    ("mount", "name", "version"), [("cgroup/freezer", "freezer.state", 1), ("unified", "cgroup.freeze", 2)]
)
def test_a_worker_in_a_container_finds_it_by_the_containers_id(
    machine: Path, place: str, mount: str, name: str, version: freezer.Version
) -> None:
    # To this worker the number is that of another process, or of none.
    put(machine / "proc" / str(PID) / "cgroup", "7:freezer:/docker/of-another\n")
    file = put(machine / mount / place / name)

    assert find(machine) == freezer.Freezer(file=file, version=version)
    assert find(machine, ID.replace("c0", "de")) is None


def test_what_is_not_mounted_for_us_is_not_ours(machine: Path) -> None:
    put(machine / "elsewhere" / "freezer" / "docker" / ID / "freezer.state")

    assert find(machine) is None
    assert find(machine, "") is None
