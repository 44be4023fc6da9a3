"""Each of our own processes is killed, then all of them at once: work goes on, whoever comes back first."""

import os
import random
import threading

import pytest

from tests.faults.fleet.quay import INSTANCE, MINUTE, Quay, compose
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.engine]

ROUNDS = int(os.environ.get("MOORAGE_FAULT_ROUNDS") or 2)


@pytest.mark.parametrize("name", ["beat", "doorbell", "shipper"])
def test_work_goes_on_without_it_and_with_it(quay: Quay, watch: Watch, name: str) -> None:
    watch.note(f"{name} is held down")
    quay.hold_down(name)
    try:
        quay.apply("works", compose())
        replica = quay.ready("works", seconds=1.5 * MINUTE)
        if name != "shipper":
            # One of the two is enough to find a death; neither is needed to have been there at the time.
            quay.kill_pid(quay.pid_of(replica))
    finally:
        quay.let_up(name)

    wait_until(lambda: quay.parts[name].is_running, seconds=MINUTE, what=name)
    if name == "shipper":
        shipped = f"SELECT count(*) FROM usage_event WHERE output_tokens > 0 AND replica_id = '{replica}'"
        wait_until(lambda: quay.rows(shipped)[0][0] >= 1, seconds=MINUTE, what="the usage of meanwhile")
    else:
        wait_until(lambda: [one["id"] for one in quay.replicas("works")] != [replica], seconds=30, what="its end")
        quay.ready("works", seconds=MINUTE)


def test_all_at_once_again_and_again_in_any_order(quay: Quay, watch: Watch, seed: int) -> None:
    chance = random.Random(seed)
    pause = threading.Event()
    quay.apply("stays", compose())
    replica = quay.ready("stays", seconds=1.5 * MINUTE)
    for number in range(ROUNDS):
        name, context = "changes", 128 + 64 * (number % 3)
        if chance.random() < 0.7:
            quay.apply(name, compose(context=context))
        else:
            quay.call("DELETE", f"/deployments/{name}")
        pause.wait(chance.uniform(0, 1.5))
        order = chance.sample(quay.ours, len(quay.ours))
        watch.note(f"round {number}: everything is killed; it comes back as {' '.join(order)}")
        for down in order:
            quay.hold_down(down)
        for up in order:
            quay.let_up(up)
            pause.wait(chance.uniform(0, 0.3))

        wait_until(
            lambda: quay.status("stays") == "ready" and quay.status("changes") in {"ready", ""},
            seconds=MINUTE,
            what="both to be as they are wanted",
        )
        assert quay.ready("stays") == replica, "what serves is not started again because we were"
        wait_until(lambda: not quay.remains(), seconds=MINUTE, what="no orphan")
        watch.check()
    living = {one["container_name"] for one in quay.replicas_everywhere() if one["container_name"]}
    wait_until(
        lambda: (
            {str(one["Names"][0]).lstrip("/") for one in quay.dockerd.containers(INSTANCE)} <= living  # type: ignore[index]
            or not quay.remains()
        ),
        seconds=30,
        what="containers of living replicas alone",
    )
