"""Ids, money, periods and secrets: the words every room shares."""

import datetime as dt
import os
from decimal import Decimal, Inexact

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.kernel import ids, secrets
from moorage.kernel.clock import Period
from moorage.kernel.errors import NotFound, envelope
from moorage.kernel.money import PICO, PICO_PER_CENT, Money


def test_ids_sort_by_their_time() -> None:
    made = [ids.encode(ids.uuid7(now_ms).int) for now_ms in (1, 2, 1_000_000, 2**47)]

    assert made == sorted(made)
    assert ids.uuid7(0).version == 7


@given(st.integers(0, 2**128 - 1))
def test_an_id_is_read_back_as_it_was_written(value: int) -> None:
    assert ids.decode(ids.encode(value)) == value


def test_ids_of_a_series_are_ids_and_never_the_same_and_in_order() -> None:
    series = ids.Series("req")

    made = [series.new() for _ in range(20_000)]

    assert made == sorted(set(made))
    assert all(ids.is_id(each, "req") for each in made[:100])


@pytest.mark.parametrize("text", ["", "0" * 25, "0" * 27, "i" * 26, "z" * 26, "O" * 26])
def test_what_is_no_id_is_refused(text: str) -> None:
    assert not ids.is_id(f"dep_{text}", "dep")
    assert ids.is_id(ids.new("dep"), "dep")
    assert not ids.is_id(ids.new("dep"), "rep")


def test_money_is_whole_and_of_one_currency() -> None:
    with pytest.raises(TypeError):
        Money(1.0)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Money(1) * 0.5  # type: ignore[operator]
    with pytest.raises(ValueError, match="EUR"):
        Money(1) + Money(1, "EUR")
    with pytest.raises(Inexact):
        Money.from_decimal(Decimal("0.0000000000001"))


@pytest.mark.parametrize(
    ("pico", "cents"),
    [(0, 0), (PICO_PER_CENT // 2, 1), (PICO_PER_CENT // 2 - 1, 0), (-PICO_PER_CENT // 2, -1), (PICO, 100)],
)
def test_cents_round_half_away_from_zero(pico: int, cents: int) -> None:
    assert Money(pico).to_cents() == cents
    assert Money(-pico).to_cents() == -cents


@given(st.integers(-(10**30), 10**30))
def test_money_loses_nothing_as_a_decimal(pico: int) -> None:
    assert Money.from_decimal(Money(pico).to_decimal()).pico == pico


def test_money_shows_every_digit_it_has() -> None:
    assert str(Money(125_000_000)) == "0.000125 USD"
    assert str(Money(3 * PICO)) == "3.00 USD"


def test_a_period_is_a_half_open_month() -> None:
    december = Period.parse("2026-12")

    assert dt.datetime(2026, 12, 31, 23, 59, 59, tzinfo=dt.UTC) in december
    assert dt.datetime(2027, 1, 1, tzinfo=dt.UTC) not in december
    assert str(Period.containing(december.end)) == "2027-01"
    for wrong in ("2026", "2026-13", "26-01", "2026-1", "abcd-ef"):
        with pytest.raises(ValueError):
            Period.parse(wrong)


def test_a_key_carries_its_own_checksum() -> None:
    key = secrets.new_key()

    assert secrets.looks_like_key(key.text)
    assert len(key.text) == 47
    assert key.text.startswith(key.shown)
    flipped = key.text[:-1] + ("0" if key.text[-1] != "0" else "1")
    assert not secrets.looks_like_key(flipped)


def test_an_error_speaks_by_its_docstring() -> None:
    class NoBerth(NotFound):
        """There is no berth
        of this number."""

        code = "no_berth"

    answer = envelope(NoBerth(param="berth"), request_id="req_1")["error"]

    assert answer["message"] == "There is no berth of this number."
    assert (answer["code"], answer["param"], answer["request_id"]) == ("no_berth", "berth", "req_1")


def test_ids_of_one_process_sort_as_they_were_made() -> None:
    made = [ids.new("evt") for _ in range(5_000)]

    assert made == sorted(made) and len(set(made)) == len(made)


def test_a_forked_process_makes_ids_of_its_own() -> None:
    reading, writing = os.pipe()
    ids.new("evt")
    if (child := os.fork()) == 0:
        os.write(writing, "".join(ids.new("evt") for _ in range(100)).encode())
        os._exit(0)
    os.close(writing)
    mine = {ids.new("evt") for _ in range(100)}
    os.waitpid(child, 0)

    told = b""
    while piece := os.read(reading, 65536):
        told += piece
    os.close(reading)

    theirs = {f"evt_{part}" for part in told.decode().split("evt_") if part}
    assert len(theirs) == 100
    assert not mine & theirs
