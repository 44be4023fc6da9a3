"""The Engine's disk is full: what cannot be made says why, what runs goes on, and with room everything comes."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.faults.fleet import dockerd as daemons
from tests.faults.fleet import quay as quays
from tests.faults.fleet import runner_images
from tests.faults.fleet.dockerd import Dockerd
from tests.faults.fleet.quay import INSTANCE, MINUTE, Quay, compose
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.engine]

DISK = 96 * 1024 * 1024


@pytest.fixture
def small_disk(below: Path) -> Iterator[Path]:
    """A file system of its own, in a file, for the daemon's data."""
    image, path = below / "disk.img", below / "disk"
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(DISK)
    for command in (["mkfs.ext4", "-q", "-m", "0", str(image)], ["mount", "-o", "loop", str(image), str(path)]):
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            missing("docker", f"a small disk cannot be mounted here: {done.stderr.strip()}")
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


@pytest.fixture
def cramped(below: Path, small_disk: Path, llama_server: Path) -> Iterator[tuple[Quay, Watch]]:
    """A quay whose daemon has little room."""
    if reason := daemons.why_not():
        missing("docker", reason)
    daemon = Dockerd(below / "s", data=small_disk / "data")
    try:
        daemon.start()
        image = runner_images.load(daemon, name="moorage-faults/runner", program=llama_server)
        (below / "r").mkdir()
        with quays.running(below / "r", dockerd=daemon, image=image) as both:
            yield both
    finally:
        daemon.stop()


def test_a_full_disk_of_the_engine_is_said_and_got_over(cramped: tuple[Quay, Watch], small_disk: Path) -> None:
    quay, watch = cramped
    quay.apply("stays", compose())
    replica = quay.ready("stays", seconds=1.5 * MINUTE)
    ballast = small_disk / "ballast"
    with ballast.open("wb") as file:
        try:
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        except OSError:
            watch.note("the Engine's disk is full")

    quay.apply("comes", compose())
    told = wait_until(
        lambda: (
            (shown := quay.call("GET", "/deployments/comes").json())["reason_code"] not in {"new", "starting"}
            and "space" in shown["reason"]
            and shown
        ),
        seconds=MINUTE,
        what="the full disk in the status",
    )
    assert "no space left on device" in told["reason"], told
    assert quay.ready("stays") == replica

    ballast.unlink()
    watch.note("there is room again")

    quay.ready("comes", seconds=MINUTE)
    assert quay.ready("stays") == replica
    assert len(quay.dockerd.containers(INSTANCE)) == 2
    quay.settle()
    watch.check()
