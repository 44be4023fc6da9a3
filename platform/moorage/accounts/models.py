"""Who is who: users, organizations, memberships, API keys and the audit log.

An organization owns everything and is billed. Rows of a tenant leave the database through
``.for_organization(organization)``.
"""

from typing import Self

from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, BaseUserManager
from django.core.validators import RegexValidator
from django.db import models

from moorage.kernel import clock, currencies, ids


def new_organization_id() -> str:
    """An id for an organization."""
    return ids.new("org")


def default_currency() -> str:
    """What a new organization pays in: MOORAGE_CURRENCY."""
    return str(settings.MOORAGE_CURRENCY)


def new_user_id() -> str:
    """An id for a user."""
    return ids.new("usr")


def new_membership_id() -> str:
    """An id for a membership."""
    return ids.new("mem")


def new_key_id() -> str:
    """An id for an API key."""
    return ids.new("key")


def new_audit_id() -> str:
    """An id for an audit entry."""
    return ids.new("aud")


class UserManager(BaseUserManager["User"]):
    """Makes users by e-mail address."""

    def create_user(self, email: str, password: str | None = None, *, is_administrator: bool = False) -> "User":
        """A saved user; the address is lower-cased."""
        user = self.model(email=email.strip().lower(), is_administrator=is_administrator)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None) -> "User":
        """An administrator, for ``./manage.py createsuperuser``."""
        return self.create_user(email, password, is_administrator=True)

    def get_by_natural_key(self, username: str | None) -> "User":
        """Addresses are compared lower-cased."""
        return self.get(email=(username or "").strip().lower())


class User(AbstractBaseUser):
    """A person who signs in. An administrator reviews the billing of all organizations."""

    id = models.CharField(primary_key=True, max_length=40, default=new_user_id, editable=False)
    email = models.EmailField(unique=True)
    is_administrator = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    created_at = models.DateTimeField(default=clock.now)

    objects = UserManager()

    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []

    class Meta:
        db_table = "user"

    def __str__(self) -> str:
        return self.email


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


class Scope(models.TextChoices):
    """What an API key opens: the gateway, one organization's REST, or the administrator's REST."""

    INFERENCE = "inference", "Call endpoints"
    MANAGE = "manage", "Manage the organization"
    ADMIN = "admin", "Review all organizations"


class Priority(models.TextChoices):
    """A key's share of the turns among its organization's keys, where requests wait: each four times the last."""

    LOW = "low", "Low: may wait"
    NORMAL = "normal", "Normal"
    HIGH = "high", "High: goes first"


class ApiKeyQuerySet(models.QuerySet["ApiKey"]):
    """Questions about keys."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class ApiKey(models.Model):
    """A secret for calling: shown once, stored as its SHA-256, told apart by its first characters."""

    id = models.CharField(primary_key=True, max_length=40, default=new_key_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="keys")
    name = models.CharField(max_length=80)
    shown = models.CharField(max_length=20)
    sha256 = models.BinaryField(max_length=32, unique=True)
    scopes = models.JSONField(default=list)
    #: Served names it is limited to; empty: all of the organization.
    served_names = models.JSONField(default=list)
    #: Networks in CIDR form it may be used from at the gateway; empty: anywhere.
    networks = models.JSONField(default=list)
    priority = models.CharField(max_length=8, choices=Priority, default=Priority.NORMAL)
    created_at = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=80)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    last_used_at = models.DateTimeField(null=True, blank=True)

    objects = ApiKeyQuerySet.as_manager()

    class Meta:
        db_table = "api_key"
        indexes = [models.Index(fields=["organization", "-created_at"], name="api_key_by_organization")]

    def __str__(self) -> str:
        return f"{self.shown}… ({self.name})"


class AuditEntryQuerySet(models.QuerySet["AuditEntry"]):
    """Questions about the audit log."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class AuditEntry(models.Model):
    """Who did what, written in the same transaction as the deed. Never changed."""

    id = models.CharField(primary_key=True, max_length=40, default=new_audit_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, null=True, related_name="audit_entries")
    actor = models.CharField(max_length=80)
    action = models.CharField(max_length=80)
    subject = models.CharField(max_length=120)
    detail = models.JSONField(default=dict)
    at = models.DateTimeField(default=clock.now)

    objects = AuditEntryQuerySet.as_manager()

    class Meta:
        db_table = "audit_entry"
        indexes = [models.Index(fields=["organization", "-at"], name="audit_entry_by_organization")]


class SubjectLimitQuerySet(models.QuerySet["SubjectLimit"]):
    """Questions about limits."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class SubjectLimit(models.Model):
    """The limits of one subject: an organization, one of its keys or one of its deployments, by id.

    Triggers carry a change to the gateways and to the allowances of the windows that are running.
    """

    subject = models.CharField(primary_key=True, max_length=40)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    #: wire.limits.Limits.
    limits = models.JSONField(default=dict)
    changed_at = models.DateTimeField(default=clock.now)

    objects = SubjectLimitQuerySet.as_manager()

    class Meta:
        db_table = "subject_limit"


class AllowanceQuerySet(models.QuerySet["Allowance"]):
    """Questions about allowances."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class Allowance(models.Model):
    """What there is of one limit in one window, what of it is used, and what is leased to gateway workers.

    Written by the SQL functions of migration 0004 alone. The constraint is what makes a cap one: whatever the workers
    do, used and leased together stay within it. Windows are Unix seconds, ``[starts, ends)``.
    """

    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="+")
    subject = models.CharField(max_length=40)
    measure = models.CharField(max_length=16)
    window = models.CharField(max_length=16)
    starts = models.BigIntegerField()
    ends = models.BigIntegerField()
    #: In force now; it may be lowered below what is used.
    capacity = models.DecimalField(max_digits=38, decimal_places=0)
    #: The highest capacity there was in this window.
    ceiling = models.DecimalField(max_digits=38, decimal_places=0)
    used = models.DecimalField(max_digits=38, decimal_places=0, default=0)
    leased = models.DecimalField(max_digits=38, decimal_places=0, default=0)

    objects = AllowanceQuerySet.as_manager()

    class Meta:
        db_table = "allowance"
        constraints = [
            models.UniqueConstraint(fields=["subject", "measure", "window", "starts"], name="allowance_once_a_window"),
            models.CheckConstraint(
                condition=models.Q(used__gte=0, leased__gte=0, capacity__gte=0, capacity__lte=models.F("ceiling")),
                name="allowance_is_sane",
            ),
            models.CheckConstraint(
                condition=models.Q(ceiling__gte=models.F("used") + models.F("leased")), name="allowance_is_not_crossed"
            ),
        ]
        indexes = [models.Index(fields=["ends"], name="allowance_by_end")]


class GatewayWorker(models.Model):
    """One boot of one gateway worker, while it holds leases or its journal is not settled."""

    boot_id = models.CharField(primary_key=True, max_length=40)
    started_at = models.DateTimeField(default=clock.now)
    heartbeat_at = models.DateTimeField(default=clock.now)
    #: The number of its last report: the same report told twice counts once.
    report = models.BigIntegerField(default=0)

    class Meta:
        db_table = "gateway_worker"


class Lease(models.Model):
    """What one worker may still use of one allowance without asking anybody."""

    worker = models.ForeignKey(GatewayWorker, on_delete=models.PROTECT, related_name="leases", db_column="boot_id")
    allowance = models.ForeignKey(Allowance, on_delete=models.CASCADE, related_name="leases")
    amount = models.DecimalField(max_digits=38, decimal_places=0)
    #: What was settled of it until then (the worker's clock, Unix microseconds) is in the allowance's ``used``.
    told_until_us = models.BigIntegerField(default=0)

    class Meta:
        db_table = "lease"
        constraints = [
            models.UniqueConstraint(fields=["worker", "allowance"], name="lease_once_a_worker"),
            models.CheckConstraint(condition=models.Q(amount__gte=0), name="lease_is_not_negative"),
        ]
