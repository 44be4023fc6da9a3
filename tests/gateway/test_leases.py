"""Leases: whatever requests and workers do, nothing is used that was not there, and nothing is lost."""

import dataclasses

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from moorage.gateway.lease_row import Row
from moorage.gateway.leases import Lease
from moorage.kernel.window import Window
from moorage.wire.limits import Measure

MINUTE = 60


def lease(measure: Measure = Measure.TOKENS, capacity: int = 1000) -> Lease:
    return Lease(
        subject="key_1",
        organization_id="org_1",
        measure=measure,
        window=Window.MINUTE,
        starts=0,
        ends=MINUTE,
        capacity=capacity,
    )


def given_to(found: Lease, amount: int, *, room: int = 0, others: int = 0) -> None:
    found.learn(amount=found.amount + amount, room=room, capacity=found.capacity, others=others, now=0.0)


def test_what_a_request_gives_back_is_free_again() -> None:
    found = lease()
    given_to(found, 100)
    found.kept = 100

    found.free -= 40  # a request takes its worst case
    assert found.held == 40
    found.free += 30  # and used 10 of it
    found.spent += 10

    assert (found.free, found.held, found.unreported) == (90, 0, 10)
    row = found.tell(0, 1.0)
    assert row.spent == 10
    assert (found.amount, found.free, found.unreported) == (90, 90, 0)


def test_a_request_counts_when_it_is_let_in() -> None:
    found = lease(Measure.REQUESTS)
    given_to(found, 10)

    found.free -= 3

    assert (found.unreported, found.held) == (3, 0)
    assert found.tell(0, 1.0).spent == 3
    assert found.unreported == 0


def test_whoever_waits_asks_for_what_the_smallest_needs_and_gladly_more() -> None:
    found = lease()
    given_to(found, 10)

    found.wants(30)
    found.wants(50)
    row = found.tell(0, 1.0)

    assert row.enough == 30
    assert row.target > 80
    assert row.call


def test_another_worker_is_not_called_at_every_breath() -> None:
    found = lease()
    found.wants(5)
    first = found.tell(0, 1.0)
    found.wants(5)
    second = found.tell(0, 1.02)
    found.wants(5)
    third = found.tell(0, 1.1)

    assert [first.call, second.call, third.call] == [True, False, True]


def test_what_lies_idle_goes_back_when_asked_for_when_old_and_when_its_window_ends() -> None:
    for prepare, now in (("wanted", 1.0), ("old", 9.0), ("ended", 60.0)):
        found = lease()
        given_to(found, 100)
        found.used_at = 3.0 if prepare == "old" else now
        found.is_wanted = prepare == "wanted"
        found.kept = 1000
        found.free -= 20

        row = found.tell(0, now)

        assert row.given == 80, prepare
        assert (found.amount, found.free, found.held) == (20, 0, 20)
        assert row.target == 0


def test_a_leftover_that_is_too_small_for_those_who_wait_goes_to_whoever_can_use_it() -> None:
    found = lease()
    given_to(found, 4)
    found.wants(10)
    found.is_wanted = True

    row = found.tell(0, 1.0)

    assert row.given == 4
    assert row.enough == 10


def test_an_answer_that_was_lost_is_made_good_by_the_next() -> None:
    found = lease()
    found.wants(10)
    found.tell(0, 1.0)
    # The database gave 50 and its answer was lost; it is asked again and says what the lease holds.
    found.learn(amount=50, room=950, capacity=1000, others=0, now=1.1)

    assert (found.amount, found.free) == (50, 50)


def test_a_lease_that_was_taken_away_lets_nobody_in() -> None:
    found = lease()
    given_to(found, 50)
    found.free -= 20

    found.learn(amount=0, room=0, capacity=1000, others=0, now=1.0)

    assert found.free == -20
    assert found.held == 20


@dataclasses.dataclass
class Database:
    """What the SQL function gateway_lease does, with plain numbers."""

    capacity: int
    used: int = 0
    leases: dict[int, int] = dataclasses.field(default_factory=dict)

    @property
    def room(self) -> int:
        return self.capacity - self.used - sum(self.leases.values())

    def call(self, worker: int, row: Row, *, is_heard: bool) -> None:
        held = self.leases.get(worker, 0)
        if is_heard:
            spent = min(row.spent, held)
            self.used += spent
            held -= spent + min(row.given, held - spent)
            self.leases[worker] = held
        needed, wanted = max(0, row.enough - held), max(0, row.target - held)
        if row.target > 0 and self.room >= needed and self.room > 0:
            self.leases[worker] = held + min(self.room, max(needed, min(wanted, self.room // 4)))


class Workers(RuleBasedStateMachine):
    """Two workers, one allowance: requests of any size, settled at any time, reports whose answers get lost."""

    @initialize(measure=st.sampled_from([Measure.TOKENS, Measure.MONEY]), capacity=st.integers(0, 500))
    def begin(self, measure: Measure, capacity: int) -> None:
        self.database = Database(capacity)
        self.leases = [lease(measure, capacity), lease(measure, capacity)]
        self.holds: list[tuple[int, int]] = []
        self.really_used = 0
        self.unheard: dict[int, Row] = {}
        self.now = 0.0

    @rule(worker=st.integers(0, 1), amount=st.integers(0, 60))
    def ask(self, worker: int, amount: int) -> None:
        found = self.leases[worker]
        if found.free >= amount:
            found.free -= amount
            self.holds.append((worker, amount))
        else:
            found.wants(amount)

    @rule(position=st.integers(0, 100), part=st.integers(0, 4))
    def settle(self, position: int, part: int) -> None:
        if self.holds:
            worker, amount = self.holds.pop(position % len(self.holds))
            used = amount * part // 4
            self.leases[worker].free += amount - used
            self.leases[worker].spent += used
            self.really_used += used

    @rule(worker=st.integers(0, 1), is_wanted=st.booleans(), fate=st.sampled_from(["heard", "lost", "answer lost"]))
    def report(self, worker: int, is_wanted: bool, fate: str) -> None:
        found = self.leases[worker]
        is_new = worker not in self.unheard
        if is_new:
            found.is_wanted = is_wanted
            self.unheard[worker] = found.tell(0, self.now)
            self._taken = {**getattr(self, "_taken", {}), worker: False}
        row = self.unheard[worker]
        if fate == "lost":
            return
        self.database.call(worker, row, is_heard=not self._taken[worker])
        self._taken[worker] = True
        if fate == "heard":
            del self.unheard[worker]
            held = self.database.leases.get(worker, 0)
            others = self.database.leases.get(1 - worker, 0)
            found.learn(
                amount=held, room=self.database.room, capacity=self.database.capacity, others=others, now=self.now
            )

    @rule(seconds=st.floats(0.01, 10))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def nothing_is_used_that_was_not_there(self) -> None:
        if not hasattr(self, "database"):
            return
        held = sum(amount for _, amount in self.holds)
        assert self.database.room >= 0
        assert self.really_used + held <= self.database.capacity
        assert all(found.free >= 0 for found in self.leases)

    def teardown(self) -> None:
        if not hasattr(self, "database"):
            return
        while self.holds:
            self.settle(0, 4)
        for worker in (0, 1):
            self.report(worker, False, "heard")
        self.now = MINUTE + 1.0
        for worker in (0, 1, 0, 1):
            self.report(worker, False, "heard")
        assert self.database.used == self.really_used, "nothing lost, nothing counted twice"
        assert sum(self.database.leases.values()) == 0, "and the rest is there again"


TestTwoWorkers = Workers.TestCase
TestTwoWorkers.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
