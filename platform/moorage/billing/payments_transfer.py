"""Payment by bank transfer: the customer pays to our account, an administrator reads the bank's list and records it.

What another provider keeps on its side is kept in the table bank_transfer here; its rows change by ``record`` and
``void_invoice`` alone, in guarded updates.
"""

import datetime as dt
from collections.abc import Iterator

from moorage.billing.models import BankTransfer
from moorage.billing.payments import (
    Customer,
    InvoiceDocument,
    Issued,
    Page,
    Payment,
    PaymentStatus,
    ProviderInvoice,
    ProviderRefused,
    ProviderStatus,
    ReferenceUnknown,
    TopUpDocument,
)
from moorage.billing.payments_absent import WithoutCards
from moorage.kernel import clock


class TransferProvider(WithoutCards):
    """Invoices and top-ups are payable under a reference that the customer writes on the transfer."""

    name = "transfer"

    def ensure_customer(self, customer: Customer, *, idempotency_key: str) -> str:  # noqa: ARG002
        """See the port: the organization is the customer."""
        return customer.organization_id

    def issue_invoice(self, document: InvoiceDocument, *, idempotency_key: str) -> Issued:  # noqa: ARG002
        """See the port: nothing is sent; the invoice page shows reference and amount."""
        transfer, _ = BankTransfer.objects.get_or_create(
            subject_id=document.invoice_id,
            defaults={
                "reference": document.number,
                "customer_reference": document.customer_reference,
                "currency": document.currency,
                "total_cents": document.total_cents,
                "statement_sha256": document.statement_sha256,
            },
        )
        if (transfer.total_cents, transfer.currency) != (document.total_cents, document.currency):
            raise ProviderRefused("This invoice was issued before with another amount.")
        return Issued(reference=transfer.reference, payment_url="")

    def fetch_invoice(self, reference: str) -> ProviderInvoice:
        """See the port."""
        return _as_invoice(_find(reference))

    def void_invoice(self, reference: str, *, idempotency_key: str) -> None:  # noqa: ARG002
        """See the port."""
        transfer = _find(reference)
        open_ones = BankTransfer.objects.filter(pk=transfer.pk, paid_at=None, voided_at=None)
        if not open_ones.update(voided_at=clock.now()) and _find(reference).paid_at:
            raise ProviderRefused("This invoice is paid.")

    def start_top_up(self, document: TopUpDocument, *, idempotency_key: str) -> Page:  # noqa: ARG002
        """See the port: our own page shows reference and amount."""
        transfer, _ = BankTransfer.objects.get_or_create(
            subject_id=document.top_up_id,
            defaults={
                # Short enough for a transfer's reference line; the random end of the id.
                "reference": f"TOP-{document.top_up_id[-12:].upper()}",
                "customer_reference": document.customer_reference,
                "currency": document.currency,
                "total_cents": document.cents,
            },
        )
        return Page(reference=transfer.reference, url="")

    def fetch_payment(self, reference: str) -> Payment:
        """See the port."""
        return _as_payment(_find(reference))

    def payments_since(self, since: dt.datetime) -> Iterator[Payment]:
        """See the port."""
        return map(_as_payment, BankTransfer.objects.filter(created_at__gte=since))

    def invoices_since(self, since: dt.datetime) -> Iterator[ProviderInvoice]:
        """See the port."""
        return map(_as_invoice, BankTransfer.objects.filter(created_at__gte=since).exclude(statement_sha256=""))

    def record(self, reference: str, *, received_at: dt.datetime) -> None:
        """The money for ``reference`` is on our account. A second call changes nothing. Raises ReferenceUnknown, and
        ProviderRefused for one that is void."""
        transfer = _find(reference)
        open_ones = BankTransfer.objects.filter(pk=transfer.pk, paid_at=None, voided_at=None)
        if not open_ones.update(paid_at=received_at) and _find(reference).voided_at:
            raise ProviderRefused("This invoice is void.")


def _find(reference: str) -> BankTransfer:
    try:
        return BankTransfer.objects.get(reference=reference)
    except BankTransfer.DoesNotExist as error:
        raise ReferenceUnknown(reference) from error


def _as_invoice(transfer: BankTransfer) -> ProviderInvoice:
    return ProviderInvoice(
        reference=transfer.reference,
        status=_status(transfer),
        currency=transfer.currency,
        total_cents=transfer.total_cents,
        paid_cents=transfer.total_cents if transfer.paid_at else 0,
        payment_url="",
        customer_reference=transfer.customer_reference,
        invoice_id=transfer.subject_id,
        statement_sha256=transfer.statement_sha256,
    )


def _status(transfer: BankTransfer) -> ProviderStatus:
    if transfer.paid_at:
        return ProviderStatus.PAID
    return ProviderStatus.VOID if transfer.voided_at else ProviderStatus.OPEN


def _as_payment(transfer: BankTransfer) -> Payment:
    status = PaymentStatus.EXPIRED if transfer.voided_at else PaymentStatus.PENDING
    return Payment(
        reference=transfer.reference,
        checkout_reference=transfer.reference,
        status=PaymentStatus.PAID if transfer.paid_at else status,
        currency=transfer.currency,
        cents=transfer.total_cents,
        paid_cents=transfer.total_cents if transfer.paid_at else 0,
        refunded_cents=0,
        customer_reference=transfer.customer_reference,
        top_up_id="" if transfer.statement_sha256 else transfer.subject_id,
        created_at=transfer.created_at,
    )
