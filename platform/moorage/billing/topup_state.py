"""What the provider says of a payment, applied to our top-up: the decision is pure, credit is granted once.

As with invoices the present state counts, never an event's snapshot. A payment whose amount, currency or owner is not
what was asked for changes nothing and is said aloud.
"""

import dataclasses
import datetime as dt
import logging
from typing import Final

from django.db import transaction

from moorage.accounts.actor import MOORAGE
from moorage.billing import customers, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import GrantKind, TopUp, TopUpStatus
from moorage.billing.payments import Payment, PaymentStatus
from moorage.billing.provider_state import StateMismatch
from moorage.kernel.money import PICO_PER_CENT

logger = logging.getLogger(__name__)

_AFTER: Final = {
    PaymentStatus.PENDING: None,
    PaymentStatus.PAID: TopUpStatus.PAID,
    PaymentStatus.FAILED: TopUpStatus.FAILED,
    PaymentStatus.EXPIRED: TopUpStatus.EXPIRED,
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ours:
    """Our side of the comparison."""

    top_up_id: str
    status: TopUpStatus
    currency: str
    cents: int
    customer_reference: str
    payment_reference: str


def decide(ours: Ours, theirs: Payment) -> TopUpStatus | None:
    """What becomes of our top-up; None: nothing. Raises StateMismatch with what differs. Pure."""
    for name, wanted, found in (
        ("top-up", ours.top_up_id, theirs.top_up_id),
        ("currency", ours.currency, theirs.currency),
        ("amount", ours.cents, theirs.cents),
        ("customer", ours.customer_reference, theirs.customer_reference),
    ):
        if wanted != found:
            raise StateMismatch(f"{_name(theirs)}: {name} is {found!r}, ours is {wanted!r}")
    if ours.payment_reference and theirs.reference and ours.payment_reference != theirs.reference:
        raise StateMismatch(f"{theirs.reference} claims to be {ours.top_up_id}, which is {ours.payment_reference}")
    wanted_status = _AFTER[theirs.status]
    if wanted_status is TopUpStatus.PAID and theirs.paid_cents != ours.cents:
        raise StateMismatch(f"{_name(theirs)} is paid with {theirs.paid_cents} of {ours.cents} cents")
    if ours.status is TopUpStatus.PAID or wanted_status is ours.status:
        return None  # a payment that was made stays made; what goes back is a refund or a dispute
    return wanted_status


@transaction.atomic
def apply(theirs: Payment, *, provider: str, now: dt.datetime) -> TopUp | None:
    """Brings our top-up to the provider's present state and grants its credit; None when it is not one of ours.
    Raises StateMismatch."""
    found = TopUp.objects.select_for_update(of=("self",)).select_related("organization")
    top_up = found.filter(pk=theirs.top_up_id, provider=provider).first() if theirs.top_up_id else None
    if top_up is None:
        return None
    ours = Ours(
        top_up_id=top_up.id,
        status=TopUpStatus(top_up.status),
        currency=top_up.currency,
        cents=top_up.cents,
        customer_reference=customers.known_reference(organization_id=top_up.organization_id, provider=provider),
        payment_reference=top_up.payment_reference,
    )
    move = decide(ours, theirs)
    changes: dict[str, object] = {"checked_at": now}
    if theirs.reference:
        changes["payment_reference"] = theirs.reference
    if theirs.checkout_reference:
        changes["checkout_reference"] = theirs.checkout_reference
    if move is not None:
        changes |= {"status": move, "reason": theirs.reason}
    if move is TopUpStatus.PAID:
        changes["paid_at"] = now
        wallets.grant(
            organization=top_up.organization,
            kind=GrantKind.PAID,
            pico=top_up.cents * PICO_PER_CENT,
            source=f"top_up:{top_up.id}",
            funded_by=Account(f"{provider}_clearing"),
            by=MOORAGE,
        )
        logger.info("top_up_paid top_up=%s cents=%d provider=%s", top_up.id, top_up.cents, provider)
    TopUp.objects.filter(pk=top_up.pk).update(**changes)
    for name, value in changes.items():
        setattr(top_up, name, value)
    return top_up


def fail(top_up: TopUp, *, reason: str) -> None:
    """The provider will not take it: it was never asked of anybody."""
    TopUp.objects.filter(pk=top_up.pk, status=TopUpStatus.STARTED).update(
        status=TopUpStatus.FAILED, reason=reason[:2000]
    )


def _name(theirs: Payment) -> str:
    return theirs.reference or theirs.checkout_reference
