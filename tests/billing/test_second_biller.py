"""What the database rates, charges and pays from credit is what a second biller comes to, to the pico."""

import dataclasses
import datetime as dt
import os

from django.db import connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Organization
from moorage.billing import ledger, rater, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import Grant, GrantKind, Price, RatedUsage
from moorage.kernel import ids
from moorage.metering import services as metering
from moorage.metering import usage_table
from tests.billing.measured import NOVEMBER, OCTOBER, request
from tests.billing.reference_biller import ListedPrice, Used, charges, draw
from tests.cast import Cast

EXAMPLES = int(os.environ.get("MOORAGE_MONEY_EXAMPLES") or 40)
OWNERS = ("alice", "charlie")
#: What each of them pays in.
CURRENCIES = {"alice": "EUR", "charlie": "USD"}
NAMES = ("demo/llm", "demo/small", "quay/llm")
METERS = ("input_tokens", "cached_input_tokens", "output_tokens", "requests", "replica_seconds")

_moments = st.integers(min_value=0, max_value=13).map(
    lambda day: OCTOBER.end + dt.timedelta(days=day - 7, microseconds=day % 3)
)
_rates = st.integers(min_value=0, max_value=10**9)
_tiers = st.one_of(
    st.just(()),
    st.lists(st.tuples(st.integers(min_value=1, max_value=2000), _rates), min_size=1, max_size=3).map(
        lambda steps: ((0, steps[0][1]), *sorted(dict(steps).items()))
    ),
)
_listed = st.builds(
    ListedPrice,
    meter=st.sampled_from(METERS),
    prefix=st.sampled_from(("", "demo/", "demo/llm", "quay/")),
    is_exact=st.booleans(),
    pico=_rates,
    begins=_moments,
    ends=st.none(),
    owner=st.sampled_from(("", "", *OWNERS)),
    tiers=_tiers,
    currency=st.sampled_from(("EUR", "EUR", "USD", "USD", "CHF")),
).flatmap(
    lambda price: st.one_of(st.just(price), st.builds(_ending, st.just(price), st.integers(min_value=0, max_value=9)))
)
_used = st.builds(
    Used,
    name=st.sampled_from(NAMES),
    input_tokens=st.integers(min_value=0, max_value=3000),
    cached_tokens=st.just(0),
    output_tokens=st.integers(min_value=0, max_value=10**9),
    ended=_moments,
    owner=st.sampled_from(OWNERS),
) | st.builds(
    Used,
    name=st.just("llm"),
    seconds=st.integers(min_value=1, max_value=10**6),
    ended=_moments,
    owner=st.sampled_from(OWNERS),
)


def _paid_in(one: Used) -> Used:
    return dataclasses.replace(one, currency=CURRENCIES[one.owner])


def _ending(price: ListedPrice, days: int) -> ListedPrice:
    return dataclasses.replace(price, ends=price.begins + dt.timedelta(days=days))


def _scope(price: ListedPrice) -> tuple[object, ...]:
    return (price.meter, price.prefix, price.is_exact, price.owner, price.currency, price.begins)


def _in_its_currency(price: ListedPrice) -> ListedPrice:
    return dataclasses.replace(price, currency=CURRENCIES.get(price.owner, price.currency))


def _pay_in(organizations: dict[str, Organization]) -> None:
    for owner, organization in organizations.items():
        organization.currency = CURRENCIES[owner]
        organization.save(update_fields=["currency"])


def _list(listed: list[ListedPrice], organizations: dict[str, Organization]) -> None:
    for price in listed:
        tiers = [{"from": begin, "pico": pico} for begin, pico in price.tiers]
        Price.objects.create(
            meter=price.meter,
            model=price.prefix if price.is_exact else f"{price.prefix}*",
            pico_per_unit=max((pico for _, pico in price.tiers), default=price.pico),
            tiers=tiers,
            valid_from=price.begins,
            valid_to=price.ends,
            organization=organizations.get(price.owner),
            currency=price.currency,
            created_by="test",
        )


def _use(used: list[Used], organizations: dict[str, Organization]) -> None:
    usage_table.put(
        [
            request(
                organizations[one.owner].id,
                tokens=(one.input_tokens, one.cached_tokens, one.output_tokens),
                ended_at=one.ended,
                served_name=one.name,
            )
            for one in used
            if not one.seconds
        ]
    )
    for one in used:
        if one.seconds:
            metering.record_replica_time(
                organization_id=organizations[one.owner].id,
                deployment_id="dep_a",
                revision_id="rev_a",
                replica_id=ids.new("rep"),
                model_key=one.name,
                started_at=one.ended - dt.timedelta(seconds=one.seconds),
                ended_at=one.ended,
            )


def _by_month_and_meter(rows: list[tuple[str, str, str, int, int]]) -> dict[tuple[str, str, str], tuple[int, int]]:
    sums: dict[tuple[str, str, str], tuple[int, int]] = {}
    for owner, month, meter, quantity, pico in rows:
        before = sums.get((owner, month, meter), (0, 0))
        sums[owner, month, meter] = (before[0] + int(quantity), before[1] + int(pico))
    return sums


def _ours(organizations: dict[str, Organization]) -> list[tuple[str, str, str, int, int]]:
    owners = {organization.id: owner for owner, organization in organizations.items()}
    rows = RatedUsage.objects.values_list("organization_id", "ended_at", "meter", "quantity", "amount_pico")
    return [(owners[row[0]], f"{row[1]:%Y-%m}", row[2], row[3], int(row[4])) for row in rows]


@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    used=st.lists(_used.map(_paid_in), max_size=25),
    listed=st.lists(_listed.map(_in_its_currency), max_size=12, unique_by=_scope),
    credits=st.lists(st.integers(min_value=1, max_value=10**13), max_size=3),
    size=st.integers(min_value=1, max_value=30),
)
def test_months_of_two_organizations_come_to_the_same_pico_whatever_the_batches(
    cast: Cast, used: list[Used], listed: list[ListedPrice], credits: list[int], size: int
) -> None:
    organizations = {"alice": cast.alice.organization, "charlie": cast.charlie.organization}
    with transaction.atomic():
        _pay_in(organizations)
        _list(listed, organizations)
        for number, pico in enumerate(credits):
            wallets.grant(
                organization=cast.alice.organization,
                kind=GrantKind.PROMOTIONAL,
                pico=pico,
                source=f"test:{number}",
                by=MOORAGE,
            )
        _use(used, organizations)

        while (batch := rater.rate_batch(limit=size)).rated + batch.unpriced:
            pass

        theirs = [(one.owner, one.month, one.meter, one.quantity, one.pico) for one in charges(used, listed)]
        assert _by_month_and_meter(_ours(organizations)) == _by_month_and_meter(theirs)
        # A flat price charges each name the same in any order; a graduated one only all of them together.
        alices = sum(pico for owner, *_, pico in theirs if owner == "alice")
        grants = Grant.objects.filter(organization=cast.alice.organization).order_by("created_at", "id")
        assert [one.remaining_pico for one in grants] == draw(credits, alices)
        owed = ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE)
        assert owed == alices - sum(credits) + sum(draw(credits, alices))
        months = (OCTOBER.start, NOVEMBER.start)
        applied = sum(wallets.applied_in(cast.alice.organization.id, month) for month in months)
        assert applied == alices - owed
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        proof = ledger.prove()
        assert list(proof.differences()) == []
        assert all(total == 0 for total in proof.sums.values())
        paid_in = RatedUsage.objects.values_list("organization_id", "currency", "price__currency").distinct()
        expected = {organizations[owner].id: currency for owner, currency in CURRENCIES.items()}
        assert all(used == priced == expected[owner] for owner, used, priced in paid_in)
        transaction.set_rollback(True)


def test_the_second_biller_knows_tiers_own_prices_ends_and_credit() -> None:
    day = OCTOBER.start
    listed = [
        ListedPrice(meter="output_tokens", prefix="", is_exact=False, pico=9, begins=day, tiers=((0, 0), (10, 5))),
        ListedPrice(meter="output_tokens", prefix="demo/llm", is_exact=True, pico=3, begins=day, owner="alice"),
        ListedPrice(meter="requests", prefix="demo/llm", is_exact=True, pico=100, begins=day, ends=NOVEMBER.start),
    ]
    used = [
        Used(name="demo/llm", output_tokens=7, ended=day, owner="charlie"),
        Used(name="demo/llm", output_tokens=7, ended=day, owner="charlie"),
        Used(name="demo/llm", output_tokens=7, ended=day, owner="alice"),
        Used(name="demo/llm", output_tokens=7, ended=NOVEMBER.start, owner="charlie"),
        Used(name="demo/llm", input_tokens=1, ended=day, owner="alice"),
    ]

    found = {(one.owner, one.month, one.meter): (one.quantity, one.pico) for one in charges(used, listed)}

    assert found == {
        ("charlie", "2026-10", "output_tokens"): (14, 20),
        ("charlie", "2026-10", "requests"): (2, 200),
        ("alice", "2026-10", "output_tokens"): (7, 21),
        ("alice", "2026-10", "requests"): (1, 100),
        ("charlie", "2026-11", "output_tokens"): (7, 0),
    }
    assert draw([5, 10, 20], 12) == [0, 3, 20]
