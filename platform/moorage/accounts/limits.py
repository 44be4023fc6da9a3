"""Limits: what a key, an organization or a deployment may use, set here and held by the gateways.

A subject is known by its id; that it is the organization's own is for the caller to have made sure of. How much of a
limit is used is the allowances' to say.
"""

import dataclasses
import ipaddress
from collections.abc import Iterable
from typing import Final

import msgspec
from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.errors import InvalidAccount
from moorage.accounts.models import Allowance, ApiKey, Organization, Priority, SubjectLimit
from moorage.kernel import clock, window
from moorage.kernel.money import PICO, Money
from moorage.wire.limits import NAMES, NO_LIMITS, Limits, Measure

#: Beyond these nothing is meant seriously: a number of requests or tokens, and a sum of money.
MOST: Final = 10**15
MOST_MONEY: Final = 10**9 * PICO
#: As many networks as a key may name.
MOST_NETWORKS: Final = 50


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Use:
    """How one limit stands in the window that is running: counts, or pico-dollars."""

    name: str
    limit: int
    used: int
    #: Set aside for requests that are being answered, and with the gateways for the next ones.
    leased: int
    #: Unix seconds; None where the window has no end.
    resets_at: int | None

    @property
    def remaining(self) -> int:
        """What is neither used nor set aside."""
        return max(0, self.limit - self.used - self.leased)


def limits_of(*, organization: Organization, subject: str) -> Limits:
    """The limits of ``subject``."""
    row = SubjectLimit.objects.for_organization(organization).filter(pk=subject).first()
    return msgspec.convert(row.limits, Limits) if row is not None else NO_LIMITS


@transaction.atomic
def set_limits(*, organization: Organization, subject: str, limits: Limits, by: Actor) -> None:
    """``limits`` are what holds for ``subject`` from now on, all of them; gateways know within a second.

    What was used before in a window that is running stays used. Raises InvalidAccount, naming the limit.
    """
    check(limits, organization.currency)
    before = limits_of(organization=organization, subject=subject)
    if limits == before:
        return
    if limits:
        SubjectLimit.objects.update_or_create(
            pk=subject,
            defaults={
                "organization": organization,
                "limits": msgspec.to_builtins(limits),
                "changed_at": clock.now(),
            },
        )
    else:
        SubjectLimit.objects.for_organization(organization).filter(pk=subject).delete()
    audit.record(
        organization=organization,
        by=by,
        action="limits.changed",
        subject=subject,
        detail={"before": shown(before, organization.currency), "after": shown(limits, organization.currency)},
    )


@transaction.atomic
def set_networks(*, key: ApiKey, networks: Iterable[str], by: Actor) -> None:
    """``key`` may be used at the gateway from ``networks`` alone from now on; none: from anywhere.

    Raises InvalidAccount.
    """
    wanted = check_networks(networks)
    if wanted != key.networks:
        before, key.networks = key.networks, wanted
        ApiKey.objects.filter(pk=key.pk).update(networks=wanted)
        audit.record(
            organization=key.organization,
            by=by,
            action="key.networks_changed",
            subject=key.id,
            detail={"before": before, "after": wanted},
        )


@transaction.atomic
def set_priority(*, key: ApiKey, priority: Priority, by: Actor) -> None:
    """``key`` has this share of the turns from now on; gateways know within a second."""
    if priority != key.priority:
        before, key.priority = key.priority, priority
        ApiKey.objects.filter(pk=key.pk).update(priority=priority)
        audit.record(
            organization=key.organization,
            by=by,
            action="key.priority_changed",
            subject=key.id,
            detail={"before": str(before), "after": str(priority)},
        )


def uses(*, organization: Organization, subject: str) -> tuple[Use, ...]:
    """How each limit of ``subject`` stands now."""
    now = int(clock.now().timestamp())
    rows = Allowance.objects.for_organization(organization).filter(subject=subject, starts__lte=now, ends__gt=now)
    known = {(row.measure, row.window): row for row in rows}
    found = []
    for name, (measure, kind) in NAMES.items():
        limit: int | None = getattr(limits_of(organization=organization, subject=subject), name)
        if limit is None:
            continue
        row = known.get((measure, kind))
        ends = window.end_of(kind, window.start_of(kind, now))
        found.append(
            Use(
                name=name,
                limit=limit,
                used=int(row.used) if row is not None else 0,
                leased=int(row.leased) if row is not None else 0,
                resets_at=None if ends == window.NEVER else ends,
            )
        )
    return tuple(found)


def check(limits: Limits, currency: str) -> None:
    """Raises InvalidAccount for the first limit that makes no sense; money is counted in ``currency``."""
    for name, (measure, _) in NAMES.items():
        amount: int | None = getattr(limits, name)
        if amount is None:
            continue
        most = MOST_MONEY if measure is Measure.MONEY else MOST
        if not 0 <= amount <= most:
            shown_most = str(Money(MOST_MONEY, currency)) if measure is Measure.MONEY else f"{MOST:,}"
            raise InvalidAccount(f"{name} must be between 0 and {shown_most}, or left out for no limit.", param=name)


def check_networks(networks: Iterable[str]) -> list[str]:
    """``networks`` as they are stored, each once. Raises InvalidAccount for what is no network."""
    found: list[str] = []
    for text in networks:
        try:
            network = str(ipaddress.ip_network(text.strip()))
        except ValueError as error:
            raise InvalidAccount(
                f"networks: {text.strip()[:50]!r} is no network. Write an address, or a network such as 192.0.2.0/24"
                " or 2001:db8::/32 with zeros behind its prefix.",
                param="networks",
            ) from error
        if network not in found:
            found.append(network)
    if len(found) > MOST_NETWORKS:
        raise InvalidAccount(f"networks: a key can name {MOST_NETWORKS} networks at most.", param="networks")
    return found


def shown(limits: Limits, currency: str) -> dict[str, object]:
    """Limits as they are told to people and programs: counts as numbers, money as ``12.50 EUR``."""
    return {
        name: str(Money(amount, currency)) if measure is Measure.MONEY else amount
        for name, (measure, _) in NAMES.items()
        if (amount := getattr(limits, name)) is not None
    }
