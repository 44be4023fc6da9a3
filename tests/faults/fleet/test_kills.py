"""Whatever is killed, frozen, emptied or lost, in any order, under load: never oversold, never two, nothing left over.

Replay a run with MOORAGE_FAULT_SEED; MOORAGE_FAULT_KILLS=300 is the long one.
"""

import collections
import os
import random
import threading
import time
from collections.abc import Callable, Mapping

import pytest

from tests.faults.fleet.customers import Customers
from tests.faults.fleet.quay import MINUTE, SECOND, Quay
from tests.faults.fleet.test_stores import empty
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.engine]

KILLS = int(os.environ.get("MOORAGE_FAULT_KILLS") or 10)
#: After so many faults everybody waits until all is as it is wanted.
A_WHILE = 5
POINTS = ("after_reserve", "before_create", "after_create", "after_start", "before_ready", "after_stop", "after_remove",
          "after_release", "after_rest", "after_thaw", "after_start_again")  # fmt: skip
LOST = ("POST .*/create", "POST .*/start", "POST .*/stop", "DELETE .*/containers/", "GET .*/json")


class Villain:
    """Does one random thing at a time."""

    def __init__(self, quay: Quay, watch: Watch, chance: random.Random) -> None:
        self._quay, self._watch, self._chance = quay, watch, chance
        self._pause = threading.Event()
        self.done: collections.Counter[str] = collections.Counter()
        self._deeds: Mapping[str, tuple[int, Callable[[], None]]] = {
            "kill a process": (8, self._kill_process),
            "kill a worker at a point": (6, self._charge),
            "kill an engine": (4, self._kill_engine),
            "kill dockerd": (3, self._kill_dockerd),
            "freeze the Engine": (2, self._freeze),
            "lose a reply": (5, self._lose),
            "kill PostgreSQL": (2, lambda: self._kill("postgres", self._chance.choice([0.0, 1.0]))),
            "kill the broker": (2, lambda: self._kill("valkey", self._chance.choice([0.0, 2.0]))),
            "empty the broker": (2, self._empty),
            "kill everything": (1, self._kill_all),
        }

    def act(self) -> None:
        """One fault, chosen by chance."""
        names = list(self._deeds)
        name = self._chance.choices(names, weights=[self._deeds[one][0] for one in names])[0]
        self._deeds[name][1]()
        self.done[name] += 1

    def _kill(self, name: str, down: float = 0.0) -> None:
        self._watch.note(f"kill {name}, down for {down} s")
        wait_until(lambda: self._quay.parts[name].is_running, seconds=30, what=name)
        self._quay.kill(name, down_seconds=down)

    def _kill_process(self) -> None:
        self._kill(self._chance.choice(["worker-provision", SECOND, "beat", "doorbell", "web", "gateway", "shipper"]))

    def _charge(self) -> None:
        point = self._chance.choice(POINTS)
        self._watch.note(f"the next worker at {point} dies")
        self._quay.charge(point)

    def _kill_engine(self) -> None:
        ready = [one for one in self._quay.replicas_everywhere() if one["status"] == "ready"]
        if not ready:
            return self._kill_process()
        victim = self._chance.choice(sorted(ready, key=lambda one: str(one["id"])))
        self._watch.note(f"kill the engine of {victim['id']}")
        if pid := self._quay.pid_of(str(victim["id"])):
            self._quay.kill_pid(pid)
        return None

    def _kill_dockerd(self) -> None:
        self._watch.note("kill dockerd")
        self._quay.dockerd.kill()
        self._pause.wait(self._chance.choice([0, 1, 4]))
        self._quay.dockerd.start()

    def _freeze(self) -> None:
        seconds = self._chance.choice([1, 5])
        self._watch.note(f"the Engine hangs for {seconds} s")
        self._quay.engine.freeze()
        self._watch.engine_is_away()
        self._pause.wait(seconds)
        self._watch.engine_is_back()
        self._quay.engine.thaw()

    def _lose(self) -> None:
        pattern = self._chance.choice(LOST)
        self._watch.note(f"the next reply to {pattern} is lost")
        self._quay.engine.lose_reply(pattern)

    def _empty(self) -> None:
        self._watch.note("empty the broker")
        empty(self._quay)

    def _kill_all(self) -> None:
        order = self._chance.sample(self._quay.ours, len(self._quay.ours))
        self._watch.note("kill everything")
        for name in order:
            self._quay.hold_down(name)
        for name in order:
            self._quay.let_up(name)


def test_whatever_is_killed_the_fleet_comes_to_what_is_wanted(quay: Quay, watch: Watch, seed: int) -> None:
    print(f"MOORAGE_FAULT_KILLS={KILLS}")
    chance = random.Random(seed)
    villain, customers = Villain(quay, watch, chance), Customers(quay, watch, chance)
    pause = threading.Event()
    quay.let_up(SECOND)
    slowest = 0.0
    with customers.calling():
        try:
            for number in range(KILLS):
                if chance.random() < 0.6:
                    customers.change_their_mind()
                pause.wait(chance.uniform(0, 0.8))
                villain.act()
                if number % A_WHILE == A_WHILE - 1 or number == KILLS - 1:
                    # A minute from the last fault on: whoever would die later is let live.
                    quay.take_up_charges()
                    began = time.monotonic()
                    customers.are_served()
                    wait_until(
                        lambda: not quay.remains(), seconds=MINUTE, what=lambda: f"no orphan; there is {quay.remains()}"
                    )
                    slowest = max(slowest, time.monotonic() - began)
                    watch.check()
                    print(f"{number + 1} faults; as wanted after {time.monotonic() - began:.0f} s", flush=True)
        finally:
            quay.take_up_charges()
            quay.hold_down(SECOND)
    print(f"{dict(villain.done)}; {customers.deeds} changes of mind; {dict(customers.answers)};")
    print(f"slowest convergence {slowest:.0f} s; {watch.looks} looks, {watch.looks_at_engine} with the Engine")
    assert sum(villain.done.values()) == KILLS
    assert watch.looks_at_engine > KILLS
    # What is wanted has answered each time that things had settled; meanwhile somebody must have asked, no more.
    assert sum(customers.answers.values()) > 0
