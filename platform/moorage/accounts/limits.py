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

    What was used before in a window that is running stays used. Raises InvalidAccount with all that is wrong.
    """
    check(limits=limits, networks=(), currency=organization.currency)
    _write_limits(organization=organization, subject=subject, limits=limits, by=by)


@transaction.atomic
def set_key_limits(
    *, key: ApiKey, limits: Limits, networks: Iterable[str], priority: Priority | None, by: Actor
) -> None:
    """``limits`` and ``networks`` are all that holds for ``key`` from now on (no networks: from anywhere), and
    ``priority`` is its share of the turns (None: as it is). All of it or nothing; gateways know within a second.

    Raises InvalidAccount with all that is wrong, naming the first field.
    """
    wanted = check(limits=limits, networks=networks, currency=key.organization.currency)
    # Of two changes at once the second replaces the first as a whole, and says in the audit log what it replaced.
    before = ApiKey.objects.select_for_update().get(pk=key.pk)
    chosen = before.priority if priority is None else str(priority)
    for name, old, new in (("networks", before.networks, wanted), ("priority", before.priority, chosen)):
        if new != old:
            ApiKey.objects.filter(pk=key.pk).update(**{name: new})
            audit.record(
                organization=key.organization,
                by=by,
                action=f"key.{name}_changed",
                subject=key.id,
                detail={"before": old, "after": new},
            )
    _write_limits(organization=key.organization, subject=key.id, limits=limits, by=by)
    key.networks, key.priority = wanted, chosen


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


def check(*, limits: Limits, networks: Iterable[str], currency: str) -> list[str]:
    """``networks`` as they are stored, each once. Raises InvalidAccount with all that is wrong with them or with
    ``limits``, whose money is counted in ``currency``; its param is the first field."""
    found, problems = _read_networks(networks)
    problems += _problems(limits, currency)
    if problems:
        raise InvalidAccount(" ".join(sentence for _, sentence in problems), param=problems[0][0])
    return found


def shown(limits: Limits, currency: str) -> dict[str, object]:
    """Limits as they are told to people and programs: counts as numbers, money as ``12.50 EUR``."""
    return {
        name: str(Money(amount, currency)) if measure is Measure.MONEY else amount
        for name, (measure, _) in NAMES.items()
        if (amount := getattr(limits, name)) is not None
    }


def _write_limits(*, organization: Organization, subject: str, limits: Limits, by: Actor) -> None:
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


def _read_networks(networks: Iterable[str]) -> tuple[list[str], list[tuple[str, str]]]:
    """The networks, each once, and what is wrong: a field and a sentence each."""
    found: dict[str, None] = {}
    unread: list[str] = []
    for text in networks:
        try:
            found[str(ipaddress.ip_network(text.strip()))] = None
        except ValueError:
            unread.append(repr(text.strip()[:50]))
    problems = []
    if unread:
        problems.append(
            f"networks: {', '.join(unread)} {'is no network' if len(unread) == 1 else 'are no networks'}. Write an"
            " address, or a network such as 192.0.2.0/24 or 2001:db8::/32 with zeros behind its prefix."
        )
    if len(found) > MOST_NETWORKS:
        problems.append(f"networks: a key can name {MOST_NETWORKS} networks at most.")
    return list(found), [("networks", sentence) for sentence in problems]


def _problems(limits: Limits, currency: str) -> list[tuple[str, str]]:
    """What is wrong with ``limits``: a field and a sentence each."""
    found = []
    for name, (measure, _) in NAMES.items():
        amount: int | None = getattr(limits, name)
        most = MOST_MONEY if measure is Measure.MONEY else MOST
        if amount is not None and not 0 <= amount <= most:
            shown_most = str(Money(MOST_MONEY, currency)) if measure is Measure.MONEY else f"{MOST:,}"
            found.append((name, f"{name} must be between 0 and {shown_most}, or left out for no limit."))
    return found
