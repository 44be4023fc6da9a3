"""The Engine is killed, hangs, or has no disk left: what cannot be asked is not absent, and what serves goes on."""

import time

import pytest

from moorage.fleet import freezer
from tests.faults.fleet.quay import INSTANCE, MINUTE, Quay, compose
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.engine]


def started(quay: Quay) -> dict[str, str]:
    """When each container was started."""
    with quay.dockerd.client() as client:
        found = quay.dockerd.containers(INSTANCE)
        return {str(one["Id"]): client.inspect_container(one["Id"])["State"]["StartedAt"] for one in found}


def looked_at(quay: Quay, *, times: int, seconds: float) -> None:
    """Waits until the deployments have been reconciled so many times more: silence proves nothing by itself."""
    first = quay.rows("SELECT coalesce(sum(epoch), 0) FROM deployment")[0][0]
    wait_until(
        lambda: quay.rows("SELECT coalesce(sum(epoch), 0) FROM deployment")[0][0] >= first + times,
        seconds=seconds,
        what=f"{times} looks",
    )


def test_replicas_survive_the_death_of_the_daemon_and_no_second_copy_is_made(quay: Quay, watch: Watch) -> None:
    quay.apply("stays", compose())
    replica = quay.ready("stays", seconds=1.5 * MINUTE)
    before = started(quay)
    began = time.monotonic()

    watch.engine_is_away()
    quay.dockerd.kill()
    looked_at(quay, times=3, seconds=30)
    assert quay.answers("stays/llm"), "what runs needs no daemon"
    assert [one["id"] for one in quay.replicas("stays", status="ready")] == [replica]
    quay.dockerd.start()
    watch.engine_is_back()

    looked_at(quay, times=2, seconds=30)
    assert quay.ready("stays") == replica
    assert started(quay) == before, "the same processes, never started again"
    assert quay.engine.creates_since(began) == []


def test_a_replica_that_died_with_the_daemon_is_found_gone_and_replaced(quay: Quay, watch: Watch) -> None:
    quay.apply("dies", compose())
    replica = quay.ready("dies", seconds=1.5 * MINUTE)
    pid = quay.pid_of(replica)

    watch.engine_is_away()
    quay.dockerd.kill()
    quay.kill_pid(pid)
    looked_at(quay, times=2, seconds=30)
    assert [one["id"] for one in quay.replicas("dies")] == [replica], "nobody can say yet that it is dead"
    quay.dockerd.start()
    watch.engine_is_back()

    wait_until(lambda: replica not in [one["id"] for one in quay.replicas("dies")], seconds=MINUTE, what="its end")
    assert quay.ready("dies") != replica
    assert len(quay.dockerd.containers(INSTANCE)) == 1


def test_a_deployment_that_is_wanted_while_the_daemon_is_dead_comes_with_it(quay: Quay, watch: Watch) -> None:
    quay.dockerd.kill()
    watch.note("the daemon is dead")
    quay.apply("early", compose())
    looked_at(quay, times=2, seconds=30)
    assert quay.status("early") == "provisioning"

    quay.dockerd.start()

    quay.ready("early", seconds=MINUTE)
    assert len(quay.dockerd.containers(INSTANCE)) == 1


@pytest.mark.parametrize("how", ["socket", "daemon"])
def test_an_engine_that_hangs_causes_nothing_and_stops_nobody(quay: Quay, watch: Watch, how: str) -> None:
    quay.apply("stays", compose())
    quay.apply("leaves", compose())
    replica = quay.ready("stays", seconds=1.5 * MINUTE)
    quay.ready("leaves", seconds=1.5 * MINUTE)
    hold, let_go = (
        (quay.engine.freeze, quay.engine.thaw)
        if how == "socket"
        else (
            quay.dockerd.freeze,
            quay.dockerd.thaw,
        )
    )

    hold()
    watch.engine_is_away()
    began = time.monotonic()
    try:
        quay.call("DELETE", "/deployments/leaves")
        quay.apply("comes", compose())
        # A look that asks the Engine ends with its time-out, and the next one begins.
        looked_at(quay, times=4, seconds=100)
        assert quay.answers("stays/llm"), "the gateway does not care"
        assert [one["id"] for one in quay.replicas("stays", status="ready")] == [replica]
        assert quay.status("stays") == "ready"
        assert quay.status("comes") == "provisioning"
        assert quay.status("leaves") == "deleting", "nobody can say that its container is gone"
        assert len(quay.replicas("comes")) == 1
    finally:
        let_go()
        watch.engine_is_back()

    quay.ready("comes", seconds=MINUTE)
    wait_until(lambda: quay.status("leaves") == "", seconds=MINUTE, what="the end of what was deleted meanwhile")
    assert quay.ready("stays") == replica
    made = {call.path for call in quay.engine.creates_since(began)}
    assert len(made) <= 1, "one new container was wanted"
    assert len(quay.dockerd.containers(INSTANCE)) == 2


@pytest.mark.parametrize("state", ["frozen", "ready"])
def test_what_the_kernels_freezer_holds_or_let_go_outlives_the_daemon_and_is_adopted(
    quay: Quay, watch: Watch, state: str
) -> None:
    quay.apply("sleepy", compose(least=0, idle="3s", frozen="10m"))
    replica = quay.ready("sleepy", seconds=1.5 * MINUTE)

    def is_asleep() -> bool:
        return [one["id"] for one in quay.replicas("sleepy", status="frozen")] == [replica] and is_held_still(quay)

    # The first time the Engine pauses it; from the second time on it is the kernel's freezer alone.
    wait_until(is_asleep, seconds=MINUTE, what="the Engine's pause")
    assert quay.answers("sleepy/llm")
    assert paused(quay) == [True], "the Engine goes on believing that it is paused"
    if state == "frozen":
        wait_until(is_asleep, seconds=MINUTE, what="the kernel's freezer")
    before = started(quay)
    began = time.monotonic()

    watch.engine_is_away()
    quay.dockerd.kill()
    quay.dockerd.start()
    watch.engine_is_back()
    looked_at(quay, times=2, seconds=30)

    assert [one["id"] for one in quay.replicas("sleepy")] == [replica]
    assert quay.answers("sleepy/llm"), "it wakes and answers"
    assert started(quay) == before, "the same process all the while"
    assert quay.engine.creates_since(began) == []
    wait_until(is_asleep, seconds=MINUTE, what="its sleep after the restart")
    assert quay.answers("sleepy/llm")


def paused(quay: Quay) -> list[bool]:
    """What the Engine says of each container."""
    with quay.dockerd.client() as client:
        return [client.inspect_container(one["Id"])["State"]["Paused"] for one in quay.dockerd.containers(INSTANCE)]


def is_held_still(quay: Quay) -> bool:
    """What the kernel says of the only container."""
    with quay.dockerd.client() as client:
        (one,) = quay.dockerd.containers(INSTANCE)
        found = client.inspect_container(one["Id"])
    made = freezer.find(pid=int(found["State"]["Pid"]), container_id=str(found["Id"]))
    return made is not None and made.is_frozen() is True
