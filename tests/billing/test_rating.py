"""Rating: exact, once, at the price in force, posted in the same transaction."""

import datetime as dt

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.billing import closing, ledger, price_book, pricing, queries, rater, rating, review
from moorage.billing.ledger import Account
from moorage.billing.models import LedgerTransaction, Meter, Price, RatedUsage, UnratedUsage
from moorage.deployments.models import Deployment, Revision
from moorage.metering import services as metering
from moorage.metering import usage_table
from tests.billing.measured import NOON, OCTOBER, price_list, request, run, use
from tests.billing.raters import rate_at_once
from tests.billing.reference_biller import ListedPrice, Used, bill
from tests.cast import Cast

METERS = ("input_tokens", "cached_input_tokens", "output_tokens")
NAMES = ("demo/llm", "demo/other", "quay", "quay/llm")


def test_cached_tokens_are_taken_out_of_the_input_and_priced_by_themselves(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, tokens=(1000, 400, 50))

    rater.rate_all()

    lines = {row.meter: (row.quantity, row.amount_pico) for row in RatedUsage.objects.all()}
    assert lines == {
        "input_tokens": (600, 600 * 200_000),
        "cached_input_tokens": (400, 400 * 50_000),
        "output_tokens": (50, 50 * 600_000),
    }


def test_replica_seconds_are_rated_under_the_name_that_clients_use(cast: Cast) -> None:
    price_list()
    deployment = Deployment.objects.create(organization=cast.alice.organization, name="demo")
    revision = Revision.objects.create(
        deployment=deployment,
        number=1,
        compose="",
        spec={},
        pins={"llm": {"served_name": "demo/llm"}},
        content_hash="x",
        created_by="alice",
    )
    metering.record_replica_time(
        organization_id=cast.alice.organization.id,
        deployment_id=deployment.id,
        revision_id=revision.id,
        replica_id="rep_a",
        model_key="llm",
        started_at=NOON,
        ended_at=NOON + dt.timedelta(seconds=90),
    )

    rater.rate_all()

    row = RatedUsage.objects.get()
    assert (row.served_name, row.meter, row.quantity, row.amount_pico) == (
        "demo/llm",
        "replica_seconds",
        90,
        90 * 20_000_000,
    )


def test_a_request_that_used_nothing_is_rated_without_a_line(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, tokens=(0, 0, 0))

    assert rater.rate_all() == 1

    assert not RatedUsage.objects.exists()
    assert not UnratedUsage.objects.exists()
    assert rater.rate_all() == 0


def test_rating_again_changes_nothing(cast: Cast) -> None:
    price_list()
    request_id = use(cast.alice.organization)
    rater.rate_all()
    balance = ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE)
    UnratedUsage.objects.create(
        source_id=request_id, kind="request", organization_id=cast.alice.organization.id, ended_at=NOON
    )

    rater.rate_all()

    assert RatedUsage.objects.count() == 3
    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == balance


def test_each_batch_is_posted_in_balance_for_each_organization(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, tokens=(1_000_000, 0, 0))
    use(cast.charlie.organization, tokens=(0, 0, 1_000_000))

    rater.rate_all()

    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == 200_000_000_000
    assert ledger.balance(organization=cast.charlie.organization, kind=Account.REVENUE) == -600_000_000_000
    assert LedgerTransaction.objects.count() == 2
    assert ledger.prove().is_clean


def test_usage_without_a_price_is_not_guessed_and_is_rated_once_there_is_one(
    cast: Cast, caplog: pytest.LogCaptureFixture
) -> None:
    organization = cast.alice.organization
    use(organization, tokens=(0, 0, 5))

    rater.rate_all()
    rater.rate_all()

    assert not RatedUsage.objects.exists()
    (waiting,) = review.unpriced_usage()
    assert (waiting.meter, waiting.model, waiting.count) == ("output_tokens", "demo/llm", 1)
    running = queries.statement(organization=organization, period=OCTOBER)
    assert [(one.meter, one.sources) for one in running.statement.unpriced] == [("output_tokens", 1)]
    assert [line.message for line in caplog.records if "usage_unpriced" in line.message] == [
        "usage_unpriced meter=output_tokens model=demo/llm count=1"
    ]

    price_list()
    rater.rate_all()

    assert RatedUsage.objects.get().amount_pico == 5 * 600_000
    assert review.unpriced_usage() == ()


def test_usage_of_nobody_stops_nobody_else(cast: Cast) -> None:
    price_list()
    usage_table.put([request("org_gone", tokens=(1, 0, 1)), request(cast.alice.organization.id, tokens=(1, 0, 1))])

    rater.rate_all()

    assert set(RatedUsage.objects.values_list("organization_id", flat=True)) == {cast.alice.organization.id}
    assert UnratedUsage.objects.get().unpriced_meter == rater.NO_ORGANIZATION


def test_many_batches_come_to_the_same_as_one(cast: Cast) -> None:
    price_list()
    usage_table.put([request(cast.alice.organization.id, tokens=(number, number // 2, 1)) for number in range(50)])

    while rater.rate_batch(limit=7).rated:
        pass

    assert RatedUsage.objects.filter(meter="output_tokens").count() == 50
    assert ledger.prove().is_clean


def test_two_raters_at_once_rate_everything_once(committed_cast: Cast) -> None:
    price_list()
    organization = committed_cast.alice.organization
    usage_table.put([request(organization.id, tokens=(10, 0, 1)) for _ in range(600)])

    rate_at_once(limit=50)

    assert RatedUsage.objects.count() == 1200
    expected = 600 * (10 * 200_000 + 600_000)
    assert ledger.balance(organization=organization, kind=Account.RECEIVABLE) == expected
    assert ledger.prove().is_clean


def test_a_crash_before_the_commit_leaves_everything_waiting(committed_cast: Cast) -> None:
    price_list()
    use(committed_cast.alice.organization)

    with pytest.raises(KeyboardInterrupt), transaction.atomic():
        rater.rate_batch()
        raise KeyboardInterrupt

    assert not RatedUsage.objects.exists()
    assert rater.rate_all() == 1


@given(
    counts=st.lists(st.integers(min_value=0, max_value=10**12), min_size=3, max_size=3),
    pico=st.integers(min_value=0, max_value=10**15),
)
def test_an_amount_is_quantity_times_price_to_the_pico(counts: list[int], pico: int) -> None:
    cached = min(counts[0], counts[1])
    source = rating.Source(
        id="req_a",
        organization_id="org_a",
        deployment_id="dep_a",
        revision_id="rev_a",
        key_id="",
        served_name="demo/llm",
        ended_at=NOON,
        quantities=rating.request_quantities(input_tokens=counts[0], cached_tokens=cached, output_tokens=counts[2]),
    )
    book = price_book.PriceBook(
        price_book.PriceRow(id=meter, meter=meter, model="*", pico_per_unit=pico, valid_from=NOON) for meter in Meter
    )

    lines = rating.rate(source, book)

    assert isinstance(lines, tuple)
    tokens = [line for line in lines if line.meter != Meter.REQUESTS]
    assert sum(line.quantity for line in tokens) == counts[0] + counts[2]
    assert all(type(line.amount_pico) is int and line.amount_pico == line.quantity * pico for line in lines)


_days = st.integers(min_value=0, max_value=13).map(lambda day: OCTOBER.start + dt.timedelta(days=day))
_used = st.builds(
    Used,
    name=st.sampled_from(NAMES),
    input_tokens=st.integers(min_value=500, max_value=10**9),
    cached_tokens=st.integers(min_value=0, max_value=500),
    output_tokens=st.integers(min_value=0, max_value=10**9),
    ended=_days,
)
_listed = st.builds(
    ListedPrice,
    meter=st.sampled_from(METERS),
    prefix=st.sampled_from(("", "demo/", "demo/llm", "quay", "quay/")),
    is_exact=st.booleans(),
    pico=st.integers(min_value=0, max_value=10**9),
    begins=_days,
)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    used=st.lists(_used, max_size=25),
    listed=st.lists(_listed, max_size=10, unique_by=lambda one: (one.meter, one.prefix, one.is_exact, one.begins)),
)
def test_a_second_biller_comes_to_the_same_pico(cast: Cast, used: list[Used], listed: list[ListedPrice]) -> None:
    organization = cast.alice.organization
    with transaction.atomic():
        for price in listed:
            Price.objects.create(
                meter=price.meter,
                model=price.prefix if price.is_exact else f"{price.prefix}*",
                pico_per_unit=price.pico,
                valid_from=price.begins,
                created_by="test",
            )
        usage_table.put(
            [
                request(
                    organization.id,
                    tokens=(one.input_tokens, one.cached_tokens, one.output_tokens),
                    ended_at=one.ended,
                    served_name=one.name,
                )
                for one in used
            ]
        )

        rater.rate_all()

        ours: dict[tuple[str, str], tuple[int, int]] = {}
        for line in closing.running(organization=organization, period=OCTOBER).lines:
            quantity, amount = ours.get((line.served_name, line.meter), (0, 0))
            ours[line.served_name, line.meter] = (quantity + line.quantity, amount + line.amount_pico)
        assert ours == bill(used, listed)
        assert ledger.prove().is_clean
        transaction.set_rollback(True)


def test_five_thousand_events_are_one_batch_and_one_posting(cast: Cast) -> None:
    price_list()
    usage_table.put([request(cast.alice.organization.id, tokens=(100, 0, 10)) for _ in range(5000)])
    run(cast.alice.organization, seconds=10)

    batch = rater.rate_batch()

    assert batch.rated == 5001
    assert LedgerTransaction.objects.count() == 1
    assert pricing.ensure_default_prices() == 0
