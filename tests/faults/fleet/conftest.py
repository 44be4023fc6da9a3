"""One daemon, one quay and one watch for all tests of the fleet's faults: starting them takes a while."""

import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.faults.fleet import dockerd as daemons
from tests.faults.fleet import quay as quays
from tests.faults.fleet import runner_images
from tests.faults.fleet.dockerd import Dockerd
from tests.faults.fleet.quay import Quay
from tests.faults.fleet.watch import Watch

#: Below it daemons and quays live; sockets lie in it, so it is short.
ROOT = Path("/tmp/faults")


@pytest.fixture(scope="session")
def below() -> Iterator[Path]:
    """A directory for one run."""
    ROOT.mkdir(exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix="f", dir=ROOT))
    path.chmod(0o755)
    yield path
    # Socket directories are mounts of their own.
    for line in reversed(Path("/proc/self/mounts").read_text().splitlines()):
        if (place := line.split(" ")[1]).startswith(f"{path}/"):
            subprocess.run(["umount", "--lazy", place], check=False)
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def dockerd(below: Path) -> Iterator[Dockerd]:
    """A Docker Engine that may be killed."""
    if reason := daemons.why_not():
        missing("docker", reason)
    daemon = Dockerd(below / "d")
    try:
        daemon.start()
        yield daemon
    finally:
        daemon.stop()


@pytest.fixture(scope="session")
def runner_image(dockerd: Dockerd, llama_server: Path) -> str:
    """A runner image with the real llama-server and nothing else."""
    return runner_images.load(dockerd, name="moorage-faults/runner", program=llama_server)


@pytest.fixture(scope="session")
def watched(below: Path, dockerd: Dockerd, runner_image: str) -> Iterator[tuple[Quay, Watch]]:
    """All of Moorage's processes, watched."""
    root = below / "q"
    root.mkdir()
    with quays.running(root, dockerd=dockerd, image=runner_image) as both:
        yield both


@pytest.fixture
def watch(watched: tuple[Quay, Watch]) -> Watch:
    """What must hold, looked at all the time. What did not is a failure of the test in which it was seen."""
    return watched[1]


@pytest.fixture
def quay(watched: tuple[Quay, Watch], watch: Watch, request: pytest.FixtureRequest) -> Iterator[Quay]:
    """The processes; whatever a test has deployed is gone after it, and nothing of it is left behind."""
    made = watched[0]
    watch.note(f"=== {request.node.name}")
    yield made
    made.settle()
    watch.check()


@pytest.fixture
def seed() -> int:
    """Of a test's chance; MOORAGE_FAULT_SEED replays it."""
    chosen = int(os.environ.get("MOORAGE_FAULT_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"\nMOORAGE_FAULT_SEED={chosen}")
    return chosen


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """Shows the history beside a failure."""
    report = yield
    both = getattr(item, "funcargs", {}).get("watched")
    if report.failed and both is not None:  # type: ignore[attr-defined]
        made, watch = both
        report.sections.append(("History", "\n".join(watch.history[-150:])))  # type: ignore[attr-defined]
        worker = made.log("worker-provision")[-6000:]
        report.sections.append(("The provisioning worker", worker))  # type: ignore[attr-defined]
    return report  # type: ignore[return-value]
