"""What an administrator does to an organization's credit, and money that goes back by hand. Each verb says who and why;
what moves much money, at once or in parts within a day, waits for another administrator first (approvals.py)."""

import datetime as dt
from collections.abc import Mapping

from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing import approvals, payouts, refunds, wallets
from moorage.billing.approvals import Outcome
from moorage.billing.errors import ApprovalPending, InvalidAmount, InvalidTopUp
from moorage.billing.invoice_verbs import said_of
from moorage.billing.models import ApprovalKind, ApprovalRequest, ApprovalStatus, CreditNote, GrantKind, Refund
from moorage.billing.payments import PaymentProvider
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT, Money


@transaction.atomic
def give_credit(
    *,
    organization: Organization,
    pico: int,
    by: Actor,
    reason: str,
    key: str,
    expires_at: dt.datetime | None = None,
) -> Outcome:
    """Promotional credit for an organization, at our expense; once for each ``key`` of the caller's.

    Raises ReasonMissing, InvalidAmount, and ApprovalPending for a key that waits already.
    """
    said = said_of(reason)
    if pico <= 0 or (expires_at is not None and expires_at <= clock.now()):
        raise InvalidAmount(param="amount" if pico <= 0 else "expires_at")
    detail: dict[str, object] = {"key": key[:80], "expires_at": expires_at.isoformat() if expires_at else ""}
    waits = _asked(ApprovalKind.CREDIT, organization, pico, said, key, by, detail)
    if waits is not None:
        return Outcome(request=waits)
    do_credit(organization, pico, by, said, detail)
    return Outcome()


@transaction.atomic
def refund_credit(
    *,
    organization: Organization,
    cents: int,
    by: Actor,
    reason: str,
    key: str,
    available: Mapping[str, PaymentProvider] | None = None,
) -> Outcome:
    """Pays up to ``cents`` of unused paid credit back; see refunds.py for what is raised, and ApprovalPending for a
    ``key`` that waits already."""
    said = said_of(reason)
    if cents <= 0:
        raise InvalidTopUp("Pay back at least one cent.", param="cents")
    detail: dict[str, object] = {"key": key[:80], "cents": cents}
    waits = _asked(ApprovalKind.REFUND, organization, cents * PICO_PER_CENT, said, key, by, detail)
    if waits is not None:
        return Outcome(request=waits)
    return Outcome(refunds=do_refund(organization, by, said, detail, available=available))


@transaction.atomic
def pay_out(*, note: CreditNote, by: Actor, reason: str) -> Outcome:
    """The bank transfer that gives a credit note's money back has been made; ``reason`` is where that can be read.

    Raises ReasonMissing, NothingToPayOut for a note that is given back otherwise, and ApprovalPending.
    """
    said = said_of(reason)
    payouts.require(note)
    if payouts.is_paid_out(note):
        return Outcome()
    detail: dict[str, object] = {"key": note.pk}
    waits = _asked(ApprovalKind.PAYOUT, note.organization, note.refund_cents * PICO_PER_CENT, said, note.pk, by, detail)
    if waits is not None:
        return Outcome(request=waits)
    payouts.record(note=note, by=by, reason=said)
    return Outcome()


def _asked(
    kind: ApprovalKind,
    organization: Organization,
    pico: int,
    said: str,
    key: str,
    by: Actor,
    detail: dict[str, object],
) -> ApprovalRequest | None:
    """The request that waits, where so much money asks for four eyes. Raises ApprovalPending where it waits already;
    what was agreed to under this key is done again, which does nothing."""
    same = approvals.requests().filter(kind=kind, organization=organization, detail__key=key[:80])
    if same.filter(status=ApprovalStatus.WAITING).exists():
        raise ApprovalPending
    if same.filter(status=ApprovalStatus.APPROVED).exists():
        return None
    return approvals.alone_or_asked(
        kind=kind, organization=organization, amount_pico=pico, reason=said, key=key[:80], detail=detail, by=by
    )


def do_credit(organization: Organization, pico: int, by: Actor, said: str, detail: Mapping[str, object]) -> None:
    """Grants it, once nobody else has to agree."""
    until = str(detail["expires_at"])
    granted = wallets.grant(
        organization=organization,
        kind=GrantKind.PROMOTIONAL,
        pico=pico,
        expires_at=dt.datetime.fromisoformat(until) if until else None,
        source=f"credit:{organization.pk}:{detail['key']}",
        by=by,
    )
    audit.record(
        organization=organization,
        by=by,
        action="credit.given",
        subject=granted.pk,
        detail={"reason": said, "amount": str(Money(pico, organization.currency))},
    )


def do_refund(
    organization: Organization,
    by: Actor,
    said: str,
    detail: Mapping[str, object],
    *,
    available: Mapping[str, PaymentProvider] | None = None,
) -> tuple[Refund, ...]:
    """Pays back, once nobody else has to agree."""
    cents = detail["cents"]
    assert isinstance(cents, int)
    return refunds.refund_credit(
        organization=organization, cents=cents, reason=said, key=str(detail["key"]), by=by, available=available
    )
