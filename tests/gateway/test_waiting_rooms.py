"""Who waits, is released in fair order as places come free, or sent away with what is known."""

import math
import time

import msgspec
import pytest

from moorage.gateway.breaker import FAILURES_IN_A_ROW
from moorage.gateway.errors import NotServing, QueueFull, QueueTimeout, Stopping, Unavailable
from moorage.gateway.holding import Holding, not_awake, waiting_comment
from moorage.gateway.pool import Pool
from moorage.gateway.routes import RouteTable
from moorage.wire.records import Route
from tests.gateway.rush_hour import Call, Harbour, route_of

ASLEEP = msgspec.structs.replace(route_of(replicas=0, status="idle"), reason="Nobody called.")


class Pier:
    """Waiting rooms before a route that the test wakes; whoever is released takes a place and stays."""

    def __init__(self, route: Route = ASLEEP, *, limit: int = 100) -> None:
        self.wakes: list[str] = []
        self.now = 0.0
        self.route = route
        self.pool = Pool()
        self.holding = Holding(
            limit=limit, ask_wake=lambda route: self.wakes.append(route.id), pool=self.pool, clock=lambda: self.now
        )
        self.released: list[str] = []

    def add(self, key: str, *, patience: float = 60.0) -> Call:
        pier = self

        class Waiting(Call):
            def released(self, route: Route) -> None:
                replica = pier.pool.choose(route, b"", 1, pier.now)
                assert replica is not None
                replica.take(1)
                pier.released.append(key)

        call = Waiting(key=key, came_at=self.now, hold_until=self.now + patience)
        self.holding.add(call, self.route, organization_id="org_alice", key_id=key, tokens=10)
        return call

    def becomes(self, route: Route | None) -> None:
        table = RouteTable([route] if route is not None else [])
        self.pool.routes_changed(table)
        self.holding.routes_changed(table)


def test_all_ask_for_one_wake_and_no_more_once_it_is_under_way() -> None:
    pier = Pier()
    for _ in range(3):
        pier.add("a")

    pier.becomes(msgspec.structs.replace(ASLEEP, status="provisioning"))
    asked = len(pier.wakes)
    pier.add("a")
    pier.holding.tick(1.0)

    assert asked == 3  # the writer of wakes makes one row of them
    assert len(pier.wakes) == asked


def test_those_who_woke_it_go_in_fair_order_as_far_as_there_are_places() -> None:
    pier = Pier()
    for key in ["heavy"] * 5 + ["light"] * 2:
        pier.add(key)

    pier.becomes(route_of(slots=3))

    assert pier.released == ["heavy", "light", "heavy"]
    assert pier.holding.waiting(pier.route.id) == 4


def test_who_loses_patience_goes_at_once_and_leaves_the_wake_to_the_others() -> None:
    pier = Pier()
    hasty, patient = pier.add("hasty", patience=0.0), pier.add("patient")

    pier.holding.lose_patience(hasty, pier.route.id)
    pier.becomes(route_of(slots=3))

    assert isinstance(hasty.error, NotServing)
    assert patient.error is None
    assert pier.wakes
    assert pier.released == ["patient"]


def test_a_place_that_comes_free_goes_to_who_waits() -> None:
    harbour = Harbour(slots=1)
    calls = [Call(key="a", came_at=0.0), Call(key="a", came_at=0.1), Call(key="b", came_at=0.2)]

    harbour.run(calls)

    assert [call.done_at for call in calls] == [1.0, 2.0, 3.0]
    assert len(harbour.holding) == 0


def test_whoever_comes_while_others_wait_waits_behind_them() -> None:
    harbour = Harbour(slots=1)
    for number in range(3):
        harbour.arrive(Call(key="a", came_at=number))

    assert harbour.holding.waiting(harbour.route.id) == len(harbour.holding) == 2


def test_waiting_for_a_place_wakes_nobody() -> None:
    pier = Pier(route_of(slots=1))
    pier.pool.choose(pier.route, b"", 1, 0.0).take(1)  # type: ignore[union-attr]

    pier.add("a")
    pier.holding.tick(1.0)

    assert pier.wakes == []


def test_a_breaker_that_lets_one_through_again_releases_one() -> None:
    pier = Pier(route_of(slots=0))
    replica = pier.pool.choose(pier.route, b"", 1, 0.0)
    assert replica is not None
    for _ in range(FAILURES_IN_A_ROW):
        replica.breaker.failed(0.0)
    for _ in range(3):
        pier.add("a")

    pier.now = 0.9
    pier.holding.tick(pier.now)
    before = len(pier.released)
    pier.now = 1.0
    pier.holding.tick(pier.now)

    assert (before, len(pier.released)) == (0, 1)


def test_who_leaves_is_not_released() -> None:
    pier = Pier()
    gone, stays = pier.add("a"), pier.add("b")

    pier.holding.remove(gone, pier.route.id)
    pier.becomes(route_of(slots=1))

    assert pier.released == ["b"]
    assert stays.error is None


def test_a_full_room_sends_away_the_newest_of_who_filled_it() -> None:
    pier = Pier(limit=3)
    heavy = [pier.add("heavy") for _ in range(3)]

    with pytest.raises(QueueFull):
        pier.add("heavy")
    pier.add("light")

    assert [isinstance(call.error, QueueFull) for call in heavy] == [False, False, True]
    assert pier.holding.waiting(pier.route.id) == 3


def test_patience_that_ends_before_a_wake_is_told_the_stage() -> None:
    pier = Pier()
    call = pier.add("a", patience=5.0)
    stays = pier.add("a", patience=50.0)
    pulling = msgspec.structs.replace(
        ASLEEP, status="provisioning", stage="pulling", percent=42, expected_at=math.ceil(time.time()) + 20
    )
    pier.becomes(pulling)

    pier.holding.tick(4.9)
    before = call.error
    pier.holding.tick(5.0)

    assert before is None
    assert isinstance(call.error, NotServing)
    assert call.error.message.startswith("The model harbour/pilot is starting: pulling the weights, 42 %, about 2")
    assert stays.error is None


def test_patience_that_ends_in_the_queue_is_told_to_come_back() -> None:
    pier = Pier(route_of(slots=1))
    pier.pool.choose(pier.route, b"", 1, 0.0).take(1)  # type: ignore[union-attr]
    call = pier.add("a", patience=5.0)

    pier.holding.tick(5.0)

    assert isinstance(call.error, QueueTimeout)
    assert call.error.retry_after >= 1
    assert len(pier.holding) == 0


@pytest.mark.parametrize(
    ("becomes", "words"),
    [
        (None, "deleted"),
        (msgspec.structs.replace(ASLEEP, status="paused", reason="Alice paused it."), "is paused. Alice paused it."),
    ],
)
def test_those_who_wait_for_what_will_not_come_are_sent_away(becomes: Route | None, words: str) -> None:
    pier = Pier()
    call = pier.add("a")

    pier.becomes(becomes)

    assert isinstance(call.error, NotServing)
    assert words in call.error.message
    assert len(pier.holding) == 0


def test_when_the_gateway_stops_nobody_waits_on() -> None:
    pier = Pier()
    calls = [pier.add("a"), pier.add("b")]

    pier.holding.send_all_away(Stopping())

    assert [type(call.error) for call in calls] == [Stopping, Stopping]


def told(**values: object) -> Unavailable:
    return not_awake(msgspec.structs.replace(ASLEEP, **values), 1_000.0)


def test_what_is_known_of_a_wake_is_said_in_words_and_in_members() -> None:
    error = told(stage="pulling", percent=42, expected_at=1_020)

    assert error.message == "The model harbour/pilot is starting: pulling the weights, 42 %, about 20 s left."
    assert error.details == {"stage": "pulling", "percent": 42, "eta_seconds": 20}
    assert error.retry_after == 20


@pytest.mark.parametrize("expected_at", [0, 999, 1_000])
def test_an_estimate_that_is_overdue_is_none(expected_at: int) -> None:
    error = told(stage="starting", expected_at=expected_at)

    assert error.message == "The model harbour/pilot is starting: loading the weights."
    assert error.details == {"stage": "starting", "percent": None, "eta_seconds": None}
    assert error.retry_after == 5


def test_a_long_wait_is_not_a_long_retry_after() -> None:
    assert told(stage="pulling", percent=1, expected_at=10_000).retry_after == 300


def test_waiting_for_room_says_what_there_is_no_room_for() -> None:
    error = told(stage="pending", reason="Waiting for room on a node. 4 GiB are needed.")

    assert error.message == "The model harbour/pilot is starting. Waiting for room on a node. 4 GiB are needed."
    assert error.details["stage"] == "pending"


def test_before_anything_is_known_the_reason_is_said() -> None:
    assert told().message == "The model harbour/pilot did not wake in time. Nobody called."


@pytest.mark.parametrize(
    ("route", "comment"),
    [
        (ASLEEP, b": waiting for a replica\n\n"),
        (
            msgspec.structs.replace(ASLEEP, stage="pulling", percent=42, expected_at=1_020),
            b": waiting for a replica: pulling the weights, 42 %, about 20 s left\n\n",
        ),
        (route_of(), b": waiting for its turn\n\n"),
    ],
)
def test_a_stream_is_told_what_it_waits_for(route: Route, comment: bytes) -> None:
    assert waiting_comment(route, 1_000.0) == comment
