"""Every component in every state on one page, for whoever changes them. Nothing on it is stored."""

import datetime as dt
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe

from moorage.accounts.models import Organization, Standing
from moorage.billing.models import InvoiceStatus
from moorage.compose.problems import Problem
from moorage.console import compose_notes
from moorage.console.deployment_live import Live
from moorage.console.doors import administrator
from moorage.console.forms_deploy import NewForm
from moorage.console.forms_keys import KeyForm
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Revision, TimelineEvent
from moorage.deployments.reasons import Reason
from moorage.kernel import clock

_FILE = "models:\n  llm:\n    modle: catalog/harbour:q8_0\n    context_size: many\n"
_REASONS = {
    ReplicaStatus.PENDING: Reason.NO_CAPACITY,
    ReplicaStatus.PLACED: Reason.PLACED,
    ReplicaStatus.PULLING: Reason.PULLING,
    ReplicaStatus.STARTING: Reason.STARTING,
    ReplicaStatus.READY: Reason.FIRST_TOKEN,
    ReplicaStatus.DRAINING: Reason.NEW_REVISION,
    ReplicaStatus.FROZEN: Reason.FROZEN,
    ReplicaStatus.STOPPED: Reason.STOPPED,
    ReplicaStatus.STOPPING: Reason.DRAINED,
    ReplicaStatus.FAILED: Reason.OUT_OF_MEMORY,
    ReplicaStatus.GONE: Reason.REMOVED,
}


@administrator
@require_safe
def gallery(request: HttpRequest) -> HttpResponse:
    """For administrators only."""
    now = clock.now()
    messages.info(request, "Something to know.")
    messages.success(request, "Something that was done.")
    messages.warning(request, "Something to look at.")
    messages.error(request, "Something that was not done, and what to do about it.")
    context: dict[str, Any] = {
        "organization": Organization(slug="harbour", name="Harbour"),
        "lives": [_live(status, now) for status in DeploymentStatus],
        "statuses": [*DeploymentStatus, *ReplicaStatus, *Standing, *InvoiceStatus],
        "moments": [now, now - dt.timedelta(seconds=40), now - dt.timedelta(days=3, hours=4), now + dt.timedelta(30)],
        "amounts": [0, 125_000_000, 1_234_567_890_123_456, -50_000_000_000],
        "sizes": [999, 7_800_000, 41_000_000_000],
        "lines": compose_notes.noted(_FILE, _problems()),
        "empty_form": NewForm(),
        "wrong_form": NewForm({"name": "", "variables": "not a variable"}),
        "key_form": KeyForm(),
        "after": "cursor",
    }
    return render(request, "console/ui.html", context)


def _live(status: DeploymentStatus, now: dt.datetime) -> Live:
    name = f"example-{status}"
    deployment = Deployment(
        id=f"dep_{status}", name=name, status=status, reason="A sentence that says why.", status_changed_at=now
    )
    replicas = tuple(_replica(one, deployment, now) for one in ReplicaStatus if status == DeploymentStatus.DEGRADED)
    event = TimelineEvent(code="deployment_ready", message="Serves requests.", by="Moorage", at=now)
    return Live(
        deployment=deployment,
        replicas=replicas,
        replicas_ready=1,
        replicas_wanted=1,
        events=(event,),
        has_more_events=status == DeploymentStatus.DEGRADED,
    )


def _replica(status: ReplicaStatus, deployment: Deployment, now: dt.datetime) -> Replica:
    return Replica(
        id=f"rep_{status}",
        deployment=deployment,
        revision=Revision(number=3),
        model_key="llm",
        status=status,
        reason=_REASONS[status].explain(),
        status_changed_at=now - dt.timedelta(seconds=4),
        pulled_bytes=3_100_000,
        total_bytes=7_800_000,
        argv=["llama-server", "--host", "/run/replica.sock", "--ctx-size", "512"],
        engine="llamacpp",
    )


def _problems() -> tuple[Problem, ...]:
    return (
        Problem(path="models.llm.modle", line=3, column=5, message="Did you mean model?", severity="error"),
        Problem(path="models.llm.context_size", line=4, column=19, message="Must be a whole number.", severity="error"),
        Problem(path="models", line=1, column=1, message="This key is ignored.", severity="warning"),
    )
