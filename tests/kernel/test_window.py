"""Windows: every moment is in exactly one of each kind, and where one ends the next begins."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.kernel import window
from moorage.kernel.clock import Period
from moorage.kernel.window import NEVER, Window

moments = st.integers(min_value=0, max_value=window.start_of(Window.MONTH, 253_000_000_000))
kinds = st.sampled_from([Window.MINUTE, Window.DAY, Window.MONTH])


def utc(seconds: int) -> dt.datetime:
    return dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(seconds=seconds)


@given(kind=kinds, at=moments)
def test_a_moment_is_in_its_window_and_the_window_in_itself(kind: Window, at: int) -> None:
    start, end = window.bounds(kind, at)

    assert start <= at < end
    assert window.bounds(kind, start) == window.bounds(kind, end - 1) == (start, end)


@given(kind=kinds, at=moments)
def test_windows_tile_time(kind: Window, at: int) -> None:
    start, end = window.bounds(kind, at)

    assert window.start_of(kind, end) == end
    if start:
        before = window.start_of(kind, start - 1)
        assert window.end_of(kind, before) == start


@given(at=moments)
def test_small_windows_lie_whole_in_large_ones(at: int) -> None:
    for small, large in ((Window.MINUTE, Window.DAY), (Window.DAY, Window.MONTH)):
        start, end = window.bounds(small, at)
        assert window.bounds(large, start) == window.bounds(large, end - 1)


@given(at=moments)
def test_a_month_is_the_billing_period(at: int) -> None:
    start, end = window.bounds(Window.MONTH, at)

    period = Period.containing(utc(at))

    assert (utc(start), utc(end)) == (period.start, period.end)


@pytest.mark.parametrize(
    ("moment", "days"),
    [
        ("2024-02-10", 29),
        ("2025-02-28", 28),
        ("2000-02-01", 29),
        ("2100-02-01", 28),
        ("2026-12-31", 31),
        ("2026-11-30", 30),
    ],
)
def test_months_have_their_lengths(moment: str, days: int) -> None:
    at = int(dt.datetime.fromisoformat(f"{moment}T23:59:59+00:00").timestamp())

    start, end = window.bounds(Window.MONTH, at)

    assert end - start == days * 86_400


def test_what_has_no_end_begins_at_nought() -> None:
    assert window.bounds(Window.ALWAYS, 1_700_000_000) == (0, NEVER)


def test_an_end_is_written_as_people_read_it() -> None:
    assert window.text(window.end_of(Window.MONTH, 1_793_491_200)) == "2026-12-01T00:00:00Z"
