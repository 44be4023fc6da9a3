"""The price list reaches the gateways, and what a dead worker held is settled by what it served."""

import datetime as dt
from collections.abc import Iterator

import msgspec
import psycopg
import pytest
from django.db import connection

from moorage.accounts import limits as accounts_limits
from moorage.accounts.models import Allowance, GatewayWorker, Lease
from moorage.billing import pricing, rater
from moorage.billing.models import Meter
from moorage.kernel import window
from moorage.kernel.window import Window
from moorage.metering import usage_table
from moorage.metering.copy_rows import CopyRows
from moorage.wire.limits import Limits
from moorage.wire.records import PRICE_CHANGED, PriceGrant
from tests.accounts.allowances import Worker
from tests.billing.measured import NOON, request
from tests.cast import Cast

BOOT = "gw_dead"
MICROSECOND = dt.timedelta(microseconds=1)
NOON_US = (NOON - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // MICROSECOND
DAY = dict(zip(("starts", "ends"), window.bounds(Window.DAY, NOON_US // 10**6), strict=True))


@pytest.fixture
def worker(committed_cast: Cast, database_url: str) -> Iterator[Worker]:
    """A worker that leased tokens, money and places, has reported last at noon, and is dead."""
    organization = committed_cast.alice.organization
    by = committed_cast.alice.actor
    for meter in (Meter.INPUT_TOKENS, Meter.CACHED_INPUT_TOKENS, Meter.OUTPUT_TOKENS):
        pricing.set_price(meter=meter, model="*", pico_per_unit=10, by=by, valid_from=NOON - dt.timedelta(days=1))
    limits = Limits(tokens_per_day=10_000, money_per_day=100_000, concurrent_requests=9, requests_per_minute=60)
    accounts_limits.set_limits(organization=organization, subject=organization.pk, limits=limits, by=by)
    with psycopg.connect(database_url, autocommit=True) as plain:
        dead = Worker(plain, BOOT, until_us=NOON_US)
        places = {"measure": "concurrent", "window": "always", "starts": 0, "ends": 2**53}
        minute = dict(zip(("starts", "ends"), window.bounds(Window.MINUTE, NOON_US // 10**6), strict=True))
        for row, amount in (
            ({"measure": "tokens", **DAY}, 1000),
            ({"measure": "money", **DAY}, 20_000),
            ({"measure": "requests", "window": "minute", **minute}, 30),
            (places, 4),
        ):
            dead.ask(organization.pk, enough=amount, target=amount, **row)  # type: ignore[arg-type]
        yield dead


def serve(
    cast: Cast, *, seconds: float, tokens: int, boot: str = BOOT, outcome: str = "completed", finished: bool = False
) -> None:
    """A request that ended ``seconds`` after noon, in the journal that was shipped."""
    event = request(cast.alice.organization.pk, tokens=(tokens, 0, 0), ended_at=NOON + dt.timedelta(seconds=seconds))
    event = msgspec.structs.replace(event, outcome=outcome)
    usage_table.put_batch(CopyRows(boot).batch([event]), finished_boot=boot if finished else None)


def reap() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reap_gateway_leases()")
        return int(cursor.fetchone()[0])


def used(measure: str) -> tuple[int, int]:
    """What is used and what is leased."""
    row = Allowance.objects.get(measure=measure)
    return int(row.used), int(row.leased)


def test_a_worker_whose_journal_is_not_read_to_its_end_keeps_its_leases(worker: Worker, committed_cast: Cast) -> None:
    serve(committed_cast, seconds=0.5, tokens=100)

    assert reap() == 0
    assert used("tokens") == (0, 1000)


def test_a_dead_workers_lease_counts_for_what_it_served_since_its_last_report(
    worker: Worker, committed_cast: Cast
) -> None:
    serve(committed_cast, seconds=-5, tokens=400)  # was reported
    serve(committed_cast, seconds=0.1, tokens=100)
    serve(committed_cast, seconds=0.2, tokens=50, boot="gw_another")
    serve(committed_cast, seconds=-1, tokens=7, outcome="gateway_lost")  # never settled, whatever its time
    serve(committed_cast, seconds=0.3, tokens=20, finished=True)
    rater.rate_all()

    assert reap() == 4

    assert used("tokens") == (127, 0)
    assert used("money") == (1270, 0)
    assert used("concurrent") == (0, 0)
    assert used("requests") == (3, 0), "whichever began since two seconds before the last report"
    assert not GatewayWorker.objects.exists()
    assert not Lease.objects.exists()
    assert reap() == 0


def test_money_waits_until_it_is_known_how_much(worker: Worker, committed_cast: Cast) -> None:
    serve(committed_cast, seconds=0.1, tokens=100, finished=True)

    assert reap() == 3
    assert used("money") == (0, 20_000), "nobody else can have it before"
    rater.rate_all()
    assert reap() == 1

    assert used("money") == (1000, 0)
    assert not GatewayWorker.objects.exists()


def test_no_more_than_the_lease_is_ever_counted(worker: Worker, committed_cast: Cast) -> None:
    serve(committed_cast, seconds=0.1, tokens=5000, finished=True)
    rater.rate_all()

    reap()

    assert used("tokens") == (1000, 0)


def test_gateways_are_told_of_prices_and_read_them(committed_cast: Cast, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute(f"LISTEN {PRICE_CHANGED}")
        pricing.set_price(
            meter=Meter.OUTPUT_TOKENS, model="demo/*", pico_per_unit=7, by=committed_cast.alice.actor, valid_from=NOON
        )
        pricing.set_price(meter=Meter.REPLICA_SECONDS, model="*", pico_per_unit=9, by=committed_cast.alice.actor)
        assert {notice.channel for notice in listener.notifies(timeout=5, stop_after=1)} == {PRICE_CHANGED}
        rows = listener.execute("SELECT document::text FROM gateway_price").fetchall()

    prices = [msgspec.json.decode(row[0], type=PriceGrant) for row in rows]
    assert [(price.meter, price.model, price.pico_per_unit, price.valid_from_us) for price in prices] == [
        ("output_tokens", "demo/*", 7, NOON_US)
    ]
