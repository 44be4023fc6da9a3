"""Invoices that wait for an administrator: parked in review, or disputed, with why, since when, and what changed."""

import dataclasses
import datetime as dt
from collections.abc import Iterable

from django.db.models import Q

from moorage.billing.models import Invoice, InvoiceStatus
from moorage.kernel.clock import Period


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Waiting:
    """One invoice in the queue."""

    invoice: Invoice
    #: As sentences.
    why: str
    is_disputed: bool
    since: dt.datetime
    #: The total of the month before; None where there was no invoice.
    last_cents: int | None

    @property
    def change_cents(self) -> int | None:
        """Against the month before."""
        return None if self.last_cents is None else self.invoice.total_cents - self.last_cents

    @property
    def change_percent(self) -> int | None:
        """The same in whole percent of the month before, rounded down; None where that was nothing."""
        return None if not self.last_cents else (self.invoice.total_cents - self.last_cents) * 100 // self.last_cents


def queue() -> tuple[Waiting, ...]:
    """Disputed ones first, then those in review, each the oldest first."""
    waiting = Q(status=InvoiceStatus.IN_REVIEW) | Q(disputed_at__isnull=False)
    rows = list(Invoice.objects.filter(waiting).select_related("organization", "statement"))
    last = _month_before(rows)
    found = [
        Waiting(
            invoice=row,
            why=_why(row),
            is_disputed=row.disputed_at is not None,
            since=row.disputed_at or row.created_at,
            last_cents=last.get(row.pk),
        )
        for row in rows
    ]
    return tuple(sorted(found, key=lambda one: (not one.is_disputed, one.since, one.invoice.pk)))


def _why(invoice: Invoice) -> str:
    if invoice.disputed_at is None:
        return invoice.reason
    return "The customer's bank disputes the payment. Answer the payment provider, or credit the invoice."


def _month_before(invoices: Iterable[Invoice]) -> dict[str, int]:
    """The totals of the months before, by the id of the invoice that follows."""
    wanted = {(invoice.organization_id, _before(invoice.statement.period_start)): invoice.pk for invoice in invoices}
    rows = Invoice.objects.filter(
        organization_id__in={organization_id for organization_id, _ in wanted},
        statement__period_start__in={start for _, start in wanted},
    ).exclude(status=InvoiceStatus.VOID)
    totals = rows.values_list("organization_id", "statement__period_start", "total_cents")
    return {wanted[owner, start]: cents for owner, start, cents in totals if (owner, start) in wanted}


def _before(start: dt.datetime) -> dt.datetime:
    return Period.containing(start - dt.timedelta(days=1)).start
