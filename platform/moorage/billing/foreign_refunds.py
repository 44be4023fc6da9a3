"""Refunds that somebody made at the provider, past us. The money is gone: unused credit is taken for it at once. What
no credit is left for was used, and is neither charged again nor written off by a program: it waits among the troubles
until a person accepts the loss.
"""

import datetime as dt
import logging
from typing import Final

from django.db import transaction
from django.db.models import QuerySet

from moorage.accounts import audit
from moorage.accounts.actor import MOORAGE, Actor
from moorage.billing import ledger, wallets
from moorage.billing.errors import ReasonMissing, ReviewItemNotFound
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import Refund, RefundStatus, TopUp, new_refund_id
from moorage.billing.payments import ProviderRefund, ProviderRefundStatus
from moorage.billing.provider_state import StateMismatch
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT

logger = logging.getLogger(__name__)

_KEY: Final = "at_provider:"


def kept(theirs: ProviderRefund, *, provider: str, now: dt.datetime) -> Refund | None:
    """The row of a refund that we did not start, made and booked with its first look; None where it is of no top-up of
    ours. Raises StateMismatch for more than was paid. Inside the caller's transaction."""
    if not theirs.payment_reference:
        return None
    paid = TopUp.objects.select_for_update(of=("self",)).select_related("organization")
    top_up = paid.filter(payment_reference=theirs.payment_reference, provider=provider).first()
    if top_up is None:
        return None
    key = f"{_KEY}{theirs.reference}"[:80]
    known = Refund.objects.select_related("organization", "top_up").filter(top_up=top_up, key=key).first()
    if known is not None or theirs.status is ProviderRefundStatus.FAILED:
        return known
    if theirs.currency != top_up.currency or not 0 < theirs.cents <= top_up.cents:
        raise StateMismatch(f"{theirs.reference} pays {theirs.cents} {theirs.currency} back of {top_up.cents} cents")
    refund_id = new_refund_id()
    taken = take(top_up, theirs.cents, refund_id, MOORAGE)
    made = Refund.objects.create(
        id=refund_id,
        organization=top_up.organization,
        top_up=top_up,
        currency=top_up.currency,
        cents=theirs.cents,
        uncovered_cents=theirs.cents - taken,
        provider=provider,
        reference=theirs.reference[:120],
        reason=f"Made at {provider}.",
        key=key,
        created_by=provider,
        created_at=now,
    )
    detail = {"cents": theirs.cents, "taken": taken, "top_up": top_up.id, "reference": theirs.reference}
    audit.record(
        organization=top_up.organization,
        by=MOORAGE,
        action="credit.refunded_at_provider",
        subject=made.id,
        detail=detail,
    )
    logger.error("refund_made_at_provider refund=%s cents=%d uncovered=%d", made.id, theirs.cents, made.uncovered_cents)
    return made


def uncovered() -> QuerySet[Refund]:
    """Refunds with a part that no credit was left for and nobody has settled, the oldest first. For administrators
    alone."""
    found = Refund.objects.filter(uncovered_cents__gt=0, uncovered_settled_at=None).exclude(status=RefundStatus.FAILED)
    return found.select_related("organization", "top_up").order_by("created_at", "id")


@transaction.atomic
def accept_loss(*, refund_id: str, by: Actor, reason: str) -> None:
    """What was paid back of used credit is our loss: revenue is adjusted, the clearing account says what the provider
    has. Raises ReasonMissing, ReviewItemNotFound."""
    said = reason.strip()[:2000]
    if not said:
        raise ReasonMissing(param="reason")
    if not uncovered().filter(pk=refund_id).update(uncovered_settled_at=clock.now()):
        raise ReviewItemNotFound
    refund = Refund.objects.select_related("organization").get(pk=refund_id)
    _post(refund, "loss", sign=1)
    audit.record(
        organization=refund.organization,
        by=by,
        action="refund.loss_accepted",
        subject=refund.id,
        detail={"reason": said, "cents": refund.uncovered_cents},
    )


def undo(refund: Refund) -> None:
    """The refund failed: a loss that was accepted is none. Inside the caller's transaction."""
    if refund.uncovered_cents and refund.uncovered_settled_at is not None:
        _post(refund, "loss_undone", sign=-1)


def take(top_up: TopUp, cents: int, refund_id: str, by: Actor) -> int:
    """Takes up to so many whole cents of unused paid credit out of the wallet, how many that were: what is below a cent
    stays in it."""
    for _ in range(2):
        with transaction.atomic():
            taken = wallets.revoke(
                organization=top_up.organization,
                pico_most=cents * PICO_PER_CENT,
                source=f"refund:{refund_id}",
                into=Account(f"{top_up.provider}_clearing"),
                by=by,
            )
            cents = taken // PICO_PER_CENT
            if taken == cents * PICO_PER_CENT:
                return cents
            transaction.set_rollback(True)
    raise AssertionError("the wallet's lock is held: a smaller demand is met in full")


def _post(refund: Refund, what: str, *, sign: int) -> None:
    pico = refund.uncovered_cents * PICO_PER_CENT * sign
    ledger.post(
        kind=f"refund_{what}",
        idempotency_key=f"refund:{refund.id}:{what}",
        entries=[
            Entry(account=Account.ADJUSTMENT, organization_id=refund.organization_id, pico=pico),
            Entry(account=Account(f"{refund.provider}_clearing"), organization_id=refund.organization_id, pico=-pico),
        ],
        effective_at=clock.now(),
        currency=refund.currency,
    )
