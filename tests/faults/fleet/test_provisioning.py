"""A worker dies between any two effects of provisioning, or a reply of the Engine is lost: one container, adopted or
removed, and its room is held exactly as long as it is there."""

import time

import pytest

from tests.faults.fleet.quay import INSTANCE, MINUTE, Quay, compose
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.engine]

#: In the order in which a replica comes to them on its way up, and on its way down.
UP = ("after_reserve", "before_create", "after_create", "after_start", "before_ready")
DOWN = ("after_stop", "after_remove", "after_release")


def containers_of(quay: Quay, replica_id: str) -> list[str]:
    """The ids of a replica's containers."""
    return [str(one["Id"]) for one in quay.dockerd.containers(INSTANCE) if replica_id in str(one["Labels"])]


@pytest.mark.parametrize("point", UP)
def test_a_worker_that_dies_on_the_way_up_leaves_its_replica_to_the_next(quay: Quay, watch: Watch, point: str) -> None:
    charge = quay.charge(point)
    began = time.monotonic()

    quay.apply("up", compose())
    wait_until(lambda: not charge.exists(), seconds=MINUTE, what=f"a death at {point}")
    watch.note(f"a worker died at {point}")
    quay.age_leases()
    replica = quay.ready("up", seconds=1.5 * MINUTE)

    assert len(quay.replicas("up")) == 1, "the same replica went on; no second one was made"
    assert len(containers_of(quay, replica)) == 1
    creates = [call for call in quay.engine.creates_since(began) if replica.lower() in call.path.lower()]
    # Nobody knows whether a create that was begun was heard: it may be asked for again, and must be the same.
    assert 1 <= len(creates) <= 2


@pytest.mark.parametrize("point", DOWN)
def test_a_worker_that_dies_on_the_way_down_leaves_nothing_behind(quay: Quay, watch: Watch, point: str) -> None:
    quay.apply("down", compose())
    replica = quay.ready("down", seconds=1.5 * MINUTE)
    charge = quay.charge(point)

    quay.call("DELETE", "/deployments/down")
    wait_until(lambda: not charge.exists(), seconds=MINUTE, what=f"a death at {point}")
    watch.note(f"a worker died at {point}")
    quay.age_leases()

    wait_until(lambda: quay.status("down") == "", seconds=MINUTE, what="its end")
    assert containers_of(quay, replica) == []
    assert quay.rows("SELECT replica_id FROM reservation") == []


@pytest.mark.parametrize("lost", ["POST .*/containers/create", "POST .*/containers/[^/]+/start"])
def test_a_container_whose_reply_was_lost_is_adopted_by_its_name(quay: Quay, watch: Watch, lost: str) -> None:
    began = time.monotonic()
    quay.engine.lose_reply(lost)

    quay.apply("lost", compose())
    wait_until(lambda: quay.engine.lost and quay.engine.lost[-1].at > began, seconds=MINUTE, what="a lost reply")
    watch.note(f"the reply to {quay.engine.lost[-1].method} {quay.engine.lost[-1].path} was lost")
    first = wait_until(lambda: quay.dockerd.containers(INSTANCE), seconds=10, what="the container")
    replica = quay.ready("lost", seconds=1.5 * MINUTE)

    assert containers_of(quay, replica) == [first[0]["Id"]], "it is the container whose reply was lost"
    assert len(quay.replicas("lost")) == 1
    assert len({call.path for call in quay.engine.creates_since(began)}) == 1, "whoever asks again asks by its name"


def test_a_removal_whose_reply_was_lost_is_not_taken_for_done(quay: Quay, watch: Watch) -> None:
    quay.apply("lost", compose())
    quay.ready("lost", seconds=1.5 * MINUTE)
    began = time.monotonic()
    quay.engine.lose_reply("DELETE .*/containers/")

    quay.call("DELETE", "/deployments/lost")
    wait_until(lambda: quay.engine.lost and quay.engine.lost[-1].at > began, seconds=MINUTE, what="a lost reply")
    watch.note("the reply to a removal was lost")

    wait_until(lambda: quay.status("lost") == "", seconds=MINUTE, what="its end")
    assert quay.remains() == []
