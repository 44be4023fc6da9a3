"""Rates what waits: takes a batch of unrated usage, prices it, posts it, all in one transaction.

A measured fact is queued by a trigger in the transaction that adds it and leaves the queue in the transaction that
rates it, so that a crash at any instruction leaves it either waiting or rated and posted. Batches skip what another
worker holds. Usage without a price stays queued, marked, and is looked at again when the price list changes and once
a minute.
"""

import dataclasses
import datetime as dt
import hashlib
import logging
from collections.abc import Iterable, Sequence
from typing import Final

from django.db import connection, transaction

from moorage.accounts.models import Organization
from moorage.billing import ledger, locks
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import BillingMonth, Meter, Price, SourceKind, Statement, UnratedUsage
from moorage.billing.prices import PriceBook, PriceRow
from moorage.billing.rating import NoPrice, RatedLine, Source, rate, request_quantities
from moorage.deployments.models import Revision
from moorage.kernel import clock
from moorage.kernel.clock import Period
from moorage.metering.models import ReplicaUsage, UsageEvent

logger = logging.getLogger(__name__)

BATCH: Final = 5000
#: Marks usage whose organization does not exist: a price cannot help it.
NO_ORGANIZATION: Final = "organization"
_COLUMNS: Final = (
    "source_id, organization_id, deployment_id, revision_id, key_id, served_name, meter, quantity, price_id, currency,"
    " amount_pico, ended_at, period_start, rated_at"
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Batch:
    """What one batch did, in measured facts."""

    rated: int
    unpriced: int


def rate_all(*, most_batches: int = 200) -> int:
    """Rates batch after batch until nothing is due; how many facts were rated."""
    rated = 0
    for _ in range(most_batches):
        batch = rate_batch()
        rated += batch.rated
        if batch.rated + batch.unpriced < BATCH:
            break
    return rated


@transaction.atomic
def rate_batch(*, limit: int = BATCH) -> Batch:
    """Rates and posts up to ``limit`` facts that are due."""
    locks.share_prices()
    sources = _claim(limit)
    if not sources:
        return Batch(rated=0, unpriced=0)
    known = set(
        Organization.objects.filter(pk__in={source.organization_id for source in sources}).values_list("pk", flat=True)
    )
    locks.share_months(known)
    book = price_book()
    lines: list[RatedLine] = []
    done: list[str] = []
    unpriced: list[NoPrice] = []
    strangers: list[Source] = []
    for source in sources:
        if source.organization_id not in known:
            strangers.append(source)
            continue
        result = rate(source, book)
        if isinstance(result, NoPrice):
            unpriced.append(result)
        else:
            lines.extend(result)
            done.append(source.id)
    _post(_store(lines, _closed_months(known)))
    UnratedUsage.objects.filter(pk__in=done).delete()
    _set_back(unpriced, strangers)
    return Batch(rated=len(done), unpriced=len(unpriced) + len(strangers))


def price_book() -> PriceBook:
    """The whole price list."""
    fields = ("id", "meter", "model", "pico_per_unit", "valid_from", "currency")
    return PriceBook(PriceRow(**row) for row in Price.objects.values(*fields))


def charged_in(ended_at: dt.datetime, closed: Iterable[dt.datetime]) -> dt.datetime:
    """The beginning of the month that usage is charged in: its own, or the first after it that is not closed. Pure."""
    taken = set(closed)
    period = Period.containing(ended_at)
    while period.start in taken:
        period = Period.containing(period.end)
    return period.start


def _claim(limit: int) -> list[Source]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT source_id, kind FROM unrated_usage WHERE due_at <= clock_timestamp()"
            " ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED",
            [limit],
        )
        claimed = cursor.fetchall()
    requests = [source_id for source_id, kind in claimed if kind == SourceKind.REQUEST]
    times = [source_id for source_id, kind in claimed if kind == SourceKind.REPLICA_TIME]
    return [*_requests(requests), *_replica_times(times)]


def _requests(ids: Sequence[str]) -> list[Source]:
    rows = UsageEvent.objects.filter(pk__in=ids).values_list(
        "request_id",
        "organization_id",
        "deployment_id",
        "revision_id",
        "key_id",
        "served_name",
        "ended_at",
        "input_tokens",
        "cached_tokens",
        "output_tokens",
    )
    return [
        Source(
            id=row[0],
            organization_id=row[1],
            deployment_id=row[2],
            revision_id=row[3],
            key_id=row[4],
            served_name=row[5],
            ended_at=row[6],
            quantities=request_quantities(input_tokens=row[7], cached_tokens=row[8], output_tokens=row[9]),
        )
        for row in rows
    ]


def _replica_times(ids: Sequence[str]) -> list[Source]:
    rows = list(ReplicaUsage.objects.filter(pk__in=ids)) if ids else []
    pins = dict(Revision.objects.filter(pk__in={row.revision_id for row in rows}).values_list("pk", "pins"))
    return [
        Source(
            id=row.id,
            organization_id=row.organization_id,
            deployment_id=row.deployment_id,
            revision_id=row.revision_id,
            key_id="",
            served_name=_served_name(pins.get(row.revision_id), row.model_key),
            ended_at=row.ended_at,
            quantities=((Meter.REPLICA_SECONDS, row.seconds),),
        )
        for row in rows
    ]


def _served_name(pins: object, model_key: str) -> str:
    """The served name that the revision pinned; the key in the Compose file where there is none."""
    pin = pins.get(model_key) if isinstance(pins, dict) else None
    name = pin.get("served_name") if isinstance(pin, dict) else None
    return name if isinstance(name, str) and name else model_key


def _closed_months(organization_ids: Iterable[str]) -> dict[str, set[dt.datetime]]:
    closed: dict[str, set[dt.datetime]] = {}
    rows = Statement.objects.filter(organization_id__in=list(organization_ids))
    for organization_id, period_start in rows.values_list("organization_id", "period_start"):
        closed.setdefault(organization_id, set()).add(period_start)
    return closed


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Stored:
    """What a batch has added for one organization, month and currency."""

    organization_id: str
    period_start: dt.datetime
    currency: str
    pico: int
    until: dt.datetime
    source_ids: tuple[str, ...]


def _store(lines: Sequence[RatedLine], closed: dict[str, set[dt.datetime]]) -> list[_Stored]:
    """Inserts ``lines`` and gives back the sums of those that were not there yet."""
    if not lines:
        return []
    rated_at = clock.now()
    months: set[tuple[str, dt.datetime]] = set()
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TEMPORARY TABLE IF NOT EXISTS arriving_rated ON COMMIT DELETE ROWS AS"  # noqa: S608
            f" SELECT {_COLUMNS} FROM rated_usage WITH NO DATA"
        )
        cursor.execute("DELETE FROM arriving_rated")
        with cursor.copy(f"COPY arriving_rated ({_COLUMNS}) FROM STDIN") as copy:
            for line in lines:
                source = line.source
                period_start = charged_in(source.ended_at, closed.get(source.organization_id, ()))
                months.add((source.organization_id, period_start))
                copy.write_row(
                    (
                        source.id,
                        source.organization_id,
                        source.deployment_id,
                        source.revision_id,
                        source.key_id,
                        source.served_name,
                        str(line.meter),
                        line.quantity,
                        line.price_id,
                        line.currency,
                        line.amount_pico,
                        source.ended_at,
                        period_start,
                        rated_at,
                    )
                )
        cursor.execute(
            f"WITH added AS (INSERT INTO rated_usage ({_COLUMNS}) SELECT {_COLUMNS} FROM arriving_rated"  # noqa: S608
            " ON CONFLICT (source_id, meter) DO NOTHING"
            " RETURNING organization_id, period_start, currency, amount_pico, ended_at, source_id)"
            " SELECT organization_id, period_start, currency, sum(amount_pico), max(ended_at),"
            " array_agg(DISTINCT source_id) FROM added GROUP BY 1, 2, 3 ORDER BY 1, 2, 3"
        )
        rows = cursor.fetchall()
    BillingMonth.objects.bulk_create(
        [
            BillingMonth(organization_id=organization_id, period_start=start)
            for organization_id, start in sorted(months)
        ],
        ignore_conflicts=True,
    )
    return [
        _Stored(
            organization_id=row[0],
            period_start=row[1],
            currency=row[2],
            pico=int(row[3]),
            until=row[4],
            source_ids=tuple(sorted(row[5])),
        )
        for row in rows
    ]


def _post(stored: Iterable[_Stored]) -> None:
    for one in stored:
        if one.pico == 0:
            continue
        content = hashlib.sha256("\n".join((str(one.pico), *one.source_ids)).encode()).hexdigest()
        ledger.post(
            kind="usage",
            idempotency_key=f"usage:{one.organization_id}:{one.period_start:%Y-%m}:{content}",
            entries=[
                Entry(account=Account.RECEIVABLE, organization_id=one.organization_id, pico=one.pico),
                Entry(account=Account.REVENUE, organization_id=one.organization_id, pico=-one.pico),
            ],
            effective_at=one.until,
            currency=one.currency,
        )


def _set_back(unpriced: Sequence[NoPrice], strangers: Sequence[Source]) -> None:
    """Leaves what has no price in the queue, says so, and looks again in a minute."""
    later = clock.now() + dt.timedelta(minutes=1)
    by_price: dict[tuple[str, str], list[str]] = {}
    for one in unpriced:
        by_price.setdefault((str(one.meter), one.source.served_name), []).append(one.source.id)
    for (meter, model), ids in by_price.items():
        rows = UnratedUsage.objects.filter(pk__in=ids)
        if rows.exclude(unpriced_meter=meter, unpriced_model=model).exists():
            logger.error("usage_unpriced meter=%s model=%s count=%d", meter, model, len(ids))
        rows.update(unpriced_meter=meter, unpriced_model=model, due_at=later)
    if strangers:
        logger.error("usage_without_organization count=%d first=%s", len(strangers), strangers[0].id)
        UnratedUsage.objects.filter(pk__in=[source.id for source in strangers]).update(
            unpriced_meter=NO_ORGANIZATION, unpriced_model="", due_at=later + dt.timedelta(hours=1)
        )
