"""Invoices and credit notes at Stripe: our frozen lines become a Stripe invoice, in cents; Stripe collects.

Stripe forgets an idempotency key after a day, so an interrupted invoice is looked up by its metadata before anything
is made, and carried on where it stopped.
"""

import datetime as dt
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import Any, Final

from moorage.billing import stripe_objects as objects
from moorage.billing.payments import (
    CreditNoteDocument,
    DocumentLine,
    InvoiceDocument,
    Issued,
    LineKind,
    ProviderInvoice,
    ProviderRefused,
    ProviderStatus,
)

#: Stripe takes at most 250 lines; what is beyond this many is one line that points at the statement.
_MOST_LINES: Final = 200


class StripeInvoices:
    """The part of the adapter that is about invoices. The adapter gives the client and the meaning of its errors."""

    _client: Any
    _declined: type[Exception]
    _refused: type[Exception]

    def _translated(self) -> AbstractContextManager[None]:
        raise NotImplementedError

    def issue_invoice(self, document: InvoiceDocument, *, idempotency_key: str) -> Issued:
        """See the port. 1. find or make the draft 2. add the lines it lacks 3. compare 4. finalize 5. send or take."""
        with self._translated():
            invoice = self._find_invoice(document) or self._create_invoice(document, idempotency_key)
            if invoice.status == "void":
                raise ProviderRefused("The invoice was voided in Stripe.")
            if invoice.status == "draft":
                self._fill(invoice, document, idempotency_key)
                invoice = self._client.v1.invoices.retrieve(invoice.id)
                _compare(invoice, document)
                invoice = self._client.v1.invoices.finalize_invoice(
                    invoice.id, {"auto_advance": True}, {"idempotency_key": f"{idempotency_key}:finalize"}
                )
            _compare(invoice, document)
            if invoice.status == "open":
                self._collect(invoice, idempotency_key)
            return Issued(reference=str(invoice.id), payment_url=invoice.hosted_invoice_url or "")

    def fetch_invoice(self, reference: str) -> ProviderInvoice:
        """See the port."""
        with self._translated():
            return objects.invoice(self._client.v1.invoices.retrieve(reference))

    def void_invoice(self, reference: str, *, idempotency_key: str) -> None:
        """See the port."""
        known = self.fetch_invoice(reference)
        if known.status is ProviderStatus.VOID:
            return
        if known.status is ProviderStatus.PAID:
            raise ProviderRefused("The invoice is paid in Stripe.")
        with self._translated():
            self._client.v1.invoices.void_invoice(reference, options={"idempotency_key": idempotency_key})

    def issue_credit_note(self, document: CreditNoteDocument, *, idempotency_key: str) -> str:
        """See the port."""
        with self._translated():
            listed = self._client.v1.credit_notes.list({"invoice": document.invoice_reference, "limit": 100})
            for known in listed.auto_paging_iter():
                if objects.metadata(known, objects.CREDIT_NOTE) == document.credit_note_id:
                    return str(known.id)
            params: dict[str, Any] = {
                "invoice": document.invoice_reference,
                "amount": document.owed_cents + document.refund_cents,
                "memo": f"{document.number}: {document.reason}"[:500],
                "metadata": {objects.CREDIT_NOTE: document.credit_note_id, "moorage_number": document.number},
                **({"refund_amount": document.refund_cents} if document.refund_cents else {}),
            }
            return str(self._client.v1.credit_notes.create(params, {"idempotency_key": idempotency_key}).id)

    def invoices_since(self, since: dt.datetime) -> Iterator[ProviderInvoice]:
        """See the port."""
        with self._translated():
            listed = self._client.v1.invoices.list({"created": {"gte": objects.seconds(since)}, "limit": 100})
            for found in listed.auto_paging_iter():
                yield objects.invoice(found)

    def _find_invoice(self, document: InvoiceDocument) -> Any:
        listed = self._client.v1.invoices.list({"customer": document.customer_reference, "limit": 100})
        for invoice in listed.auto_paging_iter():
            if objects.metadata(invoice, objects.INVOICE) == document.invoice_id:
                return invoice
        return None

    def _create_invoice(self, document: InvoiceDocument, idempotency_key: str) -> Any:
        by_mail = not document.is_charged_automatically
        params: dict[str, Any] = {
            "customer": document.customer_reference,
            "currency": document.currency.lower(),
            "auto_advance": False,
            "collection_method": "send_invoice" if by_mail else "charge_automatically",
            "pending_invoice_items_behavior": "exclude",
            "description": f"Moorage {document.number}, usage of {document.period}",
            "footer": f"Statement SHA-256 {document.statement_sha256}",
            "metadata": {
                objects.INVOICE: document.invoice_id,
                "moorage_number": document.number,
                "statement_sha256": document.statement_sha256,
            },
            **({"days_until_due": document.due_days} if by_mail else {}),
        }
        return self._client.v1.invoices.create(params, {"idempotency_key": f"{idempotency_key}:invoice"})

    def _fill(self, invoice: Any, document: InvoiceDocument, idempotency_key: str) -> None:
        items = self._client.v1.invoice_items.list({"invoice": invoice.id, "limit": 100})
        present = {objects.metadata(item, "moorage_line") for item in items.auto_paging_iter()}
        for position, line in enumerate(_lines(document)):
            if str(position) not in present:
                self._client.v1.invoice_items.create(
                    {
                        "customer": document.customer_reference,
                        "invoice": invoice.id,
                        "currency": document.currency.lower(),
                        "amount": line.amount_cents,
                        "description": line.description[:500],
                        "metadata": {"moorage_line": str(position)},
                    },
                    {"idempotency_key": f"{idempotency_key}:line:{position}"},
                )

    def _collect(self, invoice: Any, idempotency_key: str) -> None:
        try:
            if invoice.collection_method == "send_invoice":
                self._client.v1.invoices.send_invoice(
                    invoice.id, options={"idempotency_key": f"{idempotency_key}:send"}
                )
            else:
                self._take(invoice, idempotency_key)
        except self._refused:
            # Its page is open from the moment it is finalized: somebody may have paid it meanwhile.
            if self._client.v1.invoices.retrieve(invoice.id).status != "paid":
                raise

    def _take(self, invoice: Any, idempotency_key: str) -> None:
        try:
            self._client.v1.invoices.pay(
                invoice.id, {"off_session": True}, {"idempotency_key": f"{idempotency_key}:pay"}
            )
        except self._declined:
            # It stays open: the customer pays it on its page, or is reminded to.
            return


def _lines(document: InvoiceDocument) -> list[DocumentLine]:
    charged = [line for line in document.lines if line.amount_cents]
    if len(charged) <= _MOST_LINES:
        return charged
    usage = [line for line in charged if line.kind is LineKind.USAGE]
    others = [line for line in charged if line.kind is not LineKind.USAGE]
    kept = _MOST_LINES - 1 - len(others)
    rest = usage[kept:]
    summed = DocumentLine(
        description=f"{len(rest)} further lines, see the statement",
        amount_cents=sum(line.amount_cents for line in rest),
    )
    return [*usage[:kept], summed, *others]


def _compare(invoice: Any, document: InvoiceDocument) -> None:
    found = (invoice.total, invoice.currency.upper(), objects.reference(invoice.customer))
    wanted = (document.total_cents, document.currency, document.customer_reference)
    if found != wanted:
        raise ProviderRefused(f"Stripe's invoice {invoice.id} says {found}, ours {wanted}.")
