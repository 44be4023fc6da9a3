"""The price list: which price is in force, how it is written, and that it never reaches the past."""

import datetime as dt

import msgspec
import pytest
from django.core.management import call_command
from django.db import DatabaseError, connection, transaction
from hypothesis import given
from hypothesis import strategies as st

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry
from moorage.billing import closing, minimums, prices, pricing, rater
from moorage.billing import price_list as price_list_of
from moorage.billing.errors import InvalidPrice, PriceExists, PriceInThePast
from moorage.billing.models import Meter, Price, RatedUsage, UnitCost, UnratedUsage
from moorage.billing.prices import PriceBook, PriceRow
from moorage.billing.reconciliation import settled
from moorage.billing.reconciliation.findings import Window
from moorage.billing.tiers import Tier
from moorage.gateway.price_list import PriceList
from moorage.kernel import clock, patterns
from moorage.kernel.clock import Period
from moorage.wire.records import PriceGrant
from tests.billing.measured import CLOSING, NOON, NOVEMBER, OCTOBER, everything_shipped, price_list, run, use
from tests.cast import Cast

DAY = dt.timedelta(days=1)


def _row(row_id: str, model: str, valid_from: dt.datetime = NOON, *, pico: int = 1) -> PriceRow:
    return PriceRow(id=row_id, meter="output_tokens", model=model, pico_per_unit=pico, valid_from=valid_from)


@pytest.mark.parametrize(
    ("rows", "moment", "winner"),
    [
        ([], NOON, None),
        ([_row("a", "*")], NOON, "a"),
        ([_row("a", "*")], NOON - dt.timedelta(microseconds=1), None),
        ([_row("a", "*"), _row("b", "*", NOON + DAY)], NOON, "a"),
        ([_row("a", "*"), _row("b", "*", NOON + DAY)], NOON + DAY, "b"),
        ([_row("a", "demo/*"), _row("b", "*", NOON + DAY)], NOON + 2 * DAY, "a"),
        ([_row("a", "demo/*"), _row("b", "demo/llm"), _row("c", "*")], NOON, "b"),
        ([_row("a", "d*"), _row("b", "demo/*"), _row("c", "*m")], NOON, "b"),
        ([_row("a", "demo/llm", NOON + DAY), _row("b", "*")], NOON, "b"),
        ([_row("a", "other/*")], NOON, None),
    ],
)
def test_the_most_specific_price_that_has_begun_wins_then_the_latest(
    rows: list[PriceRow], moment: dt.datetime, winner: str | None
) -> None:
    found = PriceBook(rows).in_force(meter="output_tokens", served_name="demo/llm", currency="USD", moment=moment)

    assert (found.id if found else None) == winner


def test_a_price_of_another_meter_is_no_price() -> None:
    book = PriceBook([_row("a", "*")])

    assert book.in_force(meter="input_tokens", served_name="demo/llm", currency="USD", moment=NOON) is None


@pytest.mark.parametrize(
    ("pattern", "name", "fits"),
    [
        ("*", "", True),
        ("a*c", "abc", True),
        ("a*c", "ac", True),
        ("a*a", "a", False),
        ("a*b*c", "a-b-c", True),
        ("a*b*c", "acb", False),
        ("a.c", "abc", False),
        ("[a]*", "abc", False),
        ("abc", "abc", True),
        ("abc", "abcd", False),
        ("*ab*ab", "xabab", True),
        ("*ab*ab", "xab", False),
    ],
)
def test_only_the_star_is_special(pattern: str, name: str, fits: bool) -> None:
    assert patterns.matches(pattern, name) is fits


@pytest.mark.parametrize(
    ("meter", "text", "pico"),
    [
        (Meter.INPUT_TOKENS, "0.25", 250_000),
        (Meter.INPUT_TOKENS, "0.000001", 1),
        (Meter.OUTPUT_TOKENS, "60", 60_000_000),
        (Meter.REPLICA_SECONDS, "0.00002", 20_000_000),
        (Meter.REPLICA_SECONDS, "0.000000000001", 1),
        (Meter.CACHED_INPUT_TOKENS, " 0 ", 0),
    ],
)
def test_a_price_is_read_exactly_as_people_write_it(meter: Meter, text: str, pico: int) -> None:
    assert prices.parse(meter, text) == pico


@pytest.mark.parametrize(
    "text", ["", "-1", "1e3", "0.0000001", "1,5", "½", "٣", "1.", ".5", "NaN", "99999999999", "0x1"]
)
def test_what_is_no_price_is_refused_with_a_sentence(text: str) -> None:
    with pytest.raises(InvalidPrice):
        prices.parse(Meter.INPUT_TOKENS, text)


@given(meter=st.sampled_from(list(Meter)), pico=st.integers(min_value=0, max_value=10**15))
def test_writing_and_reading_a_price_loses_nothing(meter: Meter, pico: int) -> None:
    assert prices.parse(meter, prices.text(meter, pico)) == pico


def _set(cast: Cast, pico: int, **options: object) -> Price:
    given_options: dict[str, object] = {"meter": Meter.OUTPUT_TOKENS, "model": "*", "by": Actor.person(cast.ada)}
    return pricing.set_price(**{**given_options, **options}, pico_per_unit=pico)  # type: ignore[arg-type]


def test_a_change_of_price_is_a_new_row_with_an_audit_entry(cast: Cast) -> None:
    first = _set(cast, 100, valid_from=NOON)

    second = _set(cast, 200, valid_from=NOON + DAY, note="dearer")

    assert list(Price.objects.order_by("valid_from")) == [first, second]
    entry = AuditEntry.objects.get(subject=second.id)
    assert (entry.actor, entry.action, entry.detail["price"]) == (cast.ada.id, "price.set", "0.0002")


def test_a_price_row_never_changes(cast: Cast) -> None:
    price = _set(cast, 100)

    with pytest.raises(DatabaseError, match=r"append-only|permission denied"):
        Price.objects.filter(pk=price.pk).update(pico_per_unit=1)


def test_a_price_cannot_reach_usage_that_is_rated(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, ended_at=NOON)
    rater.rate_all()

    with pytest.raises(PriceInThePast, match=r"2026-10-15 12:00"):
        _set(cast, 1, valid_from=NOON)
    with pytest.raises(PriceInThePast):
        _set(cast, 1, valid_from=NOON - DAY, model="demo/*")

    assert _set(cast, 1, valid_from=NOON + dt.timedelta(microseconds=1)).pico_per_unit == 1
    assert _set(cast, 1, valid_from=NOON - DAY, model="other/*").pico_per_unit == 1


def test_the_same_beginning_twice_is_refused(cast: Cast) -> None:
    _set(cast, 1, valid_from=NOON)

    with pytest.raises(PriceExists):
        _set(cast, 2, valid_from=NOON)


@pytest.mark.parametrize(("pico", "model"), [(-1, "*"), (10**16, "*"), (1, ""), (1, "a\nb"), (1, "x" * 171)])
def test_a_price_that_makes_no_sense_is_refused(cast: Cast, pico: int, model: str) -> None:
    with pytest.raises(InvalidPrice):
        _set(cast, pico, model=model)


def test_a_float_is_no_price(cast: Cast) -> None:
    with pytest.raises(InvalidPrice):
        _set(cast, 0.5)  # type: ignore[arg-type]


def test_a_price_change_touches_no_rated_row(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization)
    rater.rate_all()
    before = list(RatedUsage.objects.order_by("id").values())

    _set(cast, 999_999, valid_from=NOON + DAY)
    use(cast.alice.organization, ended_at=NOON + DAY, tokens=(0, 0, 1))
    rater.rate_all()

    after = list(RatedUsage.objects.order_by("id").values())
    assert after[: len(before)] == before
    assert after[-1]["amount_pico"] == 999_999


def test_an_organization_has_its_own_price_before_everybodys_more_specific_one(cast: Cast) -> None:
    harbour, island = cast.alice.organization, cast.charlie.organization
    _set(cast, 100, valid_from=NOON, model="demo/llm")
    own = _set(cast, 60, valid_from=NOON, model="*", organization=harbour)
    use(harbour, tokens=(0, 0, 1), ended_at=NOON)
    use(island, tokens=(0, 0, 1), ended_at=NOON)

    rater.rate_all()

    rated = dict(RatedUsage.objects.values_list("organization_id", "pico_per_unit"))
    assert rated == {harbour.id: 60, island.id: 100}
    assert AuditEntry.objects.get(subject=own.id).organization == harbour


def test_a_negotiated_price_is_out_of_reach_of_its_own_organizations_rated_usage_alone(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, ended_at=NOON)
    rater.rate_all()

    with pytest.raises(PriceInThePast):
        _set(cast, 1, valid_from=NOON, organization=cast.alice.organization)

    assert _set(cast, 1, valid_from=NOON, organization=cast.charlie.organization).pico_per_unit == 1


def test_a_price_has_an_end_and_then_the_next_best_counts(cast: Cast) -> None:
    organization = cast.alice.organization
    _set(cast, 100, valid_from=NOON - DAY)
    _set(cast, 60, valid_from=NOON, valid_to=NOON + DAY, organization=organization)
    for moment in (NOON, NOON + DAY):
        use(organization, tokens=(0, 0, 1), ended_at=moment)

    rater.rate_all()

    assert list(RatedUsage.objects.order_by("ended_at").values_list("pico_per_unit", flat=True)) == [60, 100]


def test_ending_a_price_is_a_new_row_that_is_never_in_force(cast: Cast) -> None:
    organization = cast.alice.organization
    listed = _set(cast, 100, valid_from=NOON - DAY)
    own = _set(cast, 60, valid_from=NOON, organization=organization)
    before = Price.objects.filter(pk=own.pk).values().get()

    ended = pricing.end_price(price=own, by=Actor.person(cast.ada), at=NOON + DAY, note="it was for a day")

    assert Price.objects.filter(pk=own.pk).values().get() == before
    assert AuditEntry.objects.get(subject=ended.id).action == "price.ended"
    book = rater.price_book()
    moments = (NOON, NOON + DAY, NOON + 2 * DAY)
    found = [
        book.in_force(
            meter="output_tokens", served_name="a", currency="USD", moment=at, organization_id=organization.id
        )
        for at in moments
    ]
    assert [row.id if row else None for row in found] == [own.id, listed.id, listed.id]


def test_a_price_cannot_be_ended_before_what_it_has_rated(cast: Cast) -> None:
    price = _set(cast, 100, valid_from=NOON)
    use(cast.alice.organization, tokens=(0, 0, 1), ended_at=NOON + DAY)
    rater.rate_all()

    with pytest.raises(PriceInThePast):
        pricing.end_price(price=price, by=Actor.person(cast.ada), at=NOON + DAY)


def test_a_request_costs_something_by_itself_where_it_has_a_price_and_used_a_token(cast: Cast) -> None:
    organization = cast.alice.organization
    _set(cast, 1, valid_from=NOON, meter=Meter.REQUESTS, model="demo/llm")
    _set(cast, 0, valid_from=NOON, meter=Meter.OUTPUT_TOKENS)
    charged = use(organization, tokens=(0, 0, 5))
    use(organization, tokens=(0, 0, 0))
    use(organization, tokens=(0, 0, 5), served_name="demo/other")

    rater.rate_all()

    (line,) = RatedUsage.objects.filter(meter=Meter.REQUESTS)
    assert (line.source_id, line.quantity, line.amount_pico) == (charged, 1, 1)


def test_a_price_of_requests_cannot_reach_requests_that_were_rated_without_one(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, ended_at=NOON)
    rater.rate_all()

    with pytest.raises(PriceInThePast):
        _set(cast, 1, valid_from=NOON, meter=Meter.REQUESTS)


@pytest.mark.parametrize(
    ("state", "device_class", "pico"),
    [("", "", 1), ("idle", "", 2), ("busy", "", 1), ("idle", "h200", 4), ("busy", "h200", 3), ("", "l4", 1)],
)
def test_replica_time_is_priced_by_state_and_device_class_where_they_are_known(
    cast: Cast, state: str, device_class: str, pico: int
) -> None:
    for number, scope in enumerate(
        ({}, {"state": "idle"}, {"device_class": "h*"}, {"state": "idle", "device_class": "h*"}), start=1
    ):
        _set(cast, number, valid_from=NOON, meter=Meter.REPLICA_SECONDS, **scope)
    run(cast.alice.organization, seconds=10, ended_at=NOON, state=state, device_class=device_class)

    rater.rate_all()

    assert RatedUsage.objects.get().pico_per_unit == pico


@pytest.mark.parametrize(
    ("state", "pico"), [("pull", None), ("load", None), ("frozen", 5), ("idle", 1), ("busy", 1), ("", 1)]
)
def test_seconds_in_which_nothing_can_answer_are_free_unless_a_price_names_them(
    cast: Cast, state: str, pico: int | None
) -> None:
    _set(cast, 1, valid_from=NOON, meter=Meter.REPLICA_SECONDS)
    _set(cast, 5, valid_from=NOON, meter=Meter.REPLICA_SECONDS, state="frozen")
    run(cast.alice.organization, seconds=10, ended_at=NOON, state=state)

    rater.rate_all()

    assert list(RatedUsage.objects.values_list("pico_per_unit", flat=True)) == ([] if pico is None else [pico])
    assert not UnratedUsage.objects.exists()
    now = clock.now() + dt.timedelta(minutes=1)
    assert not settled.settled(Window(since=now - DAY, until=now, now=now)).findings


@pytest.mark.parametrize(
    "options", [{"state": "idle"}, {"device_class": "h200"}, {"valid_from": NOON, "valid_to": NOON - DAY}]
)
def test_a_scope_that_makes_no_sense_is_refused(cast: Cast, options: dict[str, object]) -> None:
    with pytest.raises(InvalidPrice):
        _set(cast, 1, **options)


def test_a_graduated_price_has_its_dearest_rate_for_holds(cast: Cast) -> None:
    steps = (Tier(begins=0, pico=0), Tier(begins=10, pico=7), Tier(begins=20, pico=3))

    price = _set(cast, 0, graduated=steps)

    assert (price.pico_per_unit, price.tiers[1]) == (7, {"from": 10, "pico": 7})
    with connection.cursor() as cursor:
        cursor.execute("SELECT document ->> 'pico_per_unit' FROM gateway_price WHERE id = %s", [price.id])
        assert cursor.fetchone() == ("7",)


def test_the_gateways_view_says_whose_a_price_is_and_when_it_ends(cast: Cast) -> None:
    organization = cast.alice.organization
    _set(cast, 9, valid_from=NOON - DAY, meter=Meter.REQUESTS)
    own = _set(cast, 5, valid_from=NOON, meter=Meter.REQUESTS, organization=organization)
    pricing.end_price(price=own, by=Actor.person(cast.ada), at=NOON + DAY)

    with connection.cursor() as cursor:
        cursor.execute("SELECT document::text FROM gateway_price")
        listed = PriceList(msgspec.json.decode(text, type=PriceGrant) for (text,) in cursor.fetchall())

    moments = [moment.timestamp() for moment in (NOON - DAY, NOON, NOON + DAY)]
    assert [listed.quote("demo/llm", at, organization.id).request for at in moments] == [9, 5, 9]
    assert listed.quote("demo/llm", moments[1], cast.charlie.organization.id).request == 9


def _cost(cast: Cast, pico: int) -> UnitCost:
    return pricing.set_cost(
        meter=Meter.REPLICA_SECONDS,
        model="*",
        device_class="h200",
        pico_per_unit=pico,
        valid_from=NOON,
        by=Actor.person(cast.ada),
    )


def test_a_price_over_cost_is_cost_and_margin_exactly(cast: Cast) -> None:
    cost = _cost(cast, 500_000_000)

    price = pricing.set_price_over_cost(cost=cost, margin_basis_points=2500, by=Actor.person(cast.ada), valid_from=NOON)

    assert (price.pico_per_unit, price.device_class, price.margin_basis_points) == (625_000_000, "h200", 2500)
    assert price.cost == cost
    assert AuditEntry.objects.get(subject=price.id).detail["margin_basis_points"] == 2500


def test_a_margin_that_comes_to_no_exact_price_names_the_nearest(cast: Cast) -> None:
    cost = _cost(cast, 3)

    with pytest.raises(InvalidPrice, match=r"0\.000000000003 per .* 0\.000000000004 per") as refused:
        pricing.set_price_over_cost(cost=cost, margin_basis_points=2500, by=Actor.person(cast.ada))

    assert refused.value.param == "margin_basis_points"


@given(cost=st.integers(0, 10**12), points=st.integers(-10_000, 100_000))
def test_a_price_over_cost_is_exact_or_refused(cost: int, points: int) -> None:
    exact = cost * (10_000 + points)

    try:
        pico = prices.over_cost(Meter.REPLICA_SECONDS, cost, points)
    except InvalidPrice:
        assert exact % 10_000
    else:
        assert pico * 10_000 == exact


def test_a_cost_never_changes_and_a_later_one_changes_no_price(cast: Cast) -> None:
    price = pricing.set_price_over_cost(cost=_cost(cast, 100), margin_basis_points=0, by=Actor.person(cast.ada))

    with pytest.raises(PriceExists):
        _cost(cast, 200)
    with pytest.raises(DatabaseError, match=r"append-only|permission denied"), transaction.atomic():
        UnitCost.objects.update(pico_per_unit=1)

    assert Price.objects.get(pk=price.pk).pico_per_unit == 100


def _minimum(cast: Cast, pico: int, period: Period = OCTOBER) -> None:
    minimums.set_minimum(organization=cast.alice.organization, pico=pico, period=period, by=Actor.person(cast.ada))


def test_a_minimum_holds_from_its_month_on_until_it_is_set_anew(cast: Cast) -> None:
    _minimum(cast, 500)
    _minimum(cast, 700, NOVEMBER)
    _minimum(cast, 0, Period.month(2026, 12))

    found = [minimums.minimum_of(cast.alice.organization, Period.month(2026, month)) for month in (9, 10, 11, 12)]

    assert found == [0, 500, 700, 0]
    assert minimums.minimum_of(cast.charlie.organization, OCTOBER) == 0
    assert AuditEntry.objects.filter(action="minimum.set").count() == 3


def test_what_is_missing_to_a_minimum_is_never_negative() -> None:
    assert prices.shortfall(minimum_pico=500, charged_pico=120) == 380
    assert prices.shortfall(minimum_pico=500, charged_pico=900) == 0


def test_a_minimum_cannot_reach_a_closed_month(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization)
    rater.rate_all()
    everything_shipped()
    closing.close_period(OCTOBER, CLOSING)

    with pytest.raises(PriceInThePast, match="2026-10 is closed"):
        _minimum(cast, 500)


def test_the_list_shows_scopes_apart_and_when_a_price_ends(cast: Cast) -> None:
    _set(cast, 100, valid_from=NOON - DAY)
    own = _set(cast, 60, valid_from=NOON - DAY, organization=cast.alice.organization)
    pricing.end_price(price=own, by=Actor.person(cast.ada), at=NOON + DAY)

    everybody, negotiated = price_list_of.price_list(now=NOON)
    (_, later) = price_list_of.price_list(now=NOON + DAY)

    assert (everybody.organization, negotiated.organization) == (None, cast.alice.organization)
    assert negotiated.in_force == own and negotiated.in_force.valid_to == NOON + DAY
    assert (later.in_force, later.history) == (None, (own,))


def test_a_new_instance_gets_its_prices_once(db: None) -> None:
    call_command("ensure_prices")
    call_command("ensure_prices")

    assert sorted(Price.objects.values_list("meter", flat=True)) == sorted(set(Meter.values) - {"requests"})


def test_the_price_list_shows_what_is_in_force_what_was_and_what_comes(cast: Cast) -> None:
    old, present, coming = (_set(cast, pico, valid_from=NOON + (pico - 2) * DAY) for pico in (1, 2, 3))

    (entry,) = price_list_of.price_list(now=NOON)

    assert (entry.in_force, entry.history, entry.upcoming) == (present, (old,), (coming,))
    assert (entry.text, entry.unit) == ("0.000002", "1M tokens")
