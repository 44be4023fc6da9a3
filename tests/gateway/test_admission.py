"""Admission: what is let in at once, what waits, what is refused, with what words."""

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from moorage.gateway.admission import FREE_HOLD, Admission, Hold
from moorage.gateway.lease_book import Report
from moorage.gateway.price_list import PriceList
from moorage.gateway.refusals import BudgetExhausted, LimitsUnavailable, RateLimited
from moorage.kernel.errors import PlatformError
from moorage.kernel.window import Window
from moorage.wire.limits import NO_LIMITS, Limits
from moorage.wire.records import KeyGrant, OrganizationGrant, PriceGrant, Route

#: A moment in the middle of a minute: 2026-11-22 10:00:30 UTC.
NOON = 1_795_341_630.0
MINUTE_LEFT = 30


@dataclasses.dataclass
class Clock:
    """A monotonic clock that stands still, and a database that is as fast as a call."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


@dataclasses.dataclass(eq=False)
class Asker:
    """A request."""

    hold: Hold | None = None
    error: PlatformError | None = None

    def admitted(self, hold: Hold) -> None:
        self.hold = hold

    def not_admitted(self, error: PlatformError) -> None:
        self.error = error


class House:
    """An admission with one organization, and the database's side of it."""

    def __init__(self, *, key: Limits = NO_LIMITS, organization: Limits = NO_LIMITS, **more: Any) -> None:
        self.clock = Clock()
        self.soon: Callable[[Callable[[], None]], object] = lambda call: call()
        self.admission = Admission(
            console_url="https://console.example/",
            clock=self.clock,
            wall=lambda: NOON,
            patience_seconds=1.0,
            soon=lambda call: self.soon(call),
        )
        self.admission.lost_at = None
        self.grant = KeyGrant(
            id="key_1", sha256="", organization_id="org_1", standing="active", scopes=("inference",), limits=key
        )
        self.admission.book.put_organization(
            OrganizationGrant(id="org_1", slug="harbour", standing="active", limits=organization, **more)
        )
        self.admission.book.put_prices(
            PriceList([PriceGrant(id="pri_1", meter="output_tokens", model="*", pico_per_unit=10, valid_from_us=0)])
        )
        self.rooms: dict[tuple[str, str, str, int], int] = {}
        self.others = 0

    def take(self, input_tokens: int = 10, output_tokens: int = 20) -> Asker:
        asker = Asker()
        asker.hold = self.admission.take(
            asker, self.grant, ROUTE, input_tokens=input_tokens, output_tokens=output_tokens
        )
        return asker

    def exchange(self, *, give: bool = True) -> Report:
        """One call of the database, which gives what is asked for as long as there is some."""
        self.clock.now += 0.001
        report = self.admission.report()
        rows = []
        for row, lease in zip(report.rows, report.leases, strict=True):
            room = self.rooms.setdefault(lease.key, lease.capacity) + row.given
            amount = lease.amount
            if give and row.target and room >= row.enough - amount:
                more = min(room, max(row.enough - amount, row.target - amount))
                room -= more
                amount += more
            self.rooms[lease.key] = room
            rows.append((row.n, amount, room, lease.capacity, self.others))
        self.admission.learn(report, rows, at=NOON + self.clock.now - 1000.0)
        return report


ROUTE = Route(
    id="dep_1:llm",
    organization_id="org_1",
    served_name="harbour/llm",
    deployment_id="dep_1",
    deployment_name="harbour",
    model_key="llm",
    revision_id="rev_1",
    engine="vllm",
    kind="chat",
    context_size=100,
    status="ready",
)


def test_whoever_has_no_limits_gets_the_hold_that_costs_nothing() -> None:
    assert House().take().hold is FREE_HOLD


def test_the_first_request_waits_for_the_lease_and_the_next_does_not() -> None:
    house = House(key=Limits(requests_per_minute=10, tokens_per_minute=1000))

    first = house.take()
    assert first.hold is None
    house.exchange()
    second = house.take()

    assert first.hold is not None
    assert second.hold is not None


def test_requests_a_minute_end_with_their_number_and_say_when_to_come_back() -> None:
    house = House(key=Limits(requests_per_minute=3))
    house.take()
    house.exchange()

    assert [house.take().hold is not None for _ in range(2)] == [True, True]
    last = house.take()
    house.exchange()

    assert isinstance(last.error, RateLimited)
    assert last.error.retry_after == MINUTE_LEFT
    headers = last.error.headers.decode()
    assert f"Retry-After: {MINUTE_LEFT}\r\n" in headers
    assert "x-ratelimit-limit-requests: 3\r\nx-ratelimit-remaining-requests: 0\r\n" in headers
    with pytest.raises(RateLimited):
        house.take()  # at once: nobody has to wait to hear it again
    house.clock.now += MINUTE_LEFT + 1
    again = house.take()
    house.exchange()
    assert again.hold is not None


def test_what_was_not_used_comes_back_and_what_was_used_does_not() -> None:
    house = House(key=Limits(tokens_per_minute=100))
    first = house.take(50, 50)
    house.exchange()
    refused = house.take(1, 0)
    house.exchange()
    assert first.hold is not None
    assert (refused.hold, refused.error) == (None, None), "what is held may come back"

    first.hold.settle(input_tokens=20, cached_tokens=5, output_tokens=10)
    house.admission.retry()
    assert refused.hold is not None
    refused.hold.settle(input_tokens=0, cached_tokens=0, output_tokens=0)

    # 70 tokens are left: one request for them, and not a second.
    third, fourth = house.take(30, 40), house.take(1, 0)
    house.exchange()
    assert third.hold is not None
    assert fourth.hold is None


def test_headers_of_an_answer_say_what_remains() -> None:
    house = House(key=Limits(requests_per_minute=10, tokens_per_minute=1000))
    asker = house.take(10, 20)
    house.exchange()

    assert asker.hold is not None
    assert asker.hold.headers == (
        b"x-ratelimit-limit-requests: 10\r\nx-ratelimit-remaining-requests: 9\r\nx-ratelimit-reset-requests: 30s\r\n"
        b"x-ratelimit-limit-tokens: 1000\r\nx-ratelimit-remaining-tokens: 970\r\nx-ratelimit-reset-tokens: 30s\r\n"
    )


def test_places_come_back_at_the_end() -> None:
    house = House(key=Limits(concurrent_requests=2))
    first, second = house.take(), house.take()
    house.exchange()
    third = house.take()
    house.exchange()
    assert first.hold is not None
    assert second.hold is not None
    assert third.hold is None

    first.hold.settle(input_tokens=1, cached_tokens=0, output_tokens=1)
    house.admission.retry()

    assert third.hold is not None


def test_a_place_that_does_not_come_back_in_time_is_a_429_of_a_second() -> None:
    house = House(key=Limits(concurrent_requests=1))
    house.take()
    second = house.take()
    house.exchange()

    house.clock.now += 1.1
    house.exchange()

    assert isinstance(second.error, RateLimited)
    assert second.error.retry_after == 1


def test_a_spent_budget_is_a_402_with_what_is_left_and_where_to_raise_it() -> None:
    house = House(organization=Limits(money_per_month=450))
    house.take(0, 20)
    last = house.take(0, 30)
    house.exchange()
    house.clock.now += 1.1
    house.exchange()

    assert isinstance(last.error, BudgetExhausted)
    assert last.error.status_code == 402
    assert last.error.details == {
        "balance": "0.00000000025 USD",
        "top_up_url": "https://console.example/harbour/limits",
    }
    assert "2026-12-01T00:00:00Z" in last.error.message


def test_a_price_by_the_request_is_held_and_charged_to_a_request_that_used_a_token() -> None:
    house = House(organization=Limits(money_per_month=1000))
    grants = [("output_tokens", 10), ("requests", 400)]
    house.admission.book.put_prices(
        PriceList(
            PriceGrant(id=meter, meter=meter, model="*", pico_per_unit=pico, valid_from_us=0) for meter, pico in grants
        )
    )
    first, second = house.take(0, 10), house.take(0, 10)
    house.exchange()
    refused = house.take(0, 10)
    house.exchange()
    assert first.hold is not None and second.hold is not None
    assert (refused.hold, refused.error) == (None, None), "what is held may come back"

    first.hold.settle(input_tokens=0, cached_tokens=0, output_tokens=10)
    house.admission.retry()
    assert refused.hold is None, "it was charged"
    second.hold.settle(input_tokens=0, cached_tokens=0, output_tokens=0)
    house.admission.retry()

    assert refused.hold is not None, "it used no token and was not charged"


def test_a_negotiated_price_is_held_for_its_own_organization_alone() -> None:
    for owner, fits in (("org_1", True), ("org_2", False)):
        house = House(organization=Limits(money_per_month=100))
        house.admission.book.put_prices(
            PriceList(
                PriceGrant(
                    id=each or "all",
                    meter="output_tokens",
                    model="*",
                    pico_per_unit=1 if each else 10,
                    valid_from_us=0,
                    organization_id=each,
                )
                for each in ("", owner)
            )
        )
        asker = house.take(0, 10)
        more = house.take(0, 10)
        house.exchange()

        assert asker.hold is not None
        assert (more.hold is not None) is fits


def test_a_price_of_nought_is_no_limit_of_money_and_every_other_limit_holds() -> None:
    house = House(organization=Limits(money_per_month=0, tokens_per_day=50))
    house.admission.book.put_prices(PriceList())

    first, second = house.take(10, 20), house.take(10, 20)
    house.exchange()
    house.clock.now += 1.1
    house.exchange()

    assert first.hold is not None
    assert isinstance(second.error, RateLimited)


def test_a_request_that_can_never_fit_is_told_so_at_once() -> None:
    house = House(key=Limits(tokens_per_minute=25))

    with pytest.raises(RateLimited, match="max_tokens"):
        house.take(10, 20)


def test_a_deployments_and_the_organizations_limits_hold_besides_the_keys() -> None:
    for house in (
        House(key=Limits(requests_per_minute=5), organization=Limits(requests_per_minute=1)),
        House(key=Limits(requests_per_minute=5), deployments={"dep_1": Limits(requests_per_minute=1)}),
    ):
        first, second = house.take(), house.take()
        house.exchange()
        house.exchange()

        assert first.hold is not None
        assert isinstance(second.error, RateLimited)


def test_another_deployments_limits_are_not_ours() -> None:
    assert House(deployments={"dep_2": Limits(requests_per_minute=0)}).take().hold is FREE_HOLD


def test_a_wallet_is_an_allowance_without_an_end() -> None:
    house = House(has_wallet=True)
    house.rooms["org_1", "money", "always", 0] = 300
    first, second = house.take(0, 20), house.take(0, 20)
    house.exchange()
    house.clock.now += 1.1
    house.exchange()

    assert first.hold is not None
    assert isinstance(second.error, BudgetExhausted)
    assert "balance" in second.error.message


def test_a_client_that_leaves_waits_no_more() -> None:
    house = House(key=Limits(requests_per_minute=1))
    asker = house.take()

    house.admission.forget(asker)
    house.exchange()

    assert asker.hold is None
    assert house.take().hold is None


def test_without_the_database_leases_are_used_up_and_then_nothing_is_started() -> None:
    house = House(key=Limits(requests_per_minute=3))
    house.take()
    house.exchange()
    house.admission.lost_at = house.clock.now

    assert [house.take().hold is not None for _ in range(2)] == [True, True]
    waits = house.take()
    house.clock.now += 1.5
    house.admission.retry()

    assert isinstance(waits.error, LimitsUnavailable)
    with pytest.raises(LimitsUnavailable):
        house.take()


def test_a_limit_that_is_taken_away_lets_go_whoever_waits_for_it() -> None:
    house = House(organization=Limits(requests_per_minute=1))
    house.others = 1  # another worker has the one there is
    waits = house.take()
    house.exchange(give=False)
    assert waits.hold is None
    assert waits.error is None

    house.admission.book.put_organization(OrganizationGrant(id="org_1", slug="harbour", standing="active"))
    house.admission.retry()

    assert waits.hold is FREE_HOLD


def test_leases_that_nobody_uses_go_back_and_are_forgotten() -> None:
    house = House(key=Limits(requests_per_minute=100, concurrent_requests=5))
    asker = house.take()
    house.exchange()
    assert asker.hold is not None
    asker.hold.settle(input_tokens=1, cached_tokens=0, output_tokens=1)

    for _ in range(6):
        house.clock.now += 20
        house.exchange()

    assert len(house.admission.book) == 0
    assert house.admission.book.gates == {}
    assert house.rooms["key_1", "requests", Window.MINUTE, 1_795_341_600] == 99
    again = house.take()
    house.exchange()
    assert again.hold is not None


def test_whoever_left_before_being_told_leaves_its_hold_behind() -> None:
    house = House(key=Limits(concurrent_requests=1))
    later: list[Any] = []
    house.soon = later.append
    asker = house.take()
    house.exchange()

    house.admission.forget(asker)
    for call in later:
        call()

    assert asker.hold is None
    assert house.take().hold is not None, "the place is free again"


def test_a_database_that_is_silent_is_told_as_such() -> None:
    house = House(key=Limits(requests_per_minute=5))
    asker = house.take()
    house.admission.report()  # said, and never answered

    house.clock.now += 1.1
    house.admission.retry()

    assert isinstance(asker.error, LimitsUnavailable)


def test_whoever_used_this_minute_finds_a_lease_of_the_next() -> None:
    house = House(key=Limits(requests_per_minute=100, tokens_per_minute=10_000))
    house.take()
    house.exchange()
    house.clock.now += MINUTE_LEFT - 2
    house.take()

    house.exchange()
    house.clock.now += 2.5

    assert house.take().hold is not None
