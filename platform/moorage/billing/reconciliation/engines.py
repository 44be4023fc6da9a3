"""R8: the tokens that an engine has counted itself are those that were metered of its replica.

A drift is a gateway that somebody went around, or a mistake in metering. Requests that are running are counted by one
side and not by the other, so each side is compared with the other's figure of another moment: what was metered must
have been counted by now, and what had been counted one reading ago must be metered by now.
"""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Final

from django.db import connection, transaction
from django.db.models import Q, Sum

from moorage.billing.models import EngineReading, WatchMark
from moorage.billing.reconciliation.findings import KEPT_MOST, Finding, Result, Window
from moorage.deployments.models import Replica, ReplicaStatus, Vitality
from moorage.fleet import engine_counters
from moorage.fleet.engine_counters import Counters
from moorage.metering.models import UsageEvent

#: Tokens of probes and warming up, and what an engine generates after a client has left.
SLACK_TOKENS: Final = 1_000
#: A twentieth more than was metered is no finding.
SLACK_SHARE: Final = 20
#: A question for one token beside a replica's work, whether it is alive, has at most so many.
PROBE_TOKENS: Final = 64
#: Readings of replicas that are gone are kept so long.
KEPT_FOR: Final = dt.timedelta(days=7)
#: A reading that is younger says nothing about requests that were running then.
APART: Final = dt.timedelta(minutes=2)
_MARK: Final = "engines"
_READABLE: Final = (ReplicaStatus.READY, ReplicaStatus.DRAINING)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """Both sides since the engine began. Inputs are all prompt tokens where metered, and never more where counted."""

    replica_id: str
    organization_id: str
    engine_output: int
    earlier_input: int
    earlier_output: int
    metered_input: int
    metered_output: int
    #: Of requests that were answered to their end.
    completed_output: int
    #: How often it was asked whether it is alive.
    probes: int = 0


def compare_engines(readings: Iterable[Reading]) -> tuple[Finding, ...]:
    """Replicas whose engine counted other tokens than were metered."""
    found = []
    for one in readings:
        about = {"subject": one.replica_id, "organization_id": one.organization_id}
        if one.completed_output > one.engine_output:
            sentence = (
                f"{one.completed_output:,} output tokens are metered, and the engine has generated"
                f" {one.engine_output:,}."
            )
            found.append(Finding(code="metered_more_than_generated", sentence=sentence, **about))
        for word, counted, metered in (
            ("output", one.earlier_output, one.metered_output),
            ("input", one.earlier_input, one.metered_input),
        ):
            if counted > metered + metered // SLACK_SHARE + SLACK_TOKENS + PROBE_TOKENS * one.probes:
                sentence = (
                    f"The engine has counted {counted:,} {word} tokens, {metered:,} are metered: somebody reaches it"
                    " past the gateway, or metering misses requests."
                )
                found.append(Finding(code=f"{word}_not_metered", sentence=sentence, **about))
    return tuple(found)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class MeteredTokens:
    """What was metered of one replica in a window."""

    input_tokens: int = 0
    output_tokens: int = 0
    completed_output: int = 0


def advance(before: EngineReading, told: Counters, metered: MeteredTokens, *, now: dt.datetime) -> EngineReading:
    """The reading after ``before``. A counter that went back has begun anew at nothing. Pure: nothing is stored."""
    return EngineReading(
        replica_id=before.replica_id,
        organization_id=before.organization_id,
        read_at=now,
        raw_input=told.input_tokens,
        raw_output=told.output_tokens,
        engine_input=before.engine_input + _gained(before.raw_input, told.input_tokens),
        engine_output=before.engine_output + _gained(before.raw_output, told.output_tokens),
        earlier_input=before.engine_input,
        earlier_output=before.engine_output,
        metered_input=before.metered_input + metered.input_tokens,
        metered_output=before.metered_output + metered.output_tokens,
        completed_output=before.completed_output + metered.completed_output,
    )


def _gained(before: int, now: int) -> int:
    return now - before if now >= before else now


def engines(window: Window, *, ask: Callable[[Path], Counters | None] = engine_counters.read) -> Result:
    """R8 over replicas that serve. Reads their counters first, then what was metered since the last reading."""
    replicas = {
        replica.pk: replica
        for replica in Replica.objects.filter(status__in=_READABLE)
        .exclude(socket="")
        .select_related("deployment__organization")
    }
    told = {replica_id: ask(Path(replica.socket)) for replica_id, replica in replicas.items()}
    counted = {replica_id: counters for replica_id, counters in told.items() if counters is not None}
    readings = _store(counted, replicas, window)
    probes = dict(Vitality.objects.filter(replica__in=told).values_list("replica_id", "probes"))
    asked = (dataclasses.replace(reading, probes=probes.get(reading.replica_id, 0)) for reading in readings)
    findings = compare_engines(asked)
    silent = len(told) - len(counted)
    note = f"{silent} of {len(told)} engines did not tell their counters." if silent else ""
    return Result(compared=len(readings), findings=findings[:KEPT_MOST], finding_count=len(findings), note=note)


@transaction.atomic
def _store(counted: Mapping[str, Counters], replicas: Mapping[str, Replica], window: Window) -> list[Reading]:
    """Moves every reading on, and the mark with them: usage is added up once."""
    mark, _ = WatchMark.objects.select_for_update().get_or_create(name=_MARK, defaults={"until": window.until})
    until = max(window.until, mark.until)
    metered = _metered(mark.until, until)
    WatchMark.objects.filter(pk=mark.pk).update(until=until)
    known = EngineReading.objects.select_for_update().in_bulk()
    after: list[Reading] = []
    for replica_id in sorted(counted.keys() | known.keys()):
        before = known.get(replica_id)
        if before is None:
            after.append(_reading(_first(replicas[replica_id], counted[replica_id], until=until, now=window.now)))
            continue
        usage = metered.get(replica_id, MeteredTokens())
        if replica_id not in counted or window.now - before.read_at < APART:
            _add_metered(before, usage)
            continue
        moved = advance(before, counted[replica_id], usage, now=window.now)
        moved.save(force_update=True)
        after.append(_reading(moved))
    EngineReading.objects.filter(read_at__lt=window.now - KEPT_FOR).delete()
    return after


def _first(replica: Replica, told: Counters, *, until: dt.datetime, now: dt.datetime) -> EngineReading:
    """An engine lives as long as its replica: its counters and all usage of the replica begin together."""
    owner = replica.deployment.organization
    rows = UsageEvent.objects.for_organization(owner).filter(
        ended_at__gte=replica.created_at, replica_id=replica.pk, recorded_at__lt=until
    )
    sums = rows.aggregate(
        all_input=Sum("input_tokens"),
        all_output=Sum("output_tokens"),
        completed=Sum("output_tokens", filter=Q(outcome="completed")),
    )
    return EngineReading.objects.create(
        replica_id=replica.pk,
        organization_id=owner.pk,
        read_at=now,
        raw_input=told.input_tokens,
        raw_output=told.output_tokens,
        engine_input=told.input_tokens,
        engine_output=told.output_tokens,
        metered_input=int(sums["all_input"] or 0),
        metered_output=int(sums["all_output"] or 0),
        completed_output=int(sums["completed"] or 0),
    )


def _add_metered(before: EngineReading, usage: MeteredTokens) -> None:
    """Nothing to compare with this time; what was metered meanwhile counts next time."""
    if usage != MeteredTokens():
        before.metered_input += usage.input_tokens
        before.metered_output += usage.output_tokens
        before.completed_output += usage.completed_output
        before.save(update_fields=["metered_input", "metered_output", "completed_output"])


def _metered(since: dt.datetime, until: dt.datetime) -> dict[str, MeteredTokens]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT replica_id, sum(input_tokens), sum(output_tokens),"
            " coalesce(sum(output_tokens) FILTER (WHERE outcome = 'completed'), 0)"
            " FROM usage_event WHERE recorded_at >= %s AND recorded_at < %s AND replica_id <> '' GROUP BY 1",
            [since, until],
        )
        return {
            row[0]: MeteredTokens(input_tokens=int(row[1]), output_tokens=int(row[2]), completed_output=int(row[3]))
            for row in cursor.fetchall()
        }


def _reading(row: EngineReading) -> Reading:
    return Reading(
        replica_id=row.replica_id,
        organization_id=row.organization_id,
        engine_output=row.engine_output,
        earlier_input=row.earlier_input,
        earlier_output=row.earlier_output,
        metered_input=row.metered_input,
        metered_output=row.metered_output,
        completed_output=row.completed_output,
    )
