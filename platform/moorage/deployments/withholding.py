"""Whoever does not pay is not served, and nothing of theirs runs on at somebody else's cost.

Billing decides; here it is made so. The fact is kept with the organization, so that a look at any of its deployments,
also at one that is applied later, comes to the same: none wanted, replicas drain and stop, the deployment says why.
When it is taken back the minimum runs again by itself; what had none is idle and wakes on a request.
"""

from typing import Final

from django.db import transaction

from moorage.accounts import services as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization, Withheld
from moorage.deployments import states
from moorage.deployments.models import Deployment, DeploymentStatus
from moorage.deployments.reasons import Reason
from moorage.fleet import database_clock

_REASONS: Final = {Withheld.BALANCE: Reason.WITHHELD_BALANCE, Withheld.STANDING: Reason.WITHHELD_STANDING}


def reason_of(organization: Organization) -> Reason | None:
    """Why nothing of ``organization`` should run; None where it may."""
    return _REASONS[Withheld(organization.withheld)] if organization.withheld else None


def withhold(*, organization: Organization, why: Withheld, by: Actor) -> bool:
    """From now on nothing of ``organization`` runs; requests in its replicas get the time of a drain. Whether that is
    new."""
    return _set(organization, why, by, _REASONS[why].explain())


def release(*, organization: Organization, by: Actor) -> bool:
    """What ``organization`` wants running may run again. Whether that is new."""
    return _set(organization, None, by, "Paid: may run again.")


@transaction.atomic
def _set(organization: Organization, why: Withheld | None, by: Actor, message: str) -> bool:
    if not accounts.set_withheld(organization=organization, why=why, by=by):
        return False
    present = Deployment.objects.for_organization(organization).exclude(
        status__in=[DeploymentStatus.DELETING, DeploymentStatus.DELETED]
    )
    for deployment in present.order_by("pk"):
        Deployment.objects.filter(pk=deployment.pk).update(reconcile_at=database_clock.now())
        states.note(deployment, code="withheld" if why else "released", message=message, by=by)
    return True
