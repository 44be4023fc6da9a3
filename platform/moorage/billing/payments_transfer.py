"""Payment by bank transfer: the customer pays to our account, an administrator reads the bank's list and records it.

What another provider keeps on its side is kept in the table bank_transfer here; its rows change by ``record`` and
``void_invoice`` alone, in guarded updates.
"""

import datetime as dt

from moorage.billing.models import BankTransfer
from moorage.billing.payments import (
    Customer,
    InvoiceDocument,
    Issued,
    ProviderInvoice,
    ProviderRefused,
    ProviderStatus,
    ReferenceUnknown,
)
from moorage.kernel import clock


class TransferProvider:
    """Invoices are payable under a reference that the customer writes on the transfer."""

    name = "transfer"

    def ensure_customer(self, customer: Customer, *, idempotency_key: str) -> str:  # noqa: ARG002
        """See the port: the organization is the customer."""
        return customer.organization_id

    def issue_invoice(self, document: InvoiceDocument, *, idempotency_key: str) -> Issued:  # noqa: ARG002
        """See the port: nothing is sent; the invoice page shows reference and amount."""
        transfer, _ = BankTransfer.objects.get_or_create(
            invoice_id=document.invoice_id,
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
        transfer = _find(reference)
        return ProviderInvoice(
            reference=transfer.reference,
            status=_status(transfer),
            currency=transfer.currency,
            total_cents=transfer.total_cents,
            paid_cents=transfer.total_cents if transfer.paid_at else 0,
            payment_url="",
            customer_reference=transfer.customer_reference,
            invoice_id=transfer.invoice_id,
            statement_sha256=transfer.statement_sha256,
        )

    def void_invoice(self, reference: str, *, idempotency_key: str) -> None:  # noqa: ARG002
        """See the port."""
        transfer = _find(reference)
        open_ones = BankTransfer.objects.filter(pk=transfer.pk, paid_at=None, voided_at=None)
        if not open_ones.update(voided_at=clock.now()) and _find(reference).paid_at:
            raise ProviderRefused("This invoice is paid.")

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


def _status(transfer: BankTransfer) -> ProviderStatus:
    if transfer.paid_at:
        return ProviderStatus.PAID
    return ProviderStatus.VOID if transfer.voided_at else ProviderStatus.OPEN
