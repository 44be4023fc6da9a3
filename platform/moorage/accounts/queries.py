"""The questions about accounts."""

import datetime as dt
import hmac
from collections.abc import Iterable

from django.db.models import Q, QuerySet

from moorage.accounts.actor import KEY_LABEL, MOORAGE
from moorage.accounts.errors import OrganizationNotFound, OrganizationSuspended, RoleTooLow
from moorage.accounts.models import ApiKey, AuditEntry, Membership, Organization, Role, Scope, Standing, User
from moorage.kernel import clock
from moorage.kernel import secrets as keys
from moorage.kernel.errors import NotFound

#: Which roles may change what runs, and which may see and pay the bill.
MAY_DEPLOY = frozenset({Role.OWNER, Role.ADMIN, Role.DEVELOPER})
MAY_MANAGE_KEYS = frozenset({Role.OWNER, Role.ADMIN, Role.DEVELOPER})
MAY_SEE_BILLING = frozenset({Role.OWNER, Role.ADMIN, Role.BILLING, Role.DEVELOPER})
MAY_SET_BUDGETS = frozenset({Role.OWNER, Role.ADMIN, Role.BILLING})
MAY_PAY = frozenset({Role.OWNER, Role.BILLING})
MAY_SET_BILLING_DETAILS = frozenset({Role.OWNER})
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


def require_maker(key: ApiKey, allowed: frozenset[Role]) -> None:
    """Raises RoleTooLow unless whoever made ``key`` is a member with one of these roles now: a program may do with
    money what its maker may. The key of first boot may; one that a key has made may what that one may."""
    makers, seen = {key.created_by}, set[str]()
    while makers:
        label = makers.pop()
        if label == MOORAGE.label or label in seen:
            continue
        seen.add(label)
        if label.startswith(KEY_LABEL):
            shown = label.removeprefix(KEY_LABEL).removesuffix("…")
            made = ApiKey.objects.for_organization(key.organization).filter(shown=shown)
            makers |= set(made.values_list("created_by", flat=True))
        elif not Membership.objects.filter(
            organization_id=key.organization_id, user__email=label, role__in=allowed
        ).exists():
            raise RoleTooLow


def require_not_suspended(organization: Organization) -> None:
    """Raises OrganizationSuspended. Asked before anything is started; reading and deleting stay possible."""
    if Organization.objects.filter(pk=organization.pk, standing=Standing.SUSPENDED).exists():
        raise OrganizationSuspended


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


def members_of(organization: Organization) -> QuerySet[Membership]:
    """Everybody in ``organization``, owners first as they came."""
    return organization.memberships.select_related("user").order_by("created_at", "id")


def user_with_email(email: str) -> User:
    """The user with this address. Raises NotFound."""
    user = User.objects.filter(email=email.strip().lower(), is_active=True).first()
    if user is None:
        raise NotFound("Nobody has signed up with this address. Ask them to sign up first.")
    return user


def keys_of(organization: Organization) -> QuerySet[ApiKey]:
    """Its keys, newest first, revoked ones included; an administrator's own is not its business."""
    return (
        ApiKey.objects.for_organization(organization)
        .exclude(scopes__contains=str(Scope.ADMIN))
        .order_by("-created_at", "id")
    )


def key_of(*, organization: Organization, key_id: str) -> ApiKey:
    """One of its keys. Raises NotFound."""
    key = keys_of(organization).filter(pk=key_id).first()
    if key is None:
        raise NotFound("There is no such key in this organization.")
    return key


def organization(*, slug: str) -> Organization:
    """Any organization, for administrators alone. Raises NotFound."""
    found = Organization.objects.filter(slug=slug).first()
    if found is None:
        raise OrganizationNotFound
    return found


def organization_with_id(organization_id: str) -> Organization:
    """Any organization, for administrators alone. Raises NotFound."""
    found = Organization.objects.filter(pk=organization_id).first()
    if found is None:
        raise OrganizationNotFound
    return found


def organizations_by_id(organization_ids: Iterable[str]) -> dict[str, Organization]:
    """Those of any organization that are there, by id. For administrators alone."""
    return Organization.objects.in_bulk(set(organization_ids))


def slugs(organization_ids: Iterable[str]) -> dict[str, str]:
    """Short names of any organizations, by id. For administrators alone."""
    return dict(Organization.objects.filter(pk__in=set(organization_ids)).values_list("pk", "slug"))


def key_names(key_ids: Iterable[str]) -> dict[str, str]:
    """Names of any keys, by id. For administrators alone."""
    return dict(ApiKey.objects.filter(pk__in=set(key_ids)).values_list("pk", "name"))


def administrator_keys() -> QuerySet[ApiKey]:
    """Keys of every organization that open the administrator's REST, newest first, revoked ones included."""
    keys_found = ApiKey.objects.filter(scopes__contains=[str(Scope.ADMIN)])
    return keys_found.select_related("organization").order_by("-created_at", "id")


def audit_of(*, subject: str) -> QuerySet[AuditEntry]:
    """What was done to ``subject`` (an id), the first deed first. For administrators alone."""
    return AuditEntry.objects.filter(subject=subject).order_by("at", "id")


def audit_entries(
    *,
    organization: Organization | None = None,
    actor: str | None = None,
    action: str | None = None,
    subject: str | None = None,
    since: dt.datetime | None = None,
    until: dt.datetime | None = None,
) -> QuerySet[AuditEntry]:
    """The audit log, newest first, with what fits all that is asked; ``action`` also by its first word (``invoice``),
    ``actor`` by id or by what people read, ``since`` and ``until`` half-open. For administrators alone."""
    found = AuditEntry.objects.select_related("organization").order_by("-id")
    if organization is not None:
        found = found.for_organization(organization)
    if actor:
        found = found.filter(Q(actor=actor) | Q(detail__by=actor))
    if action:
        found = found.filter(Q(action=action) | Q(action__startswith=f"{action}."))
    if subject:
        found = found.filter(subject=subject)
    if since is not None:
        found = found.filter(at__gte=since)
    return found if until is None else found.filter(at__lt=until)
