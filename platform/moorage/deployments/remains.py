"""The nightly report of what was left behind: a row every night, also when it says "none".

It looks once more itself, so that "none" means that somebody has looked and not that nobody has.
"""

import datetime as dt
from typing import Final

from django.db import transaction
from django.db.models import Q, QuerySet

from moorage.accounts import audit
from moorage.accounts.actor import MOORAGE, Actor
from moorage.deployments import log_following, orphans
from moorage.deployments.models import Orphan, RemainsReport
from moorage.fleet import database_clock
from moorage.fleet import errors as fleet_errors
from moorage.fleet.runtime import ContainerRuntime

#: The hour (UTC) from which on a night's report is due.
HOUR: Final = 3
KEPT: Final = dt.timedelta(days=400)


def report_if_due(*, runtime: ContainerRuntime) -> RemainsReport | None:
    """The report of this night, if there is none yet. Calling it often is how it is never forgotten."""
    now = database_clock.now()
    due_at = now.replace(hour=HOUR, minute=0, second=0, microsecond=0)
    if now < due_at:
        due_at -= dt.timedelta(days=1)
    if RemainsReport.objects.filter(at__gte=due_at, by=MOORAGE.label).exists():
        return None
    return report(runtime=runtime, by=MOORAGE)


def report(*, runtime: ContainerRuntime, by: Actor) -> RemainsReport:
    """Looks at everything, removes what is left behind, and writes down what was found since the last report."""
    now = database_clock.now()
    try:
        looked = orphans.look(runtime=runtime)
    except fleet_errors.RuntimeUnreachable as error:
        looked = orphans.Look(problem=f"{error.message} What runs could not be looked at.")
    log_following.discard_old()
    with transaction.atomic():
        last = RemainsReport.objects.order_by("-at").values_list("at", flat=True).first()
        since = last or now - dt.timedelta(days=1)
        mine = Orphan.objects.filter(Q(found_at__gte=since) | Q(removed_at__gte=since) | Q(removed_at=None))
        # One that was merely seen before it ran is none while it is young.
        young = Q(removed_at=None, found_at__gt=now - orphans.YOUNG)
        rows = mine.exclude(young).order_by("found_at")
        made = RemainsReport.objects.create(
            since=since,
            by=by.label,
            found=[_document(row) for row in rows],
            looked_at=looked.looked_at,
            problem=looked.problem,
        )
        if by is not MOORAGE:
            audit.record(organization=None, by=by, action="remains.looked", subject=str(made.pk))
        RemainsReport.objects.filter(at__lt=now - KEPT).delete()
        Orphan.objects.filter(removed_at__lt=now - KEPT).delete()
    return made


def reports() -> QuerySet[RemainsReport]:
    """All that are kept, newest first."""
    return RemainsReport.objects.order_by("-at")


def _document(row: Orphan) -> dict[str, str | None]:
    return {
        "kind": row.kind,
        "name": row.name,
        "replica_id": row.replica_id,
        "found_at": row.found_at.isoformat(),
        "removed_at": row.removed_at.isoformat() if row.removed_at else None,
        "problem": row.problem,
    }
