"""The price list: which price is in force, how it is written, and that it never reaches the past."""

import datetime as dt

import pytest
from django.core.management import call_command
from django.db import DatabaseError
from hypothesis import given
from hypothesis import strategies as st

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry
from moorage.billing import price_list as price_list_of
from moorage.billing import prices, pricing, rater
from moorage.billing.errors import InvalidPrice, PriceExists, PriceInThePast
from moorage.billing.models import Meter, Price, RatedUsage
from moorage.billing.prices import PriceBook, PriceRow
from moorage.kernel import patterns
from tests.billing.measured import NOON, price_list, use
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
    found = PriceBook(rows).in_force(meter="output_tokens", served_name="demo/llm", moment=moment)

    assert (found.id if found else None) == winner


def test_a_price_of_another_meter_is_no_price() -> None:
    book = PriceBook([_row("a", "*")])

    assert book.in_force(meter="input_tokens", served_name="demo/llm", moment=NOON) is None


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


def test_a_new_instance_gets_its_prices_once(db: None) -> None:
    call_command("ensure_prices")
    call_command("ensure_prices")

    assert sorted(Price.objects.values_list("meter", flat=True)) == sorted(set(Meter.values) - {"requests"})


def test_the_price_list_shows_what_is_in_force_what_was_and_what_comes(cast: Cast) -> None:
    old, present, coming = (_set(cast, pico, valid_from=NOON + (pico - 2) * DAY) for pico in (1, 2, 3))

    (entry,) = price_list_of.price_list(now=NOON)

    assert (entry.in_force, entry.history, entry.upcoming) == (present, (old,), (coming,))
    assert (entry.text, entry.unit) == ("0.000002", "1M tokens")
