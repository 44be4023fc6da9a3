"""The questions about accounts."""

import hmac

from django.db.models import QuerySet

from moorage.accounts.errors import RoleTooLow
from moorage.accounts.models import ApiKey, Membership, Organization, Role, Scope, User
from moorage.kernel import clock
from moorage.kernel import secrets as keys
from moorage.kernel.errors import NotFound

#: Which roles may change what runs, and which may see and pay the bill.
MAY_DEPLOY = frozenset({Role.OWNER, Role.ADMIN, Role.DEVELOPER})
MAY_MANAGE_KEYS = frozenset({Role.OWNER, Role.ADMIN, Role.DEVELOPER})
MAY_SEE_BILLING = frozenset({Role.OWNER, Role.ADMIN, Role.BILLING, Role.DEVELOPER})
MAY_MANAGE_MEMBERS = frozenset({Role.OWNER, Role.ADMIN})


def organizations_of(user: User) -> QuerySet[Organization]:
    """The organizations ``user`` is a member of, by name."""
    return Organization.objects.filter(memberships__user=user).order_by("name", "id")


def membership_of(*, user: User, slug: str) -> Membership:
    """``user``'s membership in the organization ``slug``. Raises NotFound for a stranger and for an unknown slug."""
    membership = (
        Membership.objects.select_related("organization", "user").filter(organization__slug=slug, user=user).first()
    )
    if membership is None:
        raise NotFound("There is no such organization, or you are not a member of it.")
    return membership


def require_role(membership: Membership, allowed: frozenset[Role]) -> None:
    """Raises RoleTooLow unless the member's role is one of ``allowed``."""
    if Role(membership.role) not in allowed:
        raise RoleTooLow


def key_for_secret(secret: str) -> ApiKey | None:
    """The live key with this secret, or None: unknown, revoked and expired look the same."""
    if not secret.isascii() or not keys.looks_like_key(secret):
        return None
    digest = keys.digest(secret)
    key = ApiKey.objects.select_related("organization").filter(sha256=digest, revoked_at=None).first()
    if key is None or not hmac.compare_digest(bytes(key.sha256), digest):
        return None
    if key.expires_at is not None and key.expires_at <= clock.now():
        return None
    return key


def has_scope(key: ApiKey, scope: Scope) -> bool:
    """Whether ``key`` opens ``scope``."""
    return str(scope) in key.scopes
