"""Credit that comes after the usage pays what is owed by then: of a prepaid organization at once, usage that is not
invoiced yet first and then unpaid invoices, the oldest first and each as a whole; of a postpaid one when the month is
closed, and an invoice of it is paid as invoices are.

Only credit that no request holds pays. Nothing is remembered between two looks: what is left to pay is reckoned anew
under the locks, and a look that finds nothing left does nothing. So it is paid once, whoever looks, and however often.
"""

import datetime as dt
import logging
from collections.abc import Iterator
from typing import Final

from django.db import connection, transaction
from django.db.models import Sum

from moorage.billing import invoices, locks, owed, wallet_allowance, wallet_draws, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import (
    BillingMode,
    Invoice,
    InvoiceStatus,
    RatedUsage,
    Statement,
    Taking,
    TakingKind,
    Wallet,
)
from moorage.billing.wallet_lock import opened
from moorage.kernel.money import PICO_PER_CENT

logger = logging.getLogger(__name__)

#: Prepaid, with credit, and owing something.
_DUE: Final = """
SELECT organization_id FROM wallet
 WHERE opened_at IS NOT NULL AND mode = 'prepaid' AND credit_pico > 0 AND owed_pico > 0 ORDER BY 1
"""
_UNPAID: Final = (InvoiceStatus.FINALIZED, InvoiceStatus.UNCOLLECTIBLE)


def settle_due(*, now: dt.datetime) -> int:
    """Pays what prepaid organizations owe from the credit they have; how much that was, in pico-units."""
    with connection.cursor() as cursor:
        cursor.execute(_DUE)
        due = [row[0] for row in cursor.fetchall()]
    paid = sum(_settle_usage(organization_id, now) for organization_id in due)
    return paid + sum(_settle_invoice(invoice_id, now) for one in due for invoice_id in _unpaid(one))


def settle_month(*, organization_id: str, period_start: dt.datetime, due_pico: int, now: dt.datetime) -> int:
    """Pays up to ``due_pico`` of what was charged in a month; how much that was. Under a lock of the month, inside its
    transaction."""
    wallet = opened(organization_id)
    if wallet is None or due_pico <= 0 or wallet.credit_pico == 0:
        return 0
    taken = wallet_draws.draws(wallet, min(due_pico, wallet_allowance.unheld(wallet)))
    pico = sum(draw.pico for draw in taken)
    if pico == 0:
        return 0
    known = Taking.objects.filter(organization_id=organization_id, period_start=period_start)
    key = f"settle:{organization_id}:{period_start:%Y-%m}:{known.filter(pk__startswith='settle:').count()}"
    wallet_draws.post(wallet, taken, kind="credit_used", idempotency_key=key, into=Account.RECEIVABLE, effective_at=now)
    wallet_draws.note(
        wallet, taken, pico, kind=TakingKind.CAPTURE, idempotency_key=key, period_start=period_start, at=now
    )
    wallet_allowance.fill(wallet)
    logger.info("usage_settled organization=%s month=%s pico=%d", organization_id, period_start, pico)
    return pico


def is_from_credit(invoice_id: str) -> bool:
    """Whether credit has paid the invoice as a whole: no provider has the money for it."""
    return Taking.objects.filter(pk=_key(invoice_id)).exists()


@transaction.atomic
def _settle_usage(organization_id: str, now: dt.datetime) -> int:
    locks.share_months([organization_id])
    # Held until the end: usage that is rated meanwhile is posted, and captured, after.
    wallet = opened(organization_id)
    if wallet is None or wallet.mode != BillingMode.PREPAID:
        return 0
    return sum(
        settle_month(organization_id=organization_id, period_start=period_start, due_pico=due, now=now)
        for period_start, due in _open_months(wallet)
    )


def _open_months(wallet: Wallet) -> Iterator[tuple[dt.datetime, int]]:
    """What is charged, not invoiced and not paid, by month, the oldest first."""
    if wallet.owed_pico <= _invoiced(wallet.pk):
        return
    frozen = Statement.objects.filter(organization_id=wallet.pk).values("period_start")
    rated = RatedUsage.objects.filter(organization_id=wallet.pk).exclude(period_start__in=frozen).order_by()
    for period_start, pico in (
        rated.values_list("period_start").annotate(sum=Sum("amount_pico")).order_by("period_start")
    ):
        yield period_start, int(pico) - wallets.applied_in(wallet.pk, period_start)


def _invoiced(organization_id: str) -> int:
    """What of the receivable is of months that are closed: invoices without a number exactly, others as they stand."""
    rows = Invoice.objects.filter(organization_id=organization_id)
    drafts = rows.filter(status__in=[InvoiceStatus.DRAFT, InvoiceStatus.IN_REVIEW])
    numbered = rows.filter(status=InvoiceStatus.FINALIZED)
    return sum(owed.exact_pico(one) for one in drafts) + sum(owed.cents(one) * PICO_PER_CENT for one in numbered)


def _unpaid(organization_id: str) -> list[str]:
    rows = Invoice.objects.filter(organization_id=organization_id, status__in=_UNPAID, disputed_at=None)
    return list(rows.order_by("finalized_at", "id").values_list("pk", flat=True))


@transaction.atomic
def _settle_invoice(invoice_id: str, now: dt.datetime) -> int:
    invoice = Invoice.objects.select_for_update(of=("self",)).select_related("organization").get(pk=invoice_id)
    pico = owed.cents(invoice) * PICO_PER_CENT
    wallet = opened(invoice.organization_id)
    if wallet is None or wallet.mode != BillingMode.PREPAID or invoice.disputed_at is not None or pico == 0:
        return 0
    if wallet_allowance.unheld(wallet) < pico:
        return 0
    taken = wallet_draws.draws(wallet, pico)
    claimed_by = Account.BAD_DEBT if invoice.status == InvoiceStatus.UNCOLLECTIBLE else Account.RECEIVABLE
    key = _key(invoice_id)
    wallet_draws.post(
        wallet, taken, kind="invoice_paid_from_credit", idempotency_key=key, into=claimed_by, effective_at=now
    )
    wallet_draws.note(wallet, taken, pico, kind=TakingKind.INVOICE, idempotency_key=key, period_start=None, at=now)
    invoices.settle_from_credit(invoice=invoice, now=now)
    wallet_allowance.fill(wallet)
    logger.info("invoice_paid_from_credit invoice=%s pico=%d", invoice_id, pico)
    return pico


def _key(invoice_id: str) -> str:
    return f"invoice:{invoice_id}:credit"
