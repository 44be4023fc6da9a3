"""Graduated prices: a month comes to the same in whatever order and pieces it is rated, to the closed formula."""

import datetime as dt
import random

import pytest
from django.db import DatabaseError, transaction
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.billing import closing, ledger, rater, tiers
from moorage.billing.errors import InvalidPrice
from moorage.billing.models import Meter, Price, PriceCounter, RatedUsage, UnratedUsage
from moorage.billing.tiers import Tier
from moorage.metering import usage_table
from tests.billing.measured import NOON, OCTOBER, request, use
from tests.billing.price_rows import graduations, put
from tests.billing.raters import rate_at_once
from tests.cast import Cast

FREE_THEN_DEAR_THEN_CHEAP = (Tier(begins=0, pico=0), Tier(begins=100, pico=10), Tier(begins=250, pico=3))


@given(graduated=graduations, quantities=st.lists(st.integers(0, 2000), max_size=20), seed=st.integers())
def test_the_pieces_of_a_month_come_to_the_closed_formula_in_any_order(
    graduated: tuple[Tier, ...], quantities: list[int], seed: int
) -> None:
    random.Random(seed).shuffle(quantities)
    used = total = 0

    for quantity in quantities:
        pieces = list(tiers.split(graduated, used=used, quantity=quantity))
        assert sum(piece.quantity for piece in pieces) == quantity
        assert all(piece.quantity > 0 and piece.pico == graduated[piece.tier].pico for piece in pieces)
        used += quantity
        total += sum(piece.quantity * piece.pico for piece in pieces)

    assert total == tiers.amount(graduated, sum(quantities))


@given(graduated=graduations, quantity=st.integers(0, 10_000))
def test_the_dearest_rate_is_an_upper_bound(graduated: tuple[Tier, ...], quantity: int) -> None:
    assert tiers.amount(graduated, quantity) <= quantity * tiers.dearest(graduated)


@given(graduated=graduations, used=st.integers(0, 10_000), quantity=st.integers(0, 10_000))
def test_a_hold_at_the_dearest_rate_is_never_too_little_and_never_more_than_its_bound_too_much(
    graduated: tuple[Tier, ...], used: int, quantity: int
) -> None:
    cost = sum(piece.quantity * piece.pico for piece in tiers.split(graduated, used=used, quantity=quantity))
    held = quantity * tiers.dearest(graduated)

    assert 0 <= held - cost <= tiers.held_too_much(graduated, quantity)


@pytest.mark.parametrize(
    "found",
    [
        (Tier(begins=1, pico=0),),
        (Tier(begins=0, pico=0), Tier(begins=0, pico=1)),
        (Tier(begins=0, pico=0), Tier(begins=9, pico=1), Tier(begins=5, pico=2)),
        tuple(Tier(begins=number, pico=1) for number in range(tiers.MOST + 1)),
        (Tier(begins=0, pico=0), Tier(begins=10**18, pico=1)),
    ],
)
def test_tiers_that_make_no_sense_are_refused(found: tuple[Tier, ...]) -> None:
    with pytest.raises(InvalidPrice):
        tiers.check(found)


@pytest.mark.parametrize(
    "found",
    [
        [{"from": 1, "pico": 5}],
        [{"from": 0, "pico": 5}, {"from": 0, "pico": 5}],
        [{"from": 0, "pico": 5}, {"from": 9, "pico": 1}, {"from": 3, "pico": 1}],
        [{"from": 0, "pico": 9}],
        [{"from": 0, "pico": 4}],
        [{"from": 0, "pico": 5}, {"from": 3, "pico": -1}],
    ],
)
def test_the_database_refuses_tiers_that_a_hold_could_not_trust(db: None, found: list[dict[str, int]]) -> None:
    with pytest.raises(DatabaseError, match="price_tiers_are_sane"), transaction.atomic():
        Price.objects.create(
            meter=Meter.OUTPUT_TOKENS, pico_per_unit=5, tiers=found, valid_from=NOON, created_by="test"
        )


def _output(organization_id: str, quantities: list[int], at: dt.datetime = NOON) -> None:
    usage_table.put([request(organization_id, tokens=(0, 0, quantity), ended_at=at) for quantity in quantities])


def test_a_quantity_that_crosses_tiers_becomes_a_line_in_each(cast: Cast) -> None:
    put(Meter.OUTPUT_TOKENS, 0, graduated=FREE_THEN_DEAR_THEN_CHEAP)
    _output(cast.alice.organization.id, [90])
    rater.rate_all()

    source = use(cast.alice.organization, tokens=(0, 0, 200))
    rater.rate_all()

    rows = RatedUsage.objects.filter(source_id=source).order_by("part")
    assert list(rows.values_list("part", "tier", "quantity", "pico_per_unit", "amount_pico")) == [
        (0, 0, 10, 0, 0),
        (1, 1, 150, 10, 1500),
        (2, 2, 40, 3, 120),
    ]
    assert PriceCounter.objects.get().quantity == 290
    assert ledger.prove().is_clean


def test_a_statement_has_a_line_for_each_tier_and_each_is_quantity_times_rate(cast: Cast) -> None:
    put(Meter.OUTPUT_TOKENS, 0, graduated=FREE_THEN_DEAR_THEN_CHEAP)
    _output(cast.alice.organization.id, [90, 60, 300])
    rater.rate_all()

    lines = closing.running(organization=cast.alice.organization, period=OCTOBER).lines

    assert sorted((line.quantity, line.pico_per_unit, line.amount_pico) for line in lines) == [
        (100, 0, 0),
        (150, 10, 1500),
        (200, 3, 600),
    ]
    assert len({line.id for line in lines}) == 3


def test_each_month_and_each_organization_begins_at_the_first_tier(cast: Cast) -> None:
    put(Meter.OUTPUT_TOKENS, 0, graduated=FREE_THEN_DEAR_THEN_CHEAP)
    _output(cast.alice.organization.id, [100])
    _output(cast.charlie.organization.id, [100])
    _output(cast.alice.organization.id, [100], at=OCTOBER.end)

    rater.rate_all()

    assert set(RatedUsage.objects.values_list("amount_pico", flat=True)) == {0}
    assert PriceCounter.objects.count() == 3


def test_what_is_queued_again_is_rated_no_second_time_though_it_lies_in_another_tier_by_now(cast: Cast) -> None:
    put(Meter.OUTPUT_TOKENS, 0, graduated=FREE_THEN_DEAR_THEN_CHEAP)
    organization = cast.alice.organization
    first = use(organization, tokens=(0, 0, 100))
    rater.rate_all()
    UnratedUsage.objects.create(source_id=first, kind="request", organization_id=organization.id, ended_at=NOON)
    _output(organization.id, [10])

    rater.rate_all()

    assert RatedUsage.objects.filter(source_id=first).aggregate(pico=Sum("amount_pico"))["pico"] == 0
    assert PriceCounter.objects.get().quantity == 110
    assert RatedUsage.objects.aggregate(pico=Sum("amount_pico"))["pico"] == 100
    assert ledger.prove().is_clean


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    graduated=graduations,
    quantities=st.lists(st.integers(1, 900), min_size=1, max_size=15),
    limit=st.integers(1, 6),
    seed=st.integers(),
)
def test_rated_in_any_order_and_any_batches_a_month_comes_to_the_formula(
    cast: Cast, graduated: tuple[Tier, ...], quantities: list[int], limit: int, seed: int
) -> None:
    with transaction.atomic():
        put(Meter.OUTPUT_TOKENS, 0, graduated=graduated)
        random.Random(seed).shuffle(quantities)
        _output(cast.alice.organization.id, quantities)

        while rater.rate_batch(limit=limit).rated:
            pass

        sums = RatedUsage.objects.aggregate(pico=Sum("amount_pico"), quantity=Sum("quantity"))
        assert sums == {"pico": tiers.amount(graduated, sum(quantities)), "quantity": sum(quantities)}
        assert ledger.prove().is_clean
        transaction.set_rollback(True)


def test_four_raters_at_once_share_one_counter(committed_cast: Cast) -> None:
    organization = committed_cast.alice.organization
    put(Meter.OUTPUT_TOKENS, 0, graduated=FREE_THEN_DEAR_THEN_CHEAP)
    put(Meter.INPUT_TOKENS, 0, graduated=FREE_THEN_DEAR_THEN_CHEAP)
    usage_table.put([request(organization.id, tokens=(2, 0, 3)) for _ in range(400)])

    rate_at_once(limit=30)

    total = RatedUsage.objects.aggregate(pico=Sum("amount_pico"))["pico"]
    assert total == sum(tiers.amount(FREE_THEN_DEAR_THEN_CHEAP, quantity) for quantity in (800, 1200))
    assert ledger.prove().is_clean
