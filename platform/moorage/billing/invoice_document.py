"""An invoice or a credit note as one document, from its frozen rows alone: what PDF, CSV, JSON and the verifier show.

The same rows give the same document, for as long as they are kept. What moves on (status, payment) is not in it.
Amounts in pico are decimal strings; cents are whole numbers.
"""

import dataclasses
import datetime as dt
import json
from collections.abc import Sequence
from typing import Final

from moorage.billing import billing_details, credit_notes, invoices
from moorage.billing.billing_details import Buyer, Seller
from moorage.billing.models import CreditNote, Invoice
from moorage.kernel.clock import Period

VERSION: Final = 1


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DocumentLine:
    """A line as it is printed. ``meter`` is empty on a credit note."""

    description: str
    amount_pico: int
    amount_cents: int
    meter: str = ""
    quantity: int = 0


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DocumentTax:
    """A tax as it is printed."""

    name: str
    basis_points: int
    amount_cents: int

    @property
    def text(self) -> str:
        """Its name and rate."""
        return invoices.tax_text(self.name, self.basis_points)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BillDocument:
    """An invoice, or a credit note with the amounts that it credits."""

    #: ``invoice`` or ``credit_note``.
    kind: str
    id: str
    #: Empty before an invoice is finalized.
    number: str
    issued_at: dt.datetime | None
    due_at: dt.datetime | None
    period: str
    currency: str
    seller: Seller
    buyer: Buyer
    lines: tuple[DocumentLine, ...]
    tax: tuple[DocumentTax, ...]
    subtotal_cents: int
    tax_cents: int
    total_cents: int
    statement_id: str
    statement_sha256: str
    #: Of a credit note: the invoice that it takes back from, and why.
    invoice_id: str = ""
    invoice_number: str = ""
    reason: str = ""

    @property
    def title(self) -> str:
        """``Invoice M-000042``."""
        name = "Invoice" if self.kind == "invoice" else "Credit note"
        return f"{name} {self.number or '(draft)'}"


def of_invoice(invoice: Invoice) -> BillDocument:
    """The document of ``invoice``. Before a number is given, buyer and seller are those of today."""
    has_number = invoice.number is not None
    return BillDocument(
        kind="invoice",
        id=invoice.pk,
        number=invoices.number_text(invoice),
        issued_at=invoice.finalized_at,
        due_at=invoice.due_at,
        period=str(Period.containing(invoice.statement.period_start)),
        currency=invoice.currency,
        seller=billing_details.seller_from(invoice.seller) if has_number else billing_details.seller(),
        buyer=(
            billing_details.buyer_from(invoice.buyer) if has_number else billing_details.buyer_of(invoice.organization)
        ),
        lines=tuple(
            DocumentLine(
                description=line.description,
                amount_pico=int(line.amount_pico),
                amount_cents=line.amount_cents,
                meter=line.meter,
                quantity=line.quantity,
            )
            for line in invoice.lines.order_by("position")
        ),
        tax=_tax(list(invoice.tax_lines.order_by("position").values_list("name", "basis_points", "amount_cents"))),
        subtotal_cents=invoice.subtotal_cents,
        tax_cents=invoice.tax_cents,
        total_cents=invoice.total_cents,
        statement_id=invoice.statement_id,
        statement_sha256=invoice.statement.sha256,
    )


def of_credit_note(note: CreditNote) -> BillDocument:
    """The document of ``note``, made out by and to whom its invoice was."""
    invoice = note.invoice
    return BillDocument(
        kind="credit_note",
        id=note.pk,
        number=credit_notes.number_text(note),
        issued_at=note.issued_at,
        due_at=None,
        period=str(Period.containing(invoice.statement.period_start)),
        currency=note.currency,
        seller=billing_details.seller_from(invoice.seller),
        buyer=billing_details.buyer_from(invoice.buyer),
        lines=tuple(
            DocumentLine(
                description=line.description, amount_pico=int(line.amount_pico), amount_cents=line.amount_cents
            )
            for line in note.lines.order_by("position")
        ),
        tax=_tax(list(note.tax_lines.order_by("position").values_list("name", "basis_points", "amount_cents"))),
        subtotal_cents=note.subtotal_cents,
        tax_cents=note.tax_cents,
        total_cents=note.total_cents,
        statement_id=invoice.statement_id,
        statement_sha256=invoice.statement.sha256,
        invoice_id=invoice.pk,
        invoice_number=invoices.number_text(invoice),
        reason=note.reason,
    )


def as_dict(document: BillDocument) -> dict[str, object]:
    """``document`` as JSON shows it."""
    found: dict[str, object] = {
        "version": VERSION,
        "kind": document.kind,
        "id": document.id,
        "number": document.number,
        "issued_at": document.issued_at.isoformat() if document.issued_at else None,
        "due_at": document.due_at.isoformat() if document.due_at else None,
        "period": document.period,
        "currency": document.currency,
        "seller": billing_details.kept(document.seller),
        "buyer": billing_details.kept(document.buyer),
        "lines": [{**dataclasses.asdict(line), "amount_pico": str(line.amount_pico)} for line in document.lines],
        "tax": [dataclasses.asdict(one) for one in document.tax],
        "subtotal_cents": document.subtotal_cents,
        "tax_cents": document.tax_cents,
        "total_cents": document.total_cents,
        "statement": {"id": document.statement_id, "sha256": document.statement_sha256},
    }
    if document.kind == "credit_note":
        found["invoice"] = {"id": document.invoice_id, "number": document.invoice_number}
        found["reason"] = document.reason
    return found


def canonical(document: BillDocument) -> str:
    """The one text of ``document``: JSON with sorted keys and no spaces."""
    return json.dumps(as_dict(document), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def cents_text(cents: int) -> str:
    """``1,234.50``, ``-3.00``."""
    whole, part = divmod(abs(cents), 100)
    return f"{'-' if cents < 0 else ''}{whole:,}.{part:02d}"


def _tax(rows: Sequence[tuple[str, int, int]]) -> tuple[DocumentTax, ...]:
    return tuple(DocumentTax(name=name, basis_points=rate, amount_cents=cents) for name, rate, cents in rows)
