"""The broker is killed, emptied or frozen; the database is killed, or restarted again and again."""

import threading

import pytest
import redis

from tests.faults.fleet.quay import INSTANCE, MINUTE, Quay, compose
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.engine]


def empty(quay: Quay) -> None:
    """Every message and every lock that the broker has is lost; one that was killed before is let come up first."""

    def is_done() -> bool:
        with redis.Redis.from_url(quay.broker_url) as broker:
            try:
                return bool(broker.flushall())
            except redis.ConnectionError:
                return False

    wait_until(is_done, seconds=30, what="the broker, to empty it")


@pytest.mark.parametrize("how", ["killed", "emptied", "frozen"])
def test_no_message_is_needed(quay: Quay, watch: Watch, how: str) -> None:
    quay.apply("leaves", compose())
    quay.apply("stays", compose())
    quay.ready("leaves", seconds=1.5 * MINUTE)
    replica = quay.ready("stays", seconds=1.5 * MINUTE)

    watch.note(f"the broker is {how}")
    if how == "frozen":
        quay.freeze("valkey")
    elif how == "killed":
        quay.kill("valkey", down_seconds=3)
    quay.call("DELETE", "/deployments/leaves")
    quay.apply("comes", compose())
    assert quay.answers("stays/llm"), "the gateway knows no broker"
    if how == "emptied":
        empty(quay)
    elif how == "frozen":
        threading.Event().wait(8)
        quay.thaw("valkey")
    watch.note("the broker is back")

    quay.ready("comes", seconds=MINUTE)
    wait_until(lambda: quay.status("leaves") == "", seconds=MINUTE, what="the end of what was deleted meanwhile")
    assert quay.ready("stays") == replica
    assert len(quay.dockerd.containers(INSTANCE)) == 2


def test_a_database_that_is_killed_again_and_again_loses_no_replica_and_no_room(quay: Quay, watch: Watch) -> None:
    quay.apply("stays", compose())
    replica = quay.ready("stays", seconds=1.5 * MINUTE)
    container = quay.dockerd.containers(INSTANCE)[0]["Id"]
    pause = threading.Event()

    for number, deed in enumerate(["apply", "change", "delete", "apply"]):
        if deed == "delete":
            quay.call("DELETE", "/deployments/comes")
        else:
            quay.call("PUT", "/deployments/comes", content=compose(context=128 + 64 * number))
        pause.wait(0.4)
        watch.note(f"PostgreSQL is killed after {deed}")
        quay.kill("postgres", down_seconds=0.5)
        wait_until(lambda: quay.status("stays") == "ready", seconds=MINUTE, what="the database")

    wait_until(lambda: quay.status("comes") in {"ready", ""}, seconds=MINUTE, what="what was wanted last")
    assert quay.ready("stays") == replica
    assert container in [one["Id"] for one in quay.dockerd.containers(INSTANCE)], "it was never started again"
    wait_until(lambda: not quay.remains(), seconds=MINUTE, what="no orphan")
