"""What every verb that takes credit does: choose the grants, post the draws to the ledger, note the demand.

Call these under the wallet's lock, inside a transaction.
"""

import datetime as dt
from collections.abc import Iterable, Sequence

from django.db.models import F

from moorage.billing import ledger, wallet_order
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import Grant, GrantDraw, LedgerTransaction, Taking, TakingKind, Wallet
from moorage.billing.wallet_order import Credit, Draw


def draws(wallet: Wallet, pico: int) -> tuple[Draw, ...]:
    """``pico`` of the wallet's credit in the order of use: all of it, or all that there is."""
    rows = Grant.objects.filter(organization_id=wallet.pk, remaining_pico__gt=0)
    return wallet_order.draws(wallet_order.in_order(credits_of(rows)), pico)


def credits_of(grants: Iterable[Grant]) -> list[Credit]:
    """``grants`` as the order of use sees them."""
    return [
        Credit(
            id=one.id,
            remaining_pico=one.remaining_pico,
            priority=one.priority,
            expires_at=one.expires_at,
            created_at=one.created_at,
        )
        for one in grants
    ]


def post(
    wallet: Wallet,
    taken: Sequence[Draw],
    *,
    kind: str,
    idempotency_key: str,
    into: Account,
    effective_at: dt.datetime,
) -> LedgerTransaction | None:
    """Takes ``taken`` off its grants and posts it from the wallet to ``into``; None where nothing is taken."""
    pico = sum(draw.pico for draw in taken)
    if pico == 0:
        return None
    posted = ledger.post(
        kind=kind,
        idempotency_key=idempotency_key,
        entries=[
            Entry(account=Account.WALLET, organization_id=wallet.pk, pico=pico),
            Entry(account=into, organization_id=wallet.pk, pico=-pico),
        ],
        effective_at=effective_at,
    )
    for draw in taken:
        changed = Grant.objects.filter(pk=draw.grant_id, remaining_pico__gte=draw.pico).update(
            remaining_pico=F("remaining_pico") - draw.pico
        )
        assert changed == 1, "the wallet's lock keeps everybody else away"
    GrantDraw.objects.bulk_create(
        GrantDraw(grant_id=draw.grant_id, transaction=posted, pico=draw.pico) for draw in taken
    )
    return posted


def note(
    wallet: Wallet,
    taken: Sequence[Draw],
    asked: int,
    *,
    kind: TakingKind,
    idempotency_key: str,
    period_start: dt.datetime | None,
    at: dt.datetime,
) -> int:
    """Keeps the demand under its key, so that a second one gets nothing more; what was taken, in pico-units."""
    pico = sum(draw.pico for draw in taken)
    Taking.objects.create(
        idempotency_key=idempotency_key,
        organization_id=wallet.pk,
        kind=kind,
        asked_pico=asked,
        taken_pico=pico,
        period_start=period_start,
        at=at,
    )
    return pico
