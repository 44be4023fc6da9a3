"""Two workers, every bell rung twice, the same replicas driven from both sides: one acts, the other finds it done."""

import time

import pytest
from celery import Celery

from tests.faults.fleet.quay import BERTHS, INSTANCE, MINUTE, SECOND, Quay, compose
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.engine]


def ring(quay: Quay, times: int) -> None:
    """Tells the workers of every deployment and every replica, so many times each."""
    app = Celery(broker=quay.broker_url, set_as_current=False)
    app.conf.broker_transport_options = {"global_keyprefix": f"moorage:{INSTANCE}:"}
    deployments = [row[0] for row in quay.rows("SELECT id FROM deployment WHERE status <> 'deleted'")]
    with app:
        for _ in range(times):
            for deployment in deployments:
                app.send_task("moorage.deployments.tasks.reconcile_deployment", args=[deployment], queue="provision")
            for replica in quay.replicas_everywhere():
                app.send_task("moorage.deployments.tasks.drive_replica", args=[replica["id"]], queue="provision")


def test_two_workers_at_once_make_one_container_for_each_replica(quay: Quay, watch: Watch) -> None:
    quay.let_second_up()
    try:
        began = time.monotonic()
        names = [f"both-{number}" for number in range(BERTHS)]
        for name in names:
            quay.apply(name, compose())
            ring(quay, 5)

        replicas = {quay.ready(name, seconds=1.5 * MINUTE) for name in names}

        made = [call.path.split("name=")[1] for call in quay.engine.creates_since(began)]
        assert len(replicas) == BERTHS
        assert len(made) == len(set(made)) == BERTHS, f"each was created once: {made}"
        failed = quay.rows(
            "SELECT r.id, r.reason FROM replica r JOIN deployment d ON d.id = r.deployment_id"
            " WHERE d.name LIKE 'both-%' AND r.failed_at IS NOT NULL"
        )
        assert failed == []
        quay.settle()
    finally:
        quay.hold_down(SECOND)


def test_more_than_there_is_room_for_waits_and_nothing_is_oversold_while_workers_die(quay: Quay, watch: Watch) -> None:
    quay.let_second_up()
    try:
        names = [f"crowd-{number}" for number in range(BERTHS + 2)]
        for number, name in enumerate(names):
            quay.apply(name, compose())
            if number == 2:
                quay.kill("worker-provision")
            if number == 4:
                quay.kill(SECOND)
        ring(quay, 3)

        def served() -> list[str]:
            return [name for name in names if quay.status(name) == "ready"]

        wait_until(lambda: len(served()) == BERTHS, seconds=1.5 * MINUTE, what=f"{BERTHS} to be ready")
        waiting = set(names) - set(served())
        wait_until(
            lambda: {quay.replicas(name)[0]["reason_code"] for name in waiting} == {"no_capacity"},
            seconds=0.5 * MINUTE,
            what="the others to wait for room",
        )
        first = served()[:2]
        for name in first:
            quay.call("DELETE", f"/deployments/{name}")
        for name in waiting:
            quay.ready(name, seconds=1.5 * MINUTE)
    finally:
        quay.hold_down(SECOND)
