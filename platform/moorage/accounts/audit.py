"""The audit log's only writer. Call it inside the transaction of the deed."""

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry, Organization


def record(
    *, organization: Organization | None, by: Actor, action: str, subject: str, detail: dict[str, object] | None = None
) -> None:
    """One line: ``by`` did ``action`` (``deployment.applied``) to ``subject`` (an id or a name). No secrets."""
    AuditEntry.objects.create(
        organization=organization,
        actor=f"{by.id}",
        action=action,
        subject=subject,
        detail={"by": by.label, **(detail or {})},
    )
