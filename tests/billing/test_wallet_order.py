"""Which credit is used first: a table, and what holds for any credit."""

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.billing import wallet_order
from moorage.billing.wallet_order import Credit
from tests.billing.measured import NOON

HOUR = dt.timedelta(hours=1)


def credit(name: str, pico: int = 10, *, priority: int = 50, expires: int | None = None, age: int = 0) -> Credit:
    """``expires`` in so many hours, made ``age`` hours ago."""
    return Credit(
        id=name,
        remaining_pico=pico,
        priority=priority,
        expires_at=None if expires is None else NOON + expires * HOUR,
        created_at=NOON - age * HOUR,
    )


@pytest.mark.parametrize(
    ("credits", "order"),
    [
        ([credit("b", priority=2), credit("a", priority=1)], "ab"),
        ([credit("n"), credit("a", expires=9)], "an"),
        ([credit("b", expires=2), credit("a", expires=1)], "ab"),
        ([credit("b", age=1), credit("a", age=2)], "ab"),
        ([credit("b", expires=1, age=1), credit("a", expires=1, age=2)], "ab"),
        ([credit("b", priority=2, expires=1, age=9), credit("a", priority=1)], "ab"),
        ([credit("c"), credit("b", expires=5), credit("a", priority=0)], "abc"),
        ([credit("b"), credit("a")], "ab"),
        ([], ""),
    ],
)
def test_priority_then_what_expires_first_then_the_oldest(credits: list[Credit], order: str) -> None:
    assert "".join(one.id for one in wallet_order.in_order(credits)) == order


@pytest.mark.parametrize(
    ("pico", "taken"),
    [
        (0, []),
        (1, [("a", 1)]),
        (10, [("a", 10)]),
        (11, [("a", 10), ("c", 1)]),
        (15, [("a", 10), ("c", 5)]),
        (99, [("a", 10), ("c", 5)]),
    ],
)
def test_one_is_used_up_before_the_next_is_touched(pico: int, taken: list[tuple[str, int]]) -> None:
    credits = [credit("a"), credit("b", 0), credit("c", 5)]

    draws = wallet_order.draws(credits, pico)

    assert [(draw.grant_id, draw.pico) for draw in draws] == taken


def test_what_came_last_is_taken_back_first() -> None:
    credits = [credit("old", age=2), credit("new", age=1), credit("middle", age=1, priority=0)]

    assert [one.id for one in wallet_order.newest_first(credits)] == ["new", "middle", "old"]


CREDITS = st.lists(
    st.builds(
        credit,
        st.uuids().map(str),
        st.integers(0, 10**30),
        priority=st.integers(0, 3),
        expires=st.none() | st.integers(-3, 3),
        age=st.integers(0, 3),
    ),
    max_size=12,
    unique_by=lambda one: one.id,
)


@given(credits=CREDITS, pico=st.integers(0, 10**31))
def test_never_more_than_there_is_and_never_less_than_asked(credits: list[Credit], pico: int) -> None:
    draws = wallet_order.draws(wallet_order.in_order(credits), pico)

    left = {one.id: one.remaining_pico for one in credits}
    assert all(0 < draw.pico <= left[draw.grant_id] for draw in draws)
    assert len({draw.grant_id for draw in draws}) == len(draws)
    assert sum(draw.pico for draw in draws) == min(pico, sum(left.values()))


@given(credits=CREDITS, first=st.integers(0, 10**31), second=st.integers(0, 10**31))
def test_two_charges_take_what_one_of_both_would(credits: list[Credit], first: int, second: int) -> None:
    ordered = wallet_order.in_order(credits)
    both = {draw.grant_id: draw.pico for draw in wallet_order.draws(ordered, first + second)}

    once = {draw.grant_id: draw.pico for draw in wallet_order.draws(ordered, first)}
    rest = [
        Credit(
            id=one.id,
            remaining_pico=one.remaining_pico - once.get(one.id, 0),
            priority=one.priority,
            expires_at=one.expires_at,
            created_at=one.created_at,
        )
        for one in ordered
    ]
    for draw in wallet_order.draws(rest, second):
        once[draw.grant_id] = once.get(draw.grant_id, 0) + draw.pico

    assert once == both


@given(credits=CREDITS)
def test_the_order_is_one_whatever_order_they_come_in(credits: list[Credit]) -> None:
    assert wallet_order.in_order(credits) == wallet_order.in_order(reversed(credits))
