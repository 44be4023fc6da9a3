"""The life of an invoice: the transitions table, and the only writer of its status.

draft ──> in_review ──> finalized ──> paid
  │           │             ├──────> uncollectible ──> paid
  │           │             │              │
  └───────────┴─────────────┴──────────────┴──> void
"""

from collections.abc import Mapping
from typing import Final

from moorage.billing.errors import InvoiceChanged
from moorage.billing.models import Invoice, InvoiceStatus

TRANSITIONS: Final[Mapping[InvoiceStatus, frozenset[InvoiceStatus]]] = {
    InvoiceStatus.DRAFT: frozenset({InvoiceStatus.IN_REVIEW, InvoiceStatus.FINALIZED, InvoiceStatus.VOID}),
    InvoiceStatus.IN_REVIEW: frozenset({InvoiceStatus.FINALIZED, InvoiceStatus.VOID}),
    InvoiceStatus.FINALIZED: frozenset({InvoiceStatus.PAID, InvoiceStatus.VOID, InvoiceStatus.UNCOLLECTIBLE}),
    InvoiceStatus.UNCOLLECTIBLE: frozenset({InvoiceStatus.PAID, InvoiceStatus.VOID}),
    InvoiceStatus.PAID: frozenset(),
    InvoiceStatus.VOID: frozenset(),
}


def may_move(status: str, to: InvoiceStatus) -> bool:
    """Whether the table has this transition."""
    return to in TRANSITIONS[InvoiceStatus(status)]


def move(invoice: Invoice, *, to: InvoiceStatus, reason: str, **changes: object) -> None:
    """Moves ``invoice`` and writes ``changes`` with it, in one guarded update. Raises InvoiceChanged when the table
    has no such transition or somebody else has moved it meanwhile."""
    if not may_move(invoice.status, to):
        raise InvoiceChanged(f"An invoice that is {_word(invoice.status)} cannot become {_word(to)}.")
    wanted = {**changes, "status": to, "reason": reason}
    if not Invoice.objects.filter(pk=invoice.pk, status=invoice.status).update(**wanted):
        raise InvoiceChanged
    for name, value in wanted.items():
        setattr(invoice, name, value)


def _word(status: str) -> str:
    return str(InvoiceStatus(status).label).lower()
