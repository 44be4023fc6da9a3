"""The audit log: who did what."""

from typing import Self

from django.db import models

from moorage.accounts.models.organization import Organization
from moorage.kernel import clock, ids


def new_audit_id() -> str:
    """An id for an audit entry."""
    return ids.new("aud")


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
