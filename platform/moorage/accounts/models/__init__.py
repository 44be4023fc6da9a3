"""Who is who: users, organizations, memberships, API keys and the audit log.

An organization owns everything and is billed. Rows of a tenant leave the database through
``.for_organization(organization)``.
"""

from moorage.accounts.models.allowance import (
    Allowance,
    AllowanceQuerySet,
    GatewayWorker,
    Lease,
    SubjectLimit,
    SubjectLimitQuerySet,
)
from moorage.accounts.models.api_key import ApiKey, ApiKeyQuerySet, Priority, Scope, new_key_id
from moorage.accounts.models.audit_entry import AuditEntry, AuditEntryQuerySet, new_audit_id
from moorage.accounts.models.organization import (
    Membership,
    Organization,
    Role,
    Standing,
    Withheld,
    default_currency,
    new_membership_id,
    new_organization_id,
)
from moorage.accounts.models.user import User, UserManager, new_user_id

__all__ = [
    "Allowance",
    "AllowanceQuerySet",
    "ApiKey",
    "ApiKeyQuerySet",
    "AuditEntry",
    "AuditEntryQuerySet",
    "GatewayWorker",
    "Lease",
    "Membership",
    "Organization",
    "Priority",
    "Role",
    "Scope",
    "Standing",
    "SubjectLimit",
    "SubjectLimitQuerySet",
    "User",
    "UserManager",
    "Withheld",
    "default_currency",
    "new_audit_id",
    "new_key_id",
    "new_membership_id",
    "new_organization_id",
    "new_user_id",
]
