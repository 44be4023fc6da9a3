"""R2: every measured fact is charged once for what was measured, and what is charged in a month is in the ledger.

The comparison is pure. The queries bring only what might differ, so that a day of requests costs its indexes.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable
from typing import Final

from django.db import connection

from moorage.billing.ledger import Account
from moorage.billing.reconciliation.findings import KEPT_MOST, Finding, Result, Window
from moorage.kernel.clock import Period
from moorage.kernel.currencies import USD
from moorage.kernel.money import Money

#: Usage is rated within seconds; what waits longer without a missing price is stuck.
RATED_WITHIN: Final = dt.timedelta(minutes=5)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """One measured fact with what was charged for it. Quantities: uncached input, cached input, output, seconds."""

    source_id: str
    organization_id: str
    recorded_at: dt.datetime
    measured: tuple[int, int, int, int]
    charged: tuple[int, int, int, int]
    is_waiting: bool
    #: It waits because nobody has set a price: its month is held, and that is shown elsewhere.
    is_unpriced: bool = False


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Orphan:
    """A charge for what was never measured."""

    source_id: str
    organization_id: str
    pico: int
    currency: str = USD


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MonthSum:
    """What is charged to one organization in a month, and what the ledger has for it."""

    organization_id: str
    period_start: dt.datetime
    rated_pico: int
    posted_pico: int
    currency: str = USD


def compare_settled(
    settled: Iterable[Settled], orphans: Iterable[Orphan], months: Iterable[MonthSum], *, now: dt.datetime
) -> tuple[Finding, ...]:
    """Facts without charges, charges without facts, and months that the ledger has otherwise."""
    found: list[Finding] = []
    for one in settled:
        finding = _judge(one, now)
        if finding is not None:
            found.append(finding)
    for orphan in orphans:
        found.append(
            Finding(
                code="charge_without_usage",
                sentence=f"{Money(orphan.pico, orphan.currency)} is charged for something that was never measured.",
                subject=orphan.source_id,
                organization_id=orphan.organization_id,
            )
        )
    for month in months:
        if month.rated_pico != month.posted_pico:
            found.append(
                Finding(
                    code="month_differs",
                    sentence=f"{Period.containing(month.period_start)}: {Money(month.rated_pico, month.currency)} is"
                    f" charged, the ledger has {Money(month.posted_pico, month.currency)}.",
                    subject=month.organization_id,
                    organization_id=month.organization_id,
                )
            )
    return tuple(found)


def _judge(one: Settled, now: dt.datetime) -> Finding | None:
    is_request = one.source_id.startswith("req_")
    about = {
        "subject": one.source_id,
        "organization_id": one.organization_id,
        "request_id": one.source_id if is_request else "",
    }
    if one.is_waiting:
        if any(one.charged):
            return Finding(
                code="charged_and_waiting", sentence="It is charged, and waits to be charged again.", **about
            )
        if one.is_unpriced or now - one.recorded_at < RATED_WITHIN:
            return None
        return Finding(
            code="waits_too_long", sentence=f"It waits to be rated since {one.recorded_at:%Y-%m-%d %H:%M} UTC.", **about
        )
    if one.measured == one.charged:
        return None
    if not any(one.charged):
        return Finding(code="not_charged", sentence="It was measured, waits for nothing, and is not charged.", **about)
    words = ("uncached input", "cached input", "output", "replica seconds")
    differs = "; ".join(
        f"{charged:,} {word} charged for {measured:,} measured"
        for word, measured, charged in zip(words, one.measured, one.charged, strict=True)
        if measured != charged
    )
    return Finding(code="quantity_differs", sentence=f"{differs.capitalize()}.", **about)


def settled(window: Window) -> Result:
    """R2 over what arrived in the window."""
    facts, looked_at = _facts(window)
    orphans, months = _orphans(window), _months(window)
    findings = compare_settled(facts, orphans, months, now=window.now)
    return Result(compared=looked_at + len(months), findings=findings[:KEPT_MOST], finding_count=len(findings))


_REQUESTS: Final = """
WITH fact AS (
    SELECT request_id AS id, organization_id, recorded_at, input_tokens - cached_tokens AS input,
           cached_tokens AS cached, output_tokens AS output, 0::bigint AS seconds
      FROM usage_event WHERE recorded_at >= %(since)s AND recorded_at < %(until)s
    UNION ALL
    -- Seconds in which it could not answer are free unless a price names them.
    SELECT id, organization_id, recorded_at, 0, 0, 0,
           CASE WHEN state IN ('pull', 'load', 'frozen')
                     AND NOT EXISTS (SELECT FROM rated_usage r WHERE r.source_id = replica_usage.id)
                THEN 0 ELSE seconds END
      FROM replica_usage WHERE recorded_at >= %(since)s AND recorded_at < %(until)s
), compared AS (
    SELECT fact.*, charged.*, waiting.source_id IS NOT NULL AS is_waiting,
           coalesce(waiting.unpriced_meter, '') <> '' AS is_unpriced
      FROM fact
      LEFT JOIN unrated_usage waiting ON waiting.source_id = fact.id
     CROSS JOIN LATERAL (
        SELECT coalesce(sum(quantity) FILTER (WHERE meter = 'input_tokens'), 0) AS charged_input,
               coalesce(sum(quantity) FILTER (WHERE meter = 'cached_input_tokens'), 0) AS charged_cached,
               coalesce(sum(quantity) FILTER (WHERE meter = 'output_tokens'), 0) AS charged_output,
               coalesce(sum(quantity) FILTER (WHERE meter = 'replica_seconds'), 0) AS charged_seconds
          FROM rated_usage WHERE source_id = fact.id) AS charged
)
SELECT id, organization_id, recorded_at, input, cached, output, seconds,
       charged_input, charged_cached, charged_output, charged_seconds, is_waiting, is_unpriced
  FROM compared
 WHERE is_waiting OR input <> charged_input OR cached <> charged_cached OR output <> charged_output
    OR seconds <> charged_seconds
 ORDER BY id LIMIT 5000
"""


def _facts(window: Window) -> tuple[list[Settled], int]:
    """Those whose charges are not plainly right, and how many were looked at."""
    moments = {"since": window.since, "until": window.until}
    with connection.cursor() as cursor:
        cursor.execute(_REQUESTS, moments)
        rows = cursor.fetchall()
        cursor.execute(
            "SELECT (SELECT count(*) FROM usage_event WHERE recorded_at >= %(since)s AND recorded_at < %(until)s)"
            " + (SELECT count(*) FROM replica_usage WHERE recorded_at >= %(since)s AND recorded_at < %(until)s)",
            moments,
        )
        looked_at = int(cursor.fetchone()[0])
    found = [
        Settled(
            source_id=row[0],
            organization_id=row[1],
            recorded_at=row[2],
            measured=(int(row[3]), int(row[4]), int(row[5]), int(row[6])),
            charged=(int(row[7]), int(row[8]), int(row[9]), int(row[10])),
            is_waiting=row[11],
            is_unpriced=row[12],
        )
        for row in rows
    ]
    return found, looked_at


def _orphans(window: Window) -> list[Orphan]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT r.source_id, r.organization_id, sum(r.amount_pico), r.currency FROM rated_usage r"
            " WHERE r.ended_at >= %s AND r.ended_at < %s"
            "   AND NOT EXISTS (SELECT FROM usage_event e WHERE e.request_id = r.source_id)"
            "   AND NOT EXISTS (SELECT FROM replica_usage u WHERE u.id = r.source_id)"
            " GROUP BY 1, 2, 4 ORDER BY 1 LIMIT 1000",
            [window.since - dt.timedelta(hours=1), window.until],
        )
        return [
            Orphan(source_id=row[0], organization_id=row[1], pico=int(row[2]), currency=row[3])
            for row in cursor.fetchall()
        ]


def _months(window: Window) -> list[MonthSum]:
    """The months that were charged in since the last run; the ledger's key names the month."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            WITH touched AS (
                SELECT DISTINCT organization_id, period_start FROM rated_usage WHERE ended_at >= %s AND ended_at < %s)
            SELECT t.organization_id, t.period_start,
                   (SELECT coalesce(sum(r.amount_pico), 0) FROM rated_usage r
                     WHERE r.organization_id = t.organization_id AND r.period_start = t.period_start),
                   (SELECT coalesce(-sum(e.amount_pico), 0)
                      FROM ledger_transaction x JOIN ledger_entry e ON e.transaction_id = x.id
                      JOIN ledger_account a ON a.id = e.account_id
                     WHERE a.kind = %s AND a.organization_id = t.organization_id AND x.idempotency_key
                           LIKE 'usage:' || t.organization_id || ':' || to_char(t.period_start AT TIME ZONE 'UTC',
                           'YYYY-MM') || ':%%'), o.currency
              FROM touched t JOIN organization o ON o.id = t.organization_id ORDER BY 1, 2
            """,
            [window.since - dt.timedelta(hours=1), window.until, str(Account.REVENUE)],
        )
        return [
            MonthSum(
                organization_id=row[0],
                period_start=row[1],
                rated_pico=int(row[2]),
                posted_pico=int(row[3]),
                currency=row[4],
            )
            for row in cursor.fetchall()
        ]
