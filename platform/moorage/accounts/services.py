"""The verbs of accounts. Each is one transaction with its audit entry beside the write."""

import dataclasses
import datetime as dt
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from moorage.accounts import audit
from moorage.accounts import limits as accounts_limits
from moorage.accounts.actor import MOORAGE, Actor
from moorage.accounts.errors import EmailTaken, InvalidAccount, LastOwner, RoleTooLow, SlugTaken
from moorage.accounts.models import ApiKey, Membership, Organization, Priority, Role, Scope, Standing, User, Withheld
from moorage.kernel import clock
from moorage.kernel import secrets as keys
from moorage.wire.limits import NO_LIMITS, Limits

_USE_RESOLUTION: Final = dt.timedelta(minutes=1)


@transaction.atomic
def sign_up(*, email: str, password: str) -> User:
    """A new user. Raises EmailTaken, or InvalidAccount with what the password or address lacks."""
    address = email.strip().lower()
    try:
        validate_email(address)
        validate_password(password, User(email=address))
    except ValidationError as error:
        raise InvalidAccount(" ".join(error.messages)) from error
    if User.objects.filter(email=address).exists():
        raise EmailTaken
    user = User.objects.create_user(address, password)
    audit.record(organization=None, by=Actor.person(user), action="user.signed_up", subject=user.id)
    return user


def create_organization(*, name: str, slug: str, owner: User, by: Actor) -> Organization:
    """An organization with ``owner`` as its first owner. Raises SlugTaken or InvalidAccount."""
    organization = Organization(name=name.strip() or slug, slug=slug.strip().lower())
    try:
        organization.clean_fields()
    except ValidationError as error:
        sentences = (f"{field}: {' '.join(texts)}" for field, texts in error.message_dict.items())
        raise InvalidAccount(" ".join(sentences)) from error
    try:
        with transaction.atomic():
            organization.save(force_insert=True)
            Membership.objects.create(organization=organization, user=owner, role=Role.OWNER)
            audit.record(organization=organization, by=by, action="organization.created", subject=organization.id)
    except IntegrityError as error:
        raise SlugTaken from error
    return organization


@transaction.atomic
def add_member(*, organization: Organization, user: User, role: Role, by: Actor) -> Membership:
    """``user`` joins with ``role``; an existing membership changes its role.

    Only an owner makes or unmakes owners (RoleTooLow), and one owner stays (LastOwner).
    """
    # Two owners who step back at once must not leave the organization without one.
    Organization.objects.select_for_update().get(pk=organization.pk)
    owners = Membership.objects.filter(organization=organization, role=Role.OWNER)
    was_owner = owners.filter(user=user).exists()
    if (role == Role.OWNER or was_owner) and not owners.filter(user_id=by.id).exists():
        raise RoleTooLow("Only an owner makes or unmakes owners. Ask one.")
    if was_owner and role != Role.OWNER and owners.count() == 1:
        raise LastOwner
    membership, _ = Membership.objects.update_or_create(organization=organization, user=user, defaults={"role": role})
    audit.record(organization=organization, by=by, action="member.added", subject=user.id, detail={"role": str(role)})
    return membership


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewKey:
    """A key at its making: the only moment its secret exists here."""

    key: ApiKey
    secret: str


@transaction.atomic
def create_key(
    *,
    organization: Organization,
    name: str,
    scopes: Iterable[Scope],
    by: Actor,
    served_names: Sequence[str] = (),
    networks: Sequence[str] = (),
    limits: Limits = NO_LIMITS,
    priority: Priority = Priority.NORMAL,
    expires_at: dt.datetime | None = None,
) -> NewKey:
    """A new API key of ``organization``. ``served_names`` limits it to these served names and ``networks`` to callers
    in these networks at the gateway (empty: all); ``limits`` is what it may use, ``priority`` its share of the turns.

    Raises InvalidAccount.
    """
    found = accounts_limits.check(limits=limits, networks=networks, currency=organization.currency)
    wanted = sorted({Scope(scope) for scope in scopes})
    if not wanted:
        raise InvalidAccount("Choose at least one scope: inference or manage.", param="scopes")
    if not name.strip():
        raise InvalidAccount("Give the key a name, so that you can tell it from others.", param="name")
    secret = keys.new_key()
    key = ApiKey.objects.create(
        organization=organization,
        name=name.strip()[:80],
        shown=secret.shown,
        sha256=secret.sha256,
        scopes=[str(scope) for scope in wanted],
        served_names=list(served_names),
        networks=found,
        priority=priority,
        created_by=by.label[:80],
        expires_at=expires_at,
    )
    audit.record(
        organization=organization,
        by=by,
        action="key.created",
        subject=key.id,
        detail={"name": key.name, "shown": key.shown, "scopes": key.scopes, "networks": key.networks}
        | ({"priority": str(priority)} if priority != Priority.NORMAL else {}),
    )
    accounts_limits.set_limits(organization=organization, subject=key.id, limits=limits, by=by)
    return NewKey(key=key, secret=secret.text)


def note_use(key: ApiKey) -> None:
    """Remembers, to the minute, that ``key`` was used."""
    now = clock.now()
    if key.last_used_at is None or key.last_used_at <= now - _USE_RESOLUTION:
        due = Q(last_used_at=None) | Q(last_used_at__lte=now - _USE_RESOLUTION)
        ApiKey.objects.filter(due, pk=key.pk).update(last_used_at=now)


def note_uses(uses: Mapping[str, dt.datetime]) -> None:
    """The same for many keys at once: key id to the time of its last use. What is not news is not written."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE api_key SET last_used_at = uses.at FROM unnest(%s::text[], %s::timestamptz[]) AS uses(id, at)"
            " WHERE api_key.id = uses.id"
            " AND (api_key.last_used_at IS NULL OR api_key.last_used_at <= uses.at - %s * interval '1 second')",
            [list(uses), list(uses.values()), _USE_RESOLUTION.total_seconds()],
        )


@transaction.atomic
def revoke_key(*, key: ApiKey, by: Actor) -> None:
    """Ends a key. The database's trigger tells the gateways; a second call changes nothing."""
    if ApiKey.objects.filter(pk=key.pk, revoked_at=None).update(revoked_at=clock.now()):
        audit.record(organization=key.organization, by=by, action="key.revoked", subject=key.id)


@transaction.atomic
def set_standing(*, organization: Organization, standing: Standing, reason: str, by: Actor) -> None:
    """Changes whether ``organization`` is served. Billing's verb."""
    changed = Organization.objects.filter(pk=organization.pk).exclude(standing=standing).update(standing=standing)
    if changed:
        audit.record(
            organization=organization,
            by=by,
            action="organization.standing_changed",
            subject=organization.id,
            detail={"standing": str(standing), "reason": reason},
        )


@transaction.atomic
def set_withheld(*, organization: Organization, why: Withheld | None, by: Actor) -> bool:
    """Writes down why nothing of ``organization`` may run for now, or None for may; whether that is new. Call
    deployments.withholding, which also makes it so."""
    wanted = str(why) if why is not None else ""
    changed = Organization.objects.filter(pk=organization.pk).exclude(withheld=wanted).update(withheld=wanted)
    if changed:
        organization.withheld = wanted
        audit.record(
            organization=organization,
            by=by,
            action="organization.withheld" if wanted else "organization.released",
            subject=organization.id,
            detail={"why": wanted},
        )
    return bool(changed)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class FirstBoot:
    """What a new instance starts with. Shown once; only hashes are stored."""

    admin_email: str
    admin_password: str
    organization: str
    api_token: str
    api_key: str


@transaction.atomic
def first_boot(*, keep: Callable[[FirstBoot], None]) -> FirstBoot | None:
    """The administrator and the demo organization with random secrets; None if anybody is already here.

    ``keep`` is called before the commit: secrets that are nowhere else must be safe before they become true.
    """
    if User.objects.exists():
        return None
    password = secrets.token_urlsafe(18)
    administrator = User.objects.create_user("admin@moorage.local", password, is_administrator=True)
    organization = create_organization(name="Demo", slug="demo", owner=administrator, by=MOORAGE)
    token = create_key(organization=organization, name="first boot", scopes=[Scope.MANAGE], by=MOORAGE)
    key = create_key(organization=organization, name="demo", scopes=[Scope.INFERENCE], by=MOORAGE)
    boot = FirstBoot(
        admin_email=administrator.email,
        admin_password=password,
        organization=organization.slug,
        api_token=token.secret,
        api_key=key.secret,
    )
    keep(boot)
    return boot
