"""Stripe behind the port: our frozen lines become a Stripe invoice, in cents; Stripe collects. Only this module
imports stripe.

Measured on stripe 16.1.0: a client retries only when told to, sends telemetry unless told not to, waits 80 s, and
overriding one base address leaves the other three on the real hosts. Stripe forgets an idempotency key after a day,
so an interrupted invoice is looked up by its metadata before anything is made, and carried on where it stopped.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Literal

import stripe

from moorage.billing.payments import (
    Customer,
    DocumentLine,
    InvoiceDocument,
    Issued,
    ProviderInvoice,
    ProviderRefused,
    ProviderStatus,
    ProviderUnavailable,
    ReferenceUnknown,
)

API_VERSION: Final = "2026-10-28.endive"
_TIMEOUT: Final = (5, 20)
_RETRIES: Final = 2
#: Stripe takes at most 250 lines; what is beyond this many is one line that points at the statement.
_MOST_LINES: Final = 200

CollectionMethod = Literal["send_invoice", "charge_automatically"]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StripeSettings:
    """How to reach Stripe. ``base_url`` replaces all of its hosts (for a stand-in); None: the real ones."""

    api_key: str = dataclasses.field(repr=False)
    base_url: str | None = None
    #: send_invoice asks the customer by mail; charge_automatically takes it from a stored payment method.
    collection_method: CollectionMethod = "send_invoice"


class StripeProvider:
    """Collects through Stripe Invoicing."""

    name = "stripe"

    def __init__(self, settings: StripeSettings) -> None:
        self._settings = settings
        self._client = _client(settings)

    def ensure_customer(self, customer: Customer, *, idempotency_key: str) -> str:
        """See the port."""
        params: Any = {
            "name": customer.name,
            "metadata": {"moorage_organization": customer.organization_id},
            **({"email": customer.email} if customer.email else {}),
        }
        with _translated():
            if customer.email:
                listed = self._client.v1.customers.list({"email": customer.email, "limit": 100})
                for known in listed.auto_paging_iter():
                    if _metadata(known, "moorage_organization") == customer.organization_id:
                        return known.id
            return self._client.v1.customers.create(params, {"idempotency_key": idempotency_key}).id

    def issue_invoice(self, document: InvoiceDocument, *, idempotency_key: str) -> Issued:
        """See the port. 1. find or make the draft 2. add the lines it lacks 3. compare 4. finalize 5. send."""
        with _translated():
            invoice = self._find(document) or self._create(document, idempotency_key)
            if invoice.status == "void":
                raise ProviderRefused("The invoice was voided in Stripe.")
            if invoice.status == "draft":
                self._fill(invoice, document, idempotency_key)
                invoice = self._client.v1.invoices.retrieve(_id(invoice))
                _compare(invoice, document)
                invoice = self._client.v1.invoices.finalize_invoice(
                    _id(invoice), {"auto_advance": True}, {"idempotency_key": f"{idempotency_key}:finalize"}
                )
            _compare(invoice, document)
            if self._settings.collection_method == "send_invoice" and invoice.status == "open":
                self._client.v1.invoices.send_invoice(
                    _id(invoice), options={"idempotency_key": f"{idempotency_key}:send"}
                )
            return Issued(reference=_id(invoice), payment_url=invoice.hosted_invoice_url or "")

    def fetch_invoice(self, reference: str) -> ProviderInvoice:
        """See the port."""
        with _translated():
            invoice = self._client.v1.invoices.retrieve(reference)
            return ProviderInvoice(
                reference=_id(invoice),
                status=ProviderStatus(invoice.status or "draft"),
                currency=invoice.currency.upper(),
                total_cents=invoice.total,
                paid_cents=invoice.amount_paid,
                payment_url=invoice.hosted_invoice_url or "",
                customer_reference=_reference(invoice.customer),
                invoice_id=_metadata(invoice, "moorage_invoice"),
                statement_sha256=_metadata(invoice, "statement_sha256"),
            )

    def void_invoice(self, reference: str, *, idempotency_key: str) -> None:
        """See the port."""
        known = self.fetch_invoice(reference)
        if known.status is ProviderStatus.VOID:
            return
        if known.status is ProviderStatus.PAID:
            raise ProviderRefused("The invoice is paid in Stripe.")
        with _translated():
            self._client.v1.invoices.void_invoice(reference, options={"idempotency_key": idempotency_key})

    def _find(self, document: InvoiceDocument) -> stripe.Invoice | None:
        listed = self._client.v1.invoices.list({"customer": document.customer_reference, "limit": 100})
        for invoice in listed.auto_paging_iter():
            if _metadata(invoice, "moorage_invoice") == document.invoice_id:
                return invoice
        return None

    def _create(self, document: InvoiceDocument, idempotency_key: str) -> stripe.Invoice:
        by_mail = self._settings.collection_method == "send_invoice"
        params: Any = {
            "customer": document.customer_reference,
            "currency": document.currency.lower(),
            "auto_advance": False,
            "collection_method": self._settings.collection_method,
            "pending_invoice_items_behavior": "exclude",
            "description": f"Moorage {document.number}, usage of {document.period}",
            "footer": f"Statement SHA-256 {document.statement_sha256}",
            "metadata": {
                "moorage_invoice": document.invoice_id,
                "moorage_number": document.number,
                "statement_sha256": document.statement_sha256,
            },
            **({"days_until_due": document.due_days} if by_mail else {}),
        }
        return self._client.v1.invoices.create(params, {"idempotency_key": f"{idempotency_key}:invoice"})

    def _fill(self, invoice: stripe.Invoice, document: InvoiceDocument, idempotency_key: str) -> None:
        items = self._client.v1.invoice_items.list({"invoice": _id(invoice), "limit": 100})
        present = {_metadata(item, "moorage_line") for item in items.auto_paging_iter()}
        for position, line in enumerate(_lines(document)):
            if str(position) not in present:
                self._client.v1.invoice_items.create(
                    {
                        "customer": document.customer_reference,
                        "invoice": _id(invoice),
                        "currency": document.currency.lower(),
                        "amount": line.amount_cents,
                        "description": line.description[:500],
                        "metadata": {"moorage_line": str(position)},
                    },
                    {"idempotency_key": f"{idempotency_key}:line:{position}"},
                )


def _client(settings: StripeSettings) -> stripe.StripeClient:
    stripe.enable_telemetry = False
    base = settings.base_url
    addresses: Any = {"api": base, "connect": base, "files": base, "meter_events": base} if base else {}
    return stripe.StripeClient(
        settings.api_key,
        stripe_version=API_VERSION,
        max_network_retries=_RETRIES,
        base_addresses=addresses,
        http_client=stripe.RequestsClient(timeout=_TIMEOUT),
    )


def _lines(document: InvoiceDocument) -> list[DocumentLine]:
    charged = [line for line in document.lines if line.amount_cents]
    if len(charged) <= _MOST_LINES:
        return charged
    rest = charged[_MOST_LINES - 1 :]
    summed = DocumentLine(
        description=f"{len(rest)} further lines, see the statement",
        amount_cents=sum(line.amount_cents for line in rest),
    )
    return [*charged[: _MOST_LINES - 1], summed]


def _compare(invoice: stripe.Invoice, document: InvoiceDocument) -> None:
    found = (invoice.total, invoice.currency.upper(), _reference(invoice.customer))
    wanted = (document.total_cents, document.currency, document.customer_reference)
    if found != wanted:
        raise ProviderRefused(f"Stripe's invoice {_id(invoice)} says {found}, ours {wanted}.")


def _id(found: stripe.Invoice) -> str:
    assert found.id, "a stored Stripe object has an id"
    return found.id


def _reference(found: object) -> str:
    return found if isinstance(found, str) else str(getattr(found, "id", ""))


def _metadata(found: stripe.Customer | stripe.Invoice | stripe.InvoiceItem, name: str) -> str:
    metadata: Any = found.metadata
    values = metadata if isinstance(metadata, dict) else metadata.to_dict() if metadata is not None else {}
    return str(values.get(name, ""))


@contextmanager
def _translated() -> Iterator[None]:
    """Stripe's exceptions end here."""
    try:
        yield
    except (stripe.APIConnectionError, stripe.RateLimitError) as error:
        raise ProviderUnavailable(_sentence(error)) from error
    except stripe.StripeError as error:
        if error.code == "resource_missing":
            raise ReferenceUnknown(_sentence(error)) from error
        # 409: another call with this key is still running; 424 and 5xx: Stripe's own trouble.
        if error.http_status is None or error.http_status in {409, 424, 429} or error.http_status >= 500:
            raise ProviderUnavailable(_sentence(error)) from error
        raise ProviderRefused(_sentence(error)) from error


def _sentence(error: stripe.StripeError) -> str:
    return f"{type(error).__name__}: {error.user_message or str(error)}"[:500]
