"""Organizations, who is a member of them, and with which role."""

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models

from moorage.accounts.models.user import User
from moorage.kernel import clock, currencies, ids


def new_organization_id() -> str:
    """An id for an organization."""
    return ids.new("org")


def default_currency() -> str:
    """What a new organization pays in: MOORAGE_CURRENCY."""
    return str(settings.MOORAGE_CURRENCY)


def new_membership_id() -> str:
    """An id for a membership."""
    return ids.new("mem")


class Standing(models.TextChoices):
    """Whether an organization may be served. Written by billing, read by all."""

    ACTIVE = "active", "Active"
    PAST_DUE = "past_due", "Past due"
    SUSPENDED = "suspended", "Suspended"


class Withheld(models.TextChoices):
    """Why nothing of an organization runs. Written by deployments (withholding.py), as billing decides."""

    BALANCE = "balance", "Balance used up"
    STANDING = "standing", "Suspended"


class Organization(models.Model):
    """A tenant: owns deployments, keys and usage, and is billed for them."""

    id = models.CharField(primary_key=True, max_length=40, default=new_organization_id, editable=False)
    slug = models.CharField(
        max_length=40,
        unique=True,
        validators=[RegexValidator(r"^[a-z0-9](?:[a-z0-9-]{0,38}[a-z0-9])?$", "Use a–z, 0–9 and single hyphens.")],
    )
    name = models.CharField(max_length=80)
    standing = models.CharField(max_length=16, choices=Standing, default=Standing.ACTIVE)
    #: The gateways hold its requests to its balance. Written through accounts/allowances.py.
    has_wallet = models.BooleanField(default=False, db_default=False)
    #: Why none of its replicas runs for now; empty: they may.
    withheld = models.CharField(max_length=16, choices=Withheld, blank=True, default="", db_default="")
    #: ISO 4217: prices, charges, invoices and limits of the organization are in it and in no other. What billing has
    #: of the organization refers to it, so that it changes only as long as there is nothing (billing/currencies.py).
    currency = models.CharField(max_length=3, default=default_currency, db_default=currencies.USD)
    created_at = models.DateTimeField(default=clock.now)

    members: "models.ManyToManyField[User, Membership]" = models.ManyToManyField(
        User, through="Membership", related_name="organizations"
    )

    class Meta:
        db_table = "organization"
        constraints = [
            models.UniqueConstraint(fields=["id", "currency"], name="organization_currency_is_of"),
            models.CheckConstraint(
                condition=models.Q(currency__in=currencies.CENTS), name="organization_currency_has_cents"
            ),
        ]

    def __str__(self) -> str:
        return self.slug


class Role(models.TextChoices):
    """What a member may do, most first."""

    OWNER = "owner", "Owner"
    ADMIN = "admin", "Admin"
    DEVELOPER = "developer", "Developer"
    BILLING = "billing", "Billing"


class Membership(models.Model):
    """A user in an organization, with a role."""

    id = models.CharField(primary_key=True, max_length=40, default=new_membership_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=16, choices=Role)
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "membership"
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_once_per_organization"),
        ]
