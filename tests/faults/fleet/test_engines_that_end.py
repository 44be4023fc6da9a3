"""Engines that are ended by the kernel for want of memory, that end by themselves, or that die after they were well."""

import itertools
import time
from pathlib import Path

import pytest

from tests.faults.fleet import runner_images
from tests.faults.fleet.dockerd import Dockerd
from tests.faults.fleet.memory_hog import exhaust
from tests.faults.fleet.quay import INSTANCE, MINUTE, Quay, compose
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.engine]


@pytest.fixture
def silent_image(dockerd: Dockerd) -> str:
    """A runner image whose engine ends at once, with nothing to say and exit code 0."""
    return runner_images.load(dockerd, name="moorage-faults/silent", program=Path("/bin/true"))


def trouble(quay: Quay, name: str) -> tuple[str, str, str]:
    """A deployment's status, reason code and reason."""
    told = quay.call("GET", f"/deployments/{name}").json()
    return told["status"], told["reason_code"], told["reason"]


def failed(quay: Quay, name: str) -> list[tuple[str, str, int | None]]:
    """Every replica of a deployment that has failed: id, reason code, exit code."""
    rows = quay.rows(
        "SELECT r.id, r.reason_code, r.exit_code FROM replica r JOIN deployment d ON d.id = r.deployment_id"
        f" WHERE d.name = '{name}' AND r.failed_at IS NOT NULL ORDER BY r.failed_at"
    )
    return [(str(row[0]), str(row[1]), row[2]) for row in rows]


def test_an_engine_that_ran_out_of_memory_is_called_so_and_replaced_beside_an_undisturbed_one(
    quay: Quay, watch: Watch
) -> None:
    quay.apply("other", compose())
    quay.apply("hungry", compose())
    other, victim = quay.ready("other", seconds=1.5 * MINUTE), quay.ready("hungry", seconds=1.5 * MINUTE)
    before = quay.pid_of(other)

    watch.note(f"the kernel runs out of memory for {victim}")
    exhaust(quay.pid_of(victim))

    wait_until(lambda: failed(quay, "hungry"), seconds=30, what="its failure")
    found = failed(quay, "hungry")[0]
    assert found[:2] == (victim, "out_of_memory")
    assert quay.ready("hungry", seconds=MINUTE) != victim
    assert quay.ready("other") == other and quay.pid_of(other) == before
    events = quay.rows(f"SELECT code, message FROM timeline_event WHERE replica_id = '{victim}' ORDER BY at")
    assert [code for code, _ in events][-3:] == ["replica_failed", "replica_stopping", "replica_gone"]
    # The watch has seen at every moment that its room was held until its container was gone.


def test_an_engine_that_ends_with_nothing_to_say_fails_after_its_budget_with_a_reason(
    quay: Quay, watch: Watch, silent_image: str
) -> None:
    quay.dress("worker-provision", MOORAGE_LLAMACPP_IMAGE=silent_image)
    try:
        quay.apply("silent", compose())
        wait_until(lambda: trouble(quay, "silent")[0] == "failed", seconds=MINUTE, what="failed")
        reason = trouble(quay, "silent")[2]
        tries = failed(quay, "silent")
        moments = [
            row[0].timestamp()
            for row in quay.rows(
                "SELECT r.created_at FROM replica r JOIN deployment d ON d.id = r.deployment_id"
                " WHERE d.name = 'silent' ORDER BY r.created_at"
            )
        ]

        assert {(one[1], one[2]) for one in tries} == {("engine_exited", 0)}
        assert "ended by itself" in reason and "exit code 0" in reason, reason
        waits = [later - earlier for earlier, later in itertools.pairwise(moments)]
        assert all(wait >= 0.9 * 2**number for number, wait in enumerate(waits)), f"later and later: {waits}"
        assert len(quay.dockerd.containers(INSTANCE)) <= 1
    finally:
        quay.dress("worker-provision", MOORAGE_LLAMACPP_IMAGE=quay.image)
    # It is not given up: what is mended serves with the next try.
    quay.ready("silent", seconds=MINUTE)


def test_an_engine_that_passes_and_then_dies_again_and_again_is_replaced_later_and_later(
    quay: Quay, watch: Watch
) -> None:
    quay.apply("frail", compose())
    seen: list[str] = []
    moments: list[float] = []

    def next_one() -> str | None:
        ready = [str(one["id"]) for one in quay.replicas("frail", status="ready") if one["id"] not in seen]
        return ready[0] if ready else None

    for _ in range(3):
        replica = wait_until(next_one, seconds=MINUTE, what="another replica")
        moments.append(time.monotonic())
        seen.append(replica)
        quay.kill_pid(quay.pid_of(replica))
        watch.note(f"killed {replica}")

    wait_until(lambda: trouble(quay, "frail")[0] == "failed", seconds=30, what="failed")
    assert {one[1] for one in failed(quay, "frail")} == {"engine_exited"}
    assert trouble(quay, "frail")[2]
    assert moments[2] - moments[1] >= 1.8, "the second wait is two seconds"
    quay.ready("frail", seconds=MINUTE)
