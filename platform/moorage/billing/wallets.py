"""Prepaid credit: granted, used, taken back, expired. Each verb posts to the ledger and keeps what is left of a grant
beside it, under the lock of the organization's wallet row.

Credit can be used until the sweep has posted it to breakage, so that nothing is expired under a request that already
holds it. Lock order: prices and months (locks.py), a wallet, its allowance.
"""

import datetime as dt
from collections.abc import Iterable
from typing import Final

from django.db import transaction
from django.db.models import Sum

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing import ledger, wallet_allowance, wallet_draws, wallet_order
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import Grant, GrantDraw, GrantKind, Taking, TakingKind, Wallet
from moorage.billing.wallet_allowance import Look
from moorage.billing.wallet_lock import open_wallet, opened
from moorage.billing.wallet_proof import prove
from moorage.kernel import clock

__all__ = [
    "applied_in",
    "capture",
    "expire_due",
    "grant",
    "open_wallet",
    "prove",
    "revoke",
    "with_credit",
]

#: As many grants as one sweep expires.
_EXPIRED_AT_ONCE: Final = 500


@transaction.atomic
def grant(
    *,
    organization: Organization,
    kind: GrantKind,
    pico: int,
    source: str,
    by: Actor,
    expires_at: dt.datetime | None = None,
    priority: int = 50,
    funded_by: Account | None = None,
) -> Grant:
    """``pico`` of credit from now on; the gateways may spend it at once. ``source`` is the caller's idempotency key: a
    second call with it gives back the grant of the first.

    ``funded_by`` is where the money of a PAID grant arrived (a clearing account); promotional credit is our expense.
    """
    assert pico > 0, "a grant is of something"
    account = Account.PROMOTION if kind == GrantKind.PROMOTIONAL and funded_by is None else funded_by
    assert account is not None, "paid credit says where the money arrived"
    wallet = open_wallet(organization.pk)
    known = Grant.objects.filter(source=source).first()
    if known is not None:
        assert (known.organization_id, known.kind, known.amount_pico) == (organization.pk, kind, pico), (
            f"{source} was granted before, otherwise"
        )
        return known
    now = clock.now()
    posted = ledger.post(
        kind="credit_granted",
        idempotency_key=f"grant:{source}",
        entries=[
            Entry(account=account, organization_id=organization.pk, pico=pico),
            Entry(account=Account.WALLET, organization_id=organization.pk, pico=-pico),
        ],
        effective_at=now,
    )
    made = Grant.objects.create(
        organization=organization,
        kind=kind,
        amount_pico=pico,
        remaining_pico=pico,
        priority=priority,
        expires_at=expires_at,
        source=source,
        transaction=posted,
        created_at=now,
        created_by=by.label[:80],
    )
    audit.record(
        organization=organization,
        by=by,
        action="credit.granted",
        subject=made.id,
        detail={"kind": str(kind), "pico": pico, "source": source, "expires_at": str(expires_at or "")},
    )
    wallet_allowance.fill(wallet)
    return made


@transaction.atomic
def capture(
    *,
    organization_id: str,
    pico: int,
    period_start: dt.datetime,
    idempotency_key: str,
    at: dt.datetime,
) -> int:
    """Pays ``pico`` of usage charged in the month that begins at ``period_start`` from the organization's credit, as
    far as it goes; how much that was. A second call with the key takes nothing and says the same.

    Belongs in the transaction that posts the usage, after it. What the credit did not pay stays on the receivable.
    """
    assert pico >= 0, "usage is never negative"
    wallet = opened(organization_id)
    if wallet is None or pico == 0:
        return 0
    known = Taking.objects.filter(pk=idempotency_key).first()
    if known is not None:
        return int(known.taken_pico)
    taken = wallet_draws.draws(wallet, pico) if wallet.credit_pico else ()
    wallet_draws.post(
        wallet, taken, kind="credit_used", idempotency_key=idempotency_key, into=Account.RECEIVABLE, effective_at=at
    )
    return wallet_draws.note(
        wallet, taken, pico, kind=TakingKind.CAPTURE, idempotency_key=idempotency_key, period_start=period_start, at=at
    )


@transaction.atomic
def revoke(*, organization: Organization, pico_most: int, source: str, into: Account, by: Actor) -> int:
    """Takes back up to ``pico_most`` of paid credit that nobody has used and no request holds, the newest first, and
    posts it to ``into`` (where a refund is paid from); how much that was. A second call with ``source`` takes nothing
    and says the same.
    """
    assert pico_most >= 0, "nobody takes back less than nothing"
    wallet = open_wallet(organization.pk)
    key = f"revoke:{source}"
    known = Taking.objects.filter(pk=key).first()
    if known is not None:
        return int(known.taken_pico)
    most = min(pico_most, wallet_allowance.unheld(wallet))
    paid = Grant.objects.for_organization(organization).filter(kind=GrantKind.PAID, remaining_pico__gt=0)
    taken = wallet_order.draws(wallet_order.newest_first(wallet_draws.credits_of(paid)), most)
    now = clock.now()
    wallet_draws.post(wallet, taken, kind="credit_revoked", idempotency_key=key, into=into, effective_at=now)
    pico = wallet_draws.note(
        wallet, taken, pico_most, kind=TakingKind.REVOKE, idempotency_key=key, period_start=None, at=now
    )
    audit.record(
        organization=organization,
        by=by,
        action="credit.revoked",
        subject=source,
        detail={"pico": pico, "most": pico_most, "into": str(into)},
    )
    wallet_allowance.fill(wallet)
    return pico


def applied_in(organization_id: str, period_start: dt.datetime) -> int:
    """Credit that paid usage charged in the month that begins at ``period_start``, in pico-units."""
    captures = Taking.objects.filter(
        organization_id=organization_id, period_start=period_start, kind=TakingKind.CAPTURE
    )
    return int(captures.aggregate(sum=Sum("taken_pico"))["sum"] or 0)


def with_credit(organization_ids: Iterable[str]) -> frozenset[str]:
    """Those whose usage has to be offered to :func:`capture`. Ask after their usage is posted: until then one may be
    opened, from then on it waits for this transaction."""
    rows = Wallet.objects.filter(pk__in=list(organization_ids), opened_at__isnull=False)
    return frozenset(rows.values_list("pk", flat=True))


def expire_due(*, now: dt.datetime) -> int:
    """Posts credit whose time is over to breakage, as far as no request holds it; the rest follows when it is free.
    Usage of that time is rated first. How much expired, in pico-units."""
    seen = wallet_allowance.look()
    until = min(now, seen.shipped_until) if seen.shipped_until else now
    due = Grant.objects.filter(expires_at__lte=until, remaining_pico__gt=0)
    sources = due.order_by("expires_at").values_list("organization_id", flat=True)[:_EXPIRED_AT_ONCE]
    return sum(_expire(organization_id, seen, now=now) for organization_id in sorted(set(sources)))


@transaction.atomic
def _expire(organization_id: str, seen: Look, *, now: dt.datetime) -> int:
    wallet = open_wallet(organization_id)
    over = Grant.objects.filter(organization_id=organization_id, remaining_pico__gt=0, expires_at__lte=now)
    first = over.order_by("expires_at").values_list("expires_at", flat=True).first()
    if first is None or seen.has_unrated(organization_id, until=first):
        return 0
    taken = wallet_order.draws(wallet_order.in_order(wallet_draws.credits_of(over)), wallet_allowance.unheld(wallet))
    content = ":".join(draw.grant_id for draw in taken[:1])
    drawn = GrantDraw.objects.filter(grant_id__in=[draw.grant_id for draw in taken]).count()
    wallet_draws.post(
        wallet,
        taken,
        kind="credit_expired",
        idempotency_key=f"expiry:{content}:{drawn}",
        into=Account.BREAKAGE,
        effective_at=now,
    )
    wallet_allowance.fill(wallet)
    return sum(draw.pico for draw in taken)
