"""The verbs of deployments: apply, delete, pause, resume, roll back. Each one transaction; reconcile does the rest.

The commit itself rings: a trigger on ``reconcile_at`` notifies the doorbell.
"""

import dataclasses
from collections.abc import Mapping

from django.db import transaction

from moorage.accounts import audit
from moorage.accounts import queries as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.compose.problems import Problem
from moorage.deployments import states, targets, trials, updates
from moorage.deployments.draft import Draft, draft
from moorage.deployments.errors import BeingDeleted, NoTrial, NoUpdate, RevisionNotFound
from moorage.deployments.models import Deployment, DeploymentStatus, Revision, Route
from moorage.deployments.reasons import Reason
from moorage.deployments.served_names import check_served_names
from moorage.fleet import database_clock


@dataclasses.dataclass(frozen=True, kw_only=True)
class Applied:
    """What an apply came to. ``is_changed`` is false for a repeated PUT of the same content."""

    deployment: Deployment
    revision: Revision
    is_new: bool
    is_changed: bool
    warnings: tuple[Problem, ...]


def apply(
    *, organization: Organization, name: str, compose_text: str, variables: Mapping[str, str] | None = None, by: Actor
) -> Applied:
    """Makes the Compose file what ``organization`` wants running as ``name``.

    The same content again is the same revision and changes nothing. Raises SpecInvalid with every problem,
    RegistryUnreachable, ServedNameTaken, BeingDeleted, OrganizationSuspended.
    """
    prepared = draft(organization=organization, name=name, compose_text=compose_text, variables=variables or {})
    return write(organization=organization, prepared=prepared, by=by)


@transaction.atomic
def write(*, organization: Organization, prepared: Draft, by: Actor) -> Applied:
    """The transaction of an apply: deployment (new or found), revision (new or the same), target, timeline, audit."""
    accounts.require_not_suspended(organization)
    # One apply at a time in an organization: two first PUTs of one name, or of one served name, must not race.
    Organization.objects.select_for_update().get(pk=organization.pk)
    check_served_names(organization, prepared)
    deployment = Deployment.objects.for_organization(organization).not_deleted().filter(name=prepared.name).first()
    is_new = deployment is None
    if deployment is None:
        deployment = Deployment.objects.create(
            organization=organization,
            name=prepared.name,
            reason_code=Reason.NEW.code,
            reason=Reason.NEW.explain(),
        )
    elif deployment.status == DeploymentStatus.DELETING:
        raise BeingDeleted
    revision = deployment.revisions.filter(content_hash=prepared.content_hash).first()
    if revision is None:
        last = deployment.revisions.order_by("-number").first()
        revision = Revision.objects.create(
            deployment=deployment,
            number=last.number + 1 if last else 1,
            compose=prepared.compose_text,
            variables=prepared.variables,
            created_by=by.label[:80],
            content_hash=prepared.content_hash,
            **prepared.content,
        )
    is_changed = deployment.target_id != revision.pk
    if is_changed:
        message = f"Revision {revision.number} is wanted."
        targets.aim(deployment, revision, by=by, code="revision_applied", message=message, is_tried=True)
        audit.record(
            organization=organization,
            by=by,
            action="deployment.applied",
            subject=deployment.pk,
            detail={"name": deployment.name, "revision": revision.number},
        )
    return Applied(
        deployment=deployment, revision=revision, is_new=is_new, is_changed=is_changed, warnings=prepared.warnings
    )


@transaction.atomic
def roll_back(*, deployment: Deployment, number: int, by: Actor) -> Revision:
    """Makes any other revision the target, at once: whoever goes back has no time for a trial.

    Raises RevisionNotFound, BeingDeleted, OrganizationSuspended.
    """
    accounts.require_not_suspended(deployment.organization)
    deployment = _locked(deployment)
    revision = deployment.revisions.filter(number=number).first()
    if revision is None:
        raise RevisionNotFound
    if deployment.target_id != revision.pk:
        message = f"Rolled back to revision {number}."
        targets.aim(deployment, revision, by=by, code="rolled_back", message=message)
        audit.record(
            organization=deployment.organization,
            by=by,
            action="deployment.rolled_back",
            subject=deployment.pk,
            detail={"name": deployment.name, "revision": number},
        )
    return revision


@transaction.atomic
def promote(*, deployment: Deployment, by: Actor) -> Revision:
    """Ends the trial of a revision: it gets all requests. Raises NoTrial, BeingDeleted."""
    deployment = _locked(deployment)
    update = updates.open_of(deployment)
    if update is None or not trials.promote(update, why="Its owner has seen enough.", by=by):
        raise NoTrial
    return update.revision


@transaction.atomic
def roll_back_update(*, deployment: Deployment, by: Actor) -> Revision:
    """Takes the update back that is under way: what served before it is wanted again. Raises NoUpdate, BeingDeleted,
    OrganizationSuspended."""
    accounts.require_not_suspended(deployment.organization)
    deployment = _locked(deployment)
    update = updates.open_of(deployment)
    if update is None or update.baseline is None:
        raise NoUpdate
    trials.roll_back(update, why="Its owner has seen enough.", by=by, code="update_rolled_back")
    return update.baseline


def pause(*, deployment: Deployment, by: Actor) -> None:
    """Runs none until resumed; requests do not wake it. Idempotent."""
    _set_paused(deployment, is_paused=True, by=by)


def resume(*, deployment: Deployment, by: Actor) -> None:
    """Undoes a pause. Idempotent. Raises OrganizationSuspended."""
    accounts.require_not_suspended(deployment.organization)
    _set_paused(deployment, is_paused=False, by=by)


@transaction.atomic
def try_again(*, deployment: Deployment, by: Actor) -> None:
    """Forgives what has failed so far: it is tried again now. Nothing happens where nothing has failed.

    Raises BeingDeleted, OrganizationSuspended.
    """
    accounts.require_not_suspended(deployment.organization)
    deployment_now = _locked(deployment)
    if deployment_now.status in {DeploymentStatus.READY, DeploymentStatus.IDLE, DeploymentStatus.PAUSED}:
        return
    Deployment.objects.filter(pk=deployment.pk).update(tries_from=database_clock.now())
    states.begin_provisioning(deployment_now, code="tried_again", message="It is tried again now.", by=by)
    audit.record(
        organization=deployment_now.organization,
        by=by,
        action="deployment.tried_again",
        subject=deployment.pk,
        detail={"name": deployment.name},
    )
    deployment.refresh_from_db()


@transaction.atomic
def delete(*, deployment: Deployment, by: Actor) -> None:
    """Ends the deployment: its routes go at once, its replicas are drained and removed. Usage stays. Idempotent."""
    changed = (
        Deployment.objects.filter(pk=deployment.pk)
        .exclude(status__in=[DeploymentStatus.DELETING, DeploymentStatus.DELETED])
        .update(
            status=DeploymentStatus.DELETING,
            reason_code=Reason.DELETED.code,
            reason=Reason.DELETED.explain(),
            status_changed_at=database_clock.now(),
            reconcile_at=database_clock.now(),
        )
    )
    if changed:
        # Gateways hear of it at once: a draining replica must not receive the request that wakes it.
        Route.objects.filter(deployment_id=deployment.pk).delete()
        states.note(deployment, code="deployment_deleting", message=Reason.DELETED.explain(), by=by)
        audit.record(
            organization=deployment.organization,
            by=by,
            action="deployment.deleted",
            subject=deployment.pk,
            detail={"name": deployment.name},
        )
    deployment.refresh_from_db()


def ring(deployment_id: str) -> None:
    """Makes a look at the deployment due now; the database tells the doorbell."""
    Deployment.objects.filter(pk=deployment_id).exclude(status=DeploymentStatus.DELETED).update(
        reconcile_at=database_clock.now()
    )


@transaction.atomic
def _set_paused(deployment: Deployment, *, is_paused: bool, by: Actor) -> None:
    deployment_now = _locked(deployment)
    if deployment_now.is_paused == is_paused:
        return
    word = "paused" if is_paused else "resumed"
    deployment_now.is_paused = is_paused
    if is_paused:
        Deployment.objects.filter(pk=deployment.pk).update(is_paused=True, reconcile_at=database_clock.now())
        states.note(deployment_now, code=word, message="Deployment paused.", by=by)
    else:
        targets.want_again(deployment_now)
        states.begin_provisioning(deployment_now, code=word, message="Deployment resumed.", by=by)
    audit.record(
        organization=deployment_now.organization,
        by=by,
        action=f"deployment.{word}",
        subject=deployment.pk,
        detail={"name": deployment.name},
    )
    deployment.refresh_from_db()


def _locked(deployment: Deployment) -> Deployment:
    found = Deployment.objects.select_for_update().get(pk=deployment.pk)
    if found.status in {DeploymentStatus.DELETING, DeploymentStatus.DELETED}:
        raise BeingDeleted
    return found
