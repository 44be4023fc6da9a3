"""Every change of the wanted number is kept with its reason and the figures behind it, for weeks."""

import datetime as dt
from typing import Any, Final

from django.db.models import QuerySet

from moorage.accounts.actor import MOORAGE
from moorage.deployments import states
from moorage.deployments.models import Deployment, ScaleDecision

#: How long decisions are kept.
KEPT: Final = dt.timedelta(days=30)
#: Rows forgotten at once.
_AT_ONCE: Final = 5000


def note(
    deployment: Deployment,
    *,
    model_key: str,
    before: int,
    wanted: int,
    why: str,
    signals: dict[str, Any],
    at: dt.datetime,
) -> None:
    """Keeps one decision. Call it in the transaction that writes the number."""
    ScaleDecision.objects.create(
        deployment=deployment, model_key=model_key, before=before, wanted=wanted, why=why[:300], signals=signals, at=at
    )
    # A person's deed has its own event.
    if before != wanted and signals:
        message = f"{model_key}: from {before} to {wanted} replicas. {why}"
        states.note(deployment, code="scaled", message=message, by=MOORAGE)


def decisions(deployment: Deployment) -> QuerySet[ScaleDecision]:
    """Its decisions, newest first."""
    return deployment.scale_decisions.order_by("-at", "-id")


def forget(*, now: dt.datetime) -> int:
    """Removes decisions that are older than KEPT, some at a time; how many."""
    old = ScaleDecision.objects.filter(at__lt=now - KEPT).order_by("at").values_list("pk", flat=True)[:_AT_ONCE]
    return ScaleDecision.objects.filter(pk__in=list(old)).delete()[0]
