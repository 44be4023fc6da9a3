"""R7: replica seconds are those that containers ran.

A replica is metered from ready to its end; its container runs from before that until after it. Whoever asks the runtime
compares the clocks of two machines, so differences of seconds are none.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Final

from django.db.models import Q, Sum

from moorage.billing.models.meter import ReplicaState
from moorage.billing.reconciliation.findings import KEPT_MOST, Finding, Result, Window
from moorage.deployments import replica_time
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.fleet.runtime import Container, ContainerRuntime
from moorage.metering.models import ReplicaUsage

#: Clocks of two machines, and a second that had begun.
_CLOCKS: Final = 5
#: Metering runs every ten seconds, and a container that has exited is noticed within a minute.
_NOTICED_WITHIN: Final = dt.timedelta(minutes=3)
#: Replicas that ended since then are looked at once more.
_ENDED_WITHIN: Final = dt.timedelta(hours=1)
#: Seconds of these states lie before a replica is ready.
_NOT_READY: Final = (ReplicaState.PULL, ReplicaState.LOAD)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Metered:
    """What we say of a replica, with the seconds that are charged for it."""

    replica_id: str
    organization_id: str
    deployment_id: str
    is_serving: bool
    ready_at: dt.datetime | None
    ended_at: dt.datetime | None
    seconds: int
    metered_until: dt.datetime | None = None
    #: Seconds in which it could answer by its statuses; None: all from ready to its end. Its container may have been
    #: stopped in between, and then says nothing of the time before.
    answerable: int | None = None
    has_slept: bool = False


def compare_replicas(
    replicas: Iterable[Metered], containers: Mapping[str, Container] | None, *, now: dt.datetime
) -> tuple[Finding, ...]:
    """Seconds that no container ran, and containers whose seconds nobody counts. ``containers`` None: not asked."""
    found = []
    for one in replicas:
        container = containers.get(one.replica_id) if containers is not None else None
        code, sentence = _judge(one, container, has_asked=containers is not None, now=now)
        if code:
            found.append(
                Finding(
                    code=code,
                    sentence=sentence,
                    subject=one.replica_id,
                    organization_id=one.organization_id,
                    deployment_id=one.deployment_id,
                )
            )
    return tuple(found)


def _judge(one: Metered, container: Container | None, *, has_asked: bool, now: dt.datetime) -> tuple[str, str]:
    end = min(one.ended_at or now, now)
    if one.seconds and one.ready_at is None:
        return "metered_before_ready", f"{one.seconds:,} s are metered of a replica that was never ready."
    if one.ready_at is None:
        return "", ""
    ready = max((end - one.ready_at) // dt.timedelta(seconds=1), 0) if one.answerable is None else one.answerable
    if one.seconds > ready + _CLOCKS:
        return "metered_too_long", f"{one.seconds:,} s are metered, and it was ready for {ready:,} s."
    is_over = one.ended_at is not None and now - one.ended_at > _NOTICED_WITHIN
    if is_over and one.seconds < ready - _CLOCKS:
        return "metered_too_short", f"{one.seconds:,} s are metered, and it was ready for {ready:,} s."
    if not is_over and one.ended_at is None and now - (one.metered_until or one.ready_at) > _NOTICED_WITHIN:
        return "not_metered", f"It serves, and nothing is metered since {one.metered_until or one.ready_at:%H:%M} UTC."
    if not has_asked:
        return "", ""
    return _against_container(one, container, now)


def _against_container(one: Metered, container: Container | None, now: dt.datetime) -> tuple[str, str]:
    if container is None:
        if one.is_serving and one.ready_at is not None and now - one.ready_at > _NOTICED_WITHIN:
            return "no_container", "It is metered as ready, and the runtime knows no container of it."
        return "", ""
    until = container.finished_at or now
    if container.status == "exited" and container.finished_at is not None:
        metered_until = one.metered_until or one.ready_at
        if metered_until is not None and metered_until - container.finished_at > _NOTICED_WITHIN:
            return (
                "metered_after_exit",
                f"Its container ended at {container.finished_at:%H:%M:%S} UTC, seconds are metered until"
                f" {metered_until:%H:%M:%S}.",
            )
    if container.started_at is not None and not one.has_slept:
        ran = max((until - container.started_at) // dt.timedelta(seconds=1), 0)
        if one.seconds > ran + _CLOCKS:
            return "metered_longer_than_ran", f"{one.seconds:,} s are metered, and its container ran for {ran:,} s."
    return "", ""


def replicas(window: Window, *, runtime: ContainerRuntime) -> Result:
    """R7 over what serves or has ended lately. Raises RuntimeUnreachable."""
    containers = {container.replica_id: container for container in runtime.list()}
    lately = Q(ended_at=None) | Q(ended_at__gte=window.now - _ENDED_WITHIN)
    rows = list(Replica.objects.filter(lately, ready_at__isnull=False).select_related("deployment").order_by("pk"))
    ready = ReplicaUsage.objects.filter(replica_id__in=[row.pk for row in rows]).exclude(state__in=_NOT_READY)
    sums = dict(ready.order_by().values_list("replica_id").annotate(total=Sum("seconds")))
    facts = [
        Metered(
            replica_id=row.pk,
            organization_id=row.deployment.organization_id,
            deployment_id=row.deployment_id,
            is_serving=row.status == ReplicaStatus.READY,
            ready_at=row.ready_at,
            ended_at=row.ended_at,
            seconds=int(sums.get(row.pk, 0)),
            metered_until=row.metered_until,
            answerable=replica_time.answerable_seconds(row, until=min(row.ended_at or window.now, window.now)),
            has_slept=row.spans.filter(status=ReplicaStatus.STOPPED).exists(),
        )
        for row in rows
    ]
    findings = compare_replicas(facts, containers, now=window.now)
    return Result(compared=len(facts), findings=findings[:KEPT_MOST], finding_count=len(findings))
