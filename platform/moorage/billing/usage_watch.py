"""Adds usage up by day as it arrives, looks for what is unusual (anomalies.py), and keeps that until somebody has said
why it is fine."""

import dataclasses
import datetime as dt
import logging
from collections.abc import Iterator
from typing import Final

from django.db import connection, transaction
from django.db.models import Max as Highest
from django.db.models import QuerySet, Sum

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import ApiKey
from moorage.billing import anomalies
from moorage.billing.anomalies import Subject, Unusual
from moorage.billing.errors import ReasonMissing, ReviewItemNotFound
from moorage.billing.models import AnomalyKind, UsageAnomaly, UsageDay, WatchMark
from moorage.kernel import clock
from moorage.metering.models import UsageEvent

logger = logging.getLogger(__name__)

_MARK: Final = "usage_days"
#: What is committed may have arrived so much earlier: a transaction's rows carry the time of its beginning.
_ARRIVED: Final = dt.timedelta(minutes=1)
#: Read in one transaction; a watcher that was away catches up in several.
_AT_ONCE: Final = dt.timedelta(days=1)
#: Days are kept a little longer than they are looked at.
_DAYS_KEPT: Final = dt.timedelta(days=anomalies.TRAILING_DAYS + 7)
#: Only these generate: an embedding has no output token.
_GENERATING: Final = ("/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses")
_ADD: Final = """
INSERT INTO usage_day
       (organization_id, deployment_id, key_id, day, requests, tokens, disputed, with_output, zero_streak)
SELECT organization_id, deployment_id, key_id, day, count(*), sum(tokens), count(*) FILTER (WHERE is_disputed),
       count(*) FILTER (WHERE is_answer AND output_tokens > 0),
       count(*) FILTER (WHERE is_answer AND output_tokens = 0 AND (last_output IS NULL OR ended_at > last_output))
  FROM (SELECT organization_id, deployment_id, key_id, (ended_at AT TIME ZONE 'UTC')::date AS day, is_disputed,
               input_tokens + output_tokens AS tokens, output_tokens, ended_at,
               outcome = 'completed' AND path = ANY(%(paths)s) AS is_answer,
               max(ended_at) FILTER (WHERE outcome = 'completed' AND output_tokens > 0) OVER (
                   PARTITION BY organization_id, deployment_id, key_id, (ended_at AT TIME ZONE 'UTC')::date
               ) AS last_output
          FROM usage_event WHERE recorded_at >= %(since)s AND recorded_at < %(until)s) AS arrived
 GROUP BY organization_id, deployment_id, key_id, day
    ON CONFLICT (day, organization_id, deployment_id, key_id) DO UPDATE
   SET requests = usage_day.requests + EXCLUDED.requests,
       tokens = usage_day.tokens + EXCLUDED.tokens,
       disputed = usage_day.disputed + EXCLUDED.disputed,
       with_output = usage_day.with_output + EXCLUDED.with_output,
       zero_streak = CASE WHEN EXCLUDED.with_output > 0 THEN EXCLUDED.zero_streak
                          ELSE usage_day.zero_streak + EXCLUDED.zero_streak END
"""


def watch(*, now: dt.datetime) -> tuple[UsageAnomaly, ...]:
    """Adds up what has arrived and keeps what is unusual; what is new of it."""
    while not add_up(now=now):
        pass
    return tuple(found for found in map(_keep, _found(now)) if found is not None)


@transaction.atomic
def add_up(*, now: dt.datetime) -> bool:
    """One step of at most a day of arrivals; whether nothing is left. The mark moves with the sums: each event counts
    once."""
    last = now - _ARRIVED
    first = UsageEvent.objects.order_by("recorded_at").values_list("recorded_at", flat=True)
    mark = WatchMark.objects.select_for_update().filter(name=_MARK).first()
    if mark is None:
        begin = last - dt.timedelta(days=anomalies.TRAILING_DAYS)
        mark, _ = WatchMark.objects.get_or_create(name=_MARK, defaults={"until": begin})
        mark = WatchMark.objects.select_for_update().get(name=_MARK)
        oldest = first.filter(recorded_at__gte=begin).first()
        mark.until = max(mark.until, min(oldest or last, last))
    until = max(mark.until, min(last, mark.until + _AT_ONCE))
    with connection.cursor() as cursor:
        cursor.execute(_ADD, {"since": mark.until, "until": until, "paths": list(_GENERATING)})
    WatchMark.objects.filter(pk=_MARK).update(until=until)
    UsageDay.objects.filter(day__lt=(now - _DAYS_KEPT).date()).delete()
    return until >= last


def open_anomalies() -> QuerySet[UsageAnomaly]:
    """What nobody has looked at yet, the latest day first."""
    return UsageAnomaly.objects.filter(acknowledged_at=None).order_by("-day", "-id")


def all_anomalies() -> QuerySet[UsageAnomaly]:
    """All that are kept, the latest first."""
    return UsageAnomaly.objects.order_by("-id")


@transaction.atomic
def acknowledge(*, anomaly_id: int, by: Actor, reason: str) -> UsageAnomaly:
    """Somebody has looked, and says what it was. Raises ReasonMissing, ReviewItemNotFound."""
    said = reason.strip()[:2000]
    if not said:
        raise ReasonMissing(param="reason")
    changes = {"acknowledged_at": clock.now(), "acknowledged_by": by.label[:120], "acknowledged_because": said}
    if not UsageAnomaly.objects.filter(pk=anomaly_id, acknowledged_at=None).update(**changes):
        raise ReviewItemNotFound
    anomaly = UsageAnomaly.objects.get(pk=anomaly_id)
    audit.record(
        organization=None,
        by=by,
        action="anomaly.acknowledged",
        subject=anomaly.subject_id,
        detail={"reason": said, "kind": anomaly.kind, "day": str(anomaly.day), "organization": anomaly.organization_id},
    )
    return anomaly


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    kind: AnomalyKind
    organization_id: str
    subject: Subject
    subject_id: str
    day: dt.date
    unusual: Unusual


def _found(now: dt.datetime) -> Iterator[_Found]:
    today = now.astimezone(dt.UTC).date()
    series = {subject: _series(subject, today) for subject in Subject}
    for subject, by_id in series.items():
        for (organization_id, subject_id), days in by_id.items():
            unusual = anomalies.surge(days.get(today, 0), _before(days, today))
            if unusual is not None:
                yield _of(AnomalyKind.SURGE, organization_id, subject, subject_id, today, unusual)
    yield from _new_keys(series, today, now)
    sums = UsageDay.objects.filter(day=today).order_by().values("organization_id", "deployment_id")
    for row in sums.annotate(all=Sum("requests"), odd=Sum("disputed"), streak=Highest("zero_streak")):
        owner, deployment = row["organization_id"], row["deployment_id"]
        for kind, unusual in (
            (AnomalyKind.DISPUTED, anomalies.disputed(int(row["odd"]), requests=int(row["all"]))),
            (AnomalyKind.NO_TOKENS, anomalies.no_tokens(int(row["streak"]))),
        ):
            if unusual is not None:
                yield _of(kind, owner, Subject.DEPLOYMENT, deployment, today, unusual)


_Series = dict[tuple[str, str], dict[dt.date, int]]


def _series(subject: Subject, today: dt.date) -> _Series:
    """Tokens by day, for each subject that was used today."""
    column = {Subject.ORGANIZATION: "organization_id", Subject.KEY: "key_id", Subject.DEPLOYMENT: "deployment_id"}
    name = column[subject]
    used = UsageDay.objects.filter(day=today).order_by().values(name)
    rows = UsageDay.objects.filter(
        day__gte=today - dt.timedelta(days=anomalies.TRAILING_DAYS), day__lte=today, **{f"{name}__in": used}
    )
    found: _Series = {}
    for organization_id, subject_id, day, tokens in (
        rows.order_by().values_list("organization_id", name, "day").annotate(sum=Sum("tokens"))
    ):
        found.setdefault((organization_id, subject_id), {})[day] = int(tokens)
    return found


def _before(days: dict[dt.date, int], today: dt.date) -> list[int]:
    """The days before, from the first that there was any usage on; days without any count as nothing."""
    first = min((day for day in days if day < today), default=today)
    return [days.get(today - dt.timedelta(days=back), 0) for back in range(1, (today - first).days + 1)]


def _new_keys(series: dict[Subject, _Series], today: dt.date, now: dt.datetime) -> Iterator[_Found]:
    used = {key_id: owner for owner, key_id in series[Subject.KEY]}
    young = ApiKey.objects.filter(pk__in=used, created_at__gt=now - dt.timedelta(hours=anomalies.NEW_HOURS))
    for key_id, created_at in young.order_by("pk").values_list("pk", "created_at"):
        owner = used[key_id]
        unusual = anomalies.new_key(
            series[Subject.KEY][owner, key_id].get(today, 0),
            age_hours=(now - created_at) // dt.timedelta(hours=1),
            organization_before=_before(series[Subject.ORGANIZATION].get((owner, owner), {}), today),
        )
        if unusual is not None:
            yield _of(AnomalyKind.NEW_KEY, owner, Subject.KEY, key_id, today, unusual)


def _of(
    kind: AnomalyKind, organization_id: str, subject: Subject, subject_id: str, day: dt.date, unusual: Unusual
) -> _Found:
    return _Found(
        kind=kind, organization_id=organization_id, subject=subject, subject_id=subject_id, day=day, unusual=unusual
    )


@transaction.atomic
def _keep(found: _Found) -> UsageAnomaly | None:
    """The row, where it is new; one that is known tells the latest figure until somebody has looked."""
    figures = {
        "figure": found.unusual.figure,
        "usual": found.unusual.usual,
        "sentence": found.unusual.sentence,
    }
    row, is_new = UsageAnomaly.objects.get_or_create(
        kind=found.kind,
        subject_id=found.subject_id,
        day=found.day,
        defaults={"organization_id": found.organization_id, "subject_kind": str(found.subject), **figures},
    )
    if is_new:
        logger.warning("usage_unusual kind=%s subject=%s figure=%d", row.kind, row.subject_id, row.figure)
        return row
    UsageAnomaly.objects.filter(pk=row.pk, acknowledged_at=None).update(**figures)
    return None
