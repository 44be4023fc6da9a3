"""What a replica's container is started with: the operator's policy, by how far an organization is trusted.

MOORAGE_RUNTIME_CLASSES names a container runtime of the Engine for each class (``default=runc,untrusted=runsc``). An
administrator puts an organization into a class; a tenant cannot choose. A class whose runtime is missing is refused,
and never replaced by another.
"""

from typing import Final

from django.conf import settings
from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.fleet.errors import RuntimeClassMissing
from moorage.fleet.models import OrganizationTrust
from moorage.kernel import clock
from moorage.kernel.errors import InvalidInput

DEFAULT: Final = "default"


def classes() -> tuple[str, ...]:
    """The classes that the operator has named, the usual one first."""
    return tuple(sorted(settings.MOORAGE_RUNTIME_CLASSES, key=lambda name: (name != DEFAULT, name)))


def policy() -> dict[str, str]:
    """What containers are started with, by class."""
    return {name: str(settings.MOORAGE_RUNTIME_CLASSES[name]) for name in classes()}


def class_of(organization_id: str) -> str:
    """The class of an organization."""
    row = OrganizationTrust.objects.filter(pk=organization_id).values_list("trust_class", flat=True).first()
    return row or DEFAULT


def container_runtime(organization_id: str) -> str:
    """What the containers of an organization are started with. Raises RuntimeClassMissing."""
    trust_class = class_of(organization_id)
    try:
        return str(settings.MOORAGE_RUNTIME_CLASSES[trust_class])
    except KeyError:
        raise RuntimeClassMissing(
            f"MOORAGE_RUNTIME_CLASSES names no container runtime for the class {trust_class!r}, in which this"
            " organization is; nothing of it is started until it does."
        ) from None


@transaction.atomic
def set_class(*, organization: Organization, trust_class: str, by: Actor) -> None:
    """Put an organization into a class. What runs goes on as it is; what starts from now on starts so.

    For administrators alone: callers let nobody else in. Raises InvalidInput for a class that there is not.
    """
    if trust_class not in settings.MOORAGE_RUNTIME_CLASSES:
        raise InvalidInput(
            f"There is no class {trust_class!r}; there are: {', '.join(classes())}.", param="trust_class"
        )
    before = class_of(organization.pk)
    if before == trust_class:
        return
    OrganizationTrust.objects.update_or_create(
        pk=organization.pk, defaults={"trust_class": trust_class, "changed_at": clock.now()}
    )
    audit.record(
        organization=organization,
        by=by,
        action="organization.trust_class_changed",
        subject=organization.pk,
        detail={"from": before, "to": trust_class},
    )
