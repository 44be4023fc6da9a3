"""API keys: what they open, where from, and how soon."""

from typing import Self

from django.db import models

from moorage.accounts.models.organization import Organization
from moorage.kernel import clock, ids


def new_key_id() -> str:
    """An id for an API key."""
    return ids.new("key")


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
