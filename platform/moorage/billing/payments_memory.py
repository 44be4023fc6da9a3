"""A payment provider that lives in this process: for tests, and the shortest reading of the port."""

import dataclasses

from moorage.billing.payments import (
    Customer,
    InvoiceDocument,
    Issued,
    ProviderInvoice,
    ProviderRefused,
    ProviderStatus,
    ReferenceUnknown,
)


class MemoryProvider:
    """Keeps customers and invoices in dictionaries. ``pay`` is what a customer would do."""

    name = "memory"

    def __init__(self) -> None:
        self._customers: dict[str, str] = {}
        self._invoices: dict[str, ProviderInvoice] = {}

    def ensure_customer(self, customer: Customer, *, idempotency_key: str) -> str:  # noqa: ARG002
        """See the port."""
        return self._customers.setdefault(customer.organization_id, f"mem_customer_{len(self._customers) + 1}")

    def issue_invoice(self, document: InvoiceDocument, *, idempotency_key: str) -> Issued:  # noqa: ARG002
        """See the port."""
        reference = f"mem_{document.invoice_id}"
        if document.customer_reference not in self._customers.values():
            raise ProviderRefused("There is no such customer.")
        made = ProviderInvoice(
            reference=reference,
            status=ProviderStatus.OPEN,
            currency=document.currency,
            total_cents=document.total_cents,
            paid_cents=0,
            payment_url=f"https://payments.invalid/{reference}",
            customer_reference=document.customer_reference,
            invoice_id=document.invoice_id,
            statement_sha256=document.statement_sha256,
        )
        known = self._invoices.setdefault(reference, made)
        return Issued(reference=reference, payment_url=known.payment_url)

    def fetch_invoice(self, reference: str) -> ProviderInvoice:
        """See the port."""
        try:
            return self._invoices[reference]
        except KeyError as error:
            raise ReferenceUnknown(reference) from error

    def void_invoice(self, reference: str, *, idempotency_key: str) -> None:  # noqa: ARG002
        """See the port."""
        known = self.fetch_invoice(reference)
        if known.status is ProviderStatus.PAID:
            raise ProviderRefused("It is paid.")
        self._invoices[reference] = dataclasses.replace(known, status=ProviderStatus.VOID)

    def pay(self, reference: str) -> None:
        """The customer pays."""
        known = self.fetch_invoice(reference)
        assert known.status in {ProviderStatus.OPEN, ProviderStatus.UNCOLLECTIBLE}
        self._invoices[reference] = dataclasses.replace(known, status=ProviderStatus.PAID, paid_cents=known.total_cents)

    def give_up(self, reference: str) -> None:
        """The provider no longer expects the money."""
        known = self.fetch_invoice(reference)
        self._invoices[reference] = dataclasses.replace(known, status=ProviderStatus.UNCOLLECTIBLE)
