"""How values are shown."""

import datetime as dt

import pytest
from django.template import Context, Template

from moorage.console.templatetags import shown
from moorage.kernel import clock


@pytest.mark.parametrize(
    ("pico", "text"),
    [(0, "0.00 USD"), (125_000_000, "0.000125 USD"), (-50_000_000_000, "-0.05 USD"), (1, "0.000000000001 USD")],
)
def test_money_has_every_digit_and_its_currency(pico: int, text: str) -> None:
    assert shown.money(pico, "USD") == text
    assert shown.money(pico, "EUR") == text.replace("USD", "EUR")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (59.9, "59 s"), (200, "3 min 20 s"), (3600, "1 h"), (3605, "1 h"), (187_200, "2 d 4 h")],
)
def test_durations_have_their_two_largest_units(seconds: float, text: str) -> None:
    assert shown.duration(seconds) == text


def test_a_time_is_relative_with_the_exact_one_behind_it() -> None:
    at = clock.now() - dt.timedelta(minutes=3, seconds=20)

    text = Template("{% load shown %}{% moment at %}{% moment none 'never' %}").render(
        Context({"at": at, "none": None})
    )

    assert f'title="{at:%Y-%m-%d %H:%M:%S} UTC">3 min ago</time>' in text
    assert "never" in text


def test_a_status_is_a_word_beside_its_colour() -> None:
    text = Template("{% load shown %}{% status 'past_due' %}").render(Context())

    assert text == '<span class="status status-past_due">Past due</span>'


@pytest.mark.parametrize(("number", "text"), [(999, "999 bytes"), (7_800_000, "7.8 MB"), (41_000_000_000, "41.0 GB")])
def test_sizes_are_decimal(number: int, text: str) -> None:
    assert shown.size(number) == text


@pytest.mark.parametrize(
    ("number", "text"), [(0, "0 GiB"), (2**29, "512 MiB"), (3 * 2**29, "1.5 GiB"), (80 * 2**30, "80 GiB")]
)
def test_memory_of_machines_is_in_powers_of_two(number: int, text: str) -> None:
    assert shown.room(number) == text
