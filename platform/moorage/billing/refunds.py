"""Paying unused credit back. The credit is taken from the wallet in the transaction that asks for the refund, so it
cannot be spent meanwhile; should the provider not be able to pay it back, the credit is there again."""

import datetime as dt
from collections.abc import Mapping
from typing import Final

from django.db import transaction
from django.db.models import QuerySet, Sum

from moorage.accounts import audit
from moorage.accounts.actor import MOORAGE, Actor
from moorage.accounts.models import Organization
from moorage.billing import foreign_refunds, providers, wallets
from moorage.billing.errors import InvalidTopUp, NothingToRefund, ReasonMissing
from moorage.billing.ledger import Account
from moorage.billing.models import GrantKind, OutboxMessage, Refund, RefundStatus, TopUp, TopUpStatus, new_refund_id
from moorage.billing.payments import Capability, PaymentProvider, ProviderRefund, ProviderRefundStatus
from moorage.billing.provider_state import StateMismatch
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT

REFUND: Final = "refund"


@transaction.atomic
def refund_credit(
    *,
    organization: Organization,
    cents: int,
    reason: str,
    key: str,
    by: Actor,
    available: Mapping[str, PaymentProvider] | None = None,
) -> tuple[Refund, ...]:
    """Pays up to ``cents`` of unused paid credit back to where it came from, the newest top-up first; what was asked of
    the provider. An administrator's verb. ``key`` names the call: a second one with it pays nothing and gives back the
    refunds of the first. Raises ReasonMissing, InvalidTopUp, and NothingToRefund."""
    said = reason.strip()
    if not said:
        raise ReasonMissing(param="reason")
    if cents <= 0:
        raise InvalidTopUp("Pay back at least one cent.", param="cents")
    known = providers.configured() if available is None else available
    able = {name for name, one in known.items() if Capability.REFUND in one.capabilities}
    paid = TopUp.objects.select_for_update().filter(
        organization=organization, status=TopUpStatus.PAID, disputed_at=None, provider__in=able
    )
    locked = list(paid.order_by("-paid_at", "-id"))
    before = tuple(Refund.objects.for_organization(organization).filter(key=key))
    if before:
        return before
    made: list[Refund] = []
    for top_up in locked:
        left = cents - sum(one.cents for one in made)
        asked = min(left, top_up.cents - refunded_cents(top_up))
        taken = _refund(top_up, asked, said, key, by) if asked > 0 else None
        if taken is None and asked > 0:
            break  # the wallet has nothing more to give
        if taken is not None:
            made.append(taken)
    if not made:
        raise NothingToRefund
    return tuple(made)


def refunded_cents(top_up: TopUp) -> int:
    """What was or is being paid back of it."""
    going = Refund.objects.filter(top_up=top_up).exclude(status=RefundStatus.FAILED)
    return int(going.aggregate(sum=Sum("cents"))["sum"] or 0)


def of(organization: Organization) -> QuerySet[Refund]:
    """The organization's refunds, newest first."""
    return Refund.objects.for_organization(organization).order_by("-created_at", "-id")


@transaction.atomic
def apply(theirs: ProviderRefund, *, provider: str, now: dt.datetime) -> Refund | None:
    """Brings our refund to the provider's present state; None when it is of no top-up of ours. One that somebody made
    at the provider becomes ours (foreign_refunds.py). Raises StateMismatch."""
    found = Refund.objects.select_for_update(of=("self",)).select_related("organization", "top_up")
    ours = found.filter(pk=theirs.refund_id, provider=provider).first() if theirs.refund_id else None
    if ours is None:
        ours = foreign_refunds.kept(theirs, provider=provider, now=now)
    if ours is None:
        return None
    for name, wanted, seen in (
        ("currency", ours.currency, theirs.currency),
        ("amount", ours.cents, theirs.cents),
        ("payment", ours.top_up.payment_reference, theirs.payment_reference),
        ("reference", ours.reference or theirs.reference, theirs.reference),
    ):
        if wanted != seen:
            raise StateMismatch(f"{theirs.reference}: {name} is {seen!r}, ours is {wanted!r}")
    changes: dict[str, object] = {"reference": theirs.reference, "checked_at": now}
    if theirs.status is ProviderRefundStatus.SUCCEEDED and ours.status == RefundStatus.PENDING:
        changes |= {"status": RefundStatus.SUCCEEDED, "settled_at": now}
    elif theirs.status is ProviderRefundStatus.FAILED and ours.status != RefundStatus.FAILED:
        changes |= {"status": RefundStatus.FAILED, "settled_at": now}
        if ours.cents > ours.uncovered_cents:
            wallets.grant(
                organization=ours.organization,
                kind=GrantKind.PAID,
                pico=(ours.cents - ours.uncovered_cents) * PICO_PER_CENT,
                source=f"refund_failed:{ours.id}",
                funded_by=Account(f"{provider}_clearing"),
                by=MOORAGE,
            )
        foreign_refunds.undo(ours)
    Refund.objects.filter(pk=ours.pk).update(**changes)
    for name, value in changes.items():
        setattr(ours, name, value)
    return ours


def _refund(top_up: TopUp, cents: int, reason: str, key: str, by: Actor) -> Refund | None:
    refund_id = new_refund_id()
    taken_cents = foreign_refunds.take(top_up, cents, refund_id, by)
    if taken_cents == 0:
        return None
    now = clock.now()
    made = Refund.objects.create(
        id=refund_id,
        organization=top_up.organization,
        top_up=top_up,
        currency=top_up.currency,
        cents=taken_cents,
        provider=top_up.provider,
        reason=reason[:2000],
        key=key,
        created_by=by.label[:80],
        created_at=now,
    )
    OutboxMessage.objects.create(
        topic=REFUND,
        subject_id=made.id,
        idempotency_key=f"{REFUND}:{made.id}",
        created_at=now,
        next_attempt_at=now,
    )
    audit.record(
        organization=top_up.organization,
        by=by,
        action="credit.refunded",
        subject=made.id,
        detail={"cents": taken_cents, "top_up": top_up.id, "reason": reason[:2000]},
    )
    return made
