"""The clock of one process jumps: leases go by the database's time, and nothing that lives is given up for old."""

import shutil
import subprocess
import time
from pathlib import Path

import pytest

from tests.conftest import missing
from tests.faults.fleet.quay import INSTANCE, MINUTE, SECOND, Quay, compose
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.engine]

SOURCE = Path(__file__).with_name("jumped_clock.c")
HOUR, DAY = 3600, 86_400


@pytest.fixture(scope="session")
def jumped_clock(below: Path) -> Path:
    """A library that puts the wall clock of whoever loads it off, and nothing else."""
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        missing("docker", "there is no C compiler for a clock that is wrong")
    library = below / "jumped_clock.so"
    subprocess.run([str(compiler), "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-ldl"], check=True)
    return library


@pytest.mark.parametrize("jump", [HOUR, -HOUR, 35 * DAY, -35 * DAY])
def test_a_worker_whose_clock_has_jumped_does_no_harm(quay: Quay, watch: Watch, jumped_clock: Path, jump: int) -> None:
    quay.apply("stays", compose())
    replica = quay.ready("stays", seconds=1.5 * MINUTE)
    container = quay.dockerd.containers(INSTANCE)[0]["Id"]
    began = time.monotonic()
    variables = {"LD_PRELOAD": str(jumped_clock), "MOORAGE_TEST_CLOCK_JUMP": str(jump)}

    watch.note(f"the clock of a second worker is off by {jump} s")
    quay.outfit(SECOND, **variables)
    quay.let_second_up()
    try:
        quay.hold_down("worker-provision")
        quay.apply("comes", compose())
        second = quay.ready("comes", seconds=MINUTE)
        leases = quay.rows(
            "SELECT extract(epoch FROM lease_until - now()) FROM deployment WHERE lease_until IS NOT NULL"
            " UNION ALL SELECT extract(epoch FROM lease_until - now()) FROM replica WHERE lease_until IS NOT NULL"
        )
        assert all(float(row[0]) <= 31 for row in leases), f"a lease is of the database's time: {leases}"
        # Both at work now, with clocks far apart.
        quay.let_up("worker-provision")
        quay.apply("comes", compose(context=128))
        wait_until(lambda: quay.replicas("comes") and quay.replicas("comes")[-1]["id"] != second, seconds=MINUTE)
        quay.ready("comes", seconds=MINUTE)
    finally:
        quay.let_up("worker-provision")
        quay.hold_down(SECOND)
        quay.outfit(SECOND, **dict.fromkeys(variables))

    assert quay.ready("stays") == replica
    assert container in [one["Id"] for one in quay.dockerd.containers(INSTANCE)]
    names = [call.path.split("name=")[1] for call in quay.engine.creates_since(began)]
    assert len(set(names)) == 2, f"one container for each of two revisions: {names}"


def test_a_worker_whose_clock_is_ahead_sweeps_like_any_other(quay: Quay, watch: Watch, jumped_clock: Path) -> None:
    variables = {"LD_PRELOAD": str(jumped_clock), "MOORAGE_TEST_CLOCK_JUMP": str(HOUR)}
    quay.outfit(SECOND, **variables)
    quay.let_second_up()
    watch.note("a worker an hour ahead is alone, and no bell is rung: only beat's pokes reach it")
    quay.hold_down("worker-provision")
    quay.hold_down("doorbell")
    last = "SELECT begun_at FROM sweep_turn WHERE name = 'moorage.deployments.tasks.sweep'"
    before = quay.rows(last)
    try:
        quay.apply("comes", compose())

        quay.ready("comes", seconds=MINUTE)

        assert quay.rows(last) != before
    finally:
        quay.let_up("worker-provision")
        quay.let_up("doorbell")
        quay.hold_down(SECOND)
        quay.outfit(SECOND, **dict.fromkeys(variables))
