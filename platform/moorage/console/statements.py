"""Statements of the months, the requests behind their lines, downloads, and the organization's invoices."""

import dataclasses
from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.models import Membership, Organization
from moorage.billing import credit_notes, owed
from moorage.billing import invoices as billing_invoices
from moorage.billing import queries as billing
from moorage.billing import statement as statement_text
from moorage.billing.models import CreditNote, Invoice, InvoiceLine
from moorage.billing.models import Statement as FrozenStatement
from moorage.billing.statement import Line
from moorage.console.addresses import filter_of, found, month_choice, month_of
from moorage.console.doors import member
from moorage.console.priced import meter_words
from moorage.console.usage import MEMBER
from moorage.kernel import clock
from moorage.kernel.clock import Period
from moorage.kernel.money import PICO_PER_CENT


@dataclasses.dataclass(frozen=True, kw_only=True)
class LineRow:
    """A line of a statement in words."""

    line: Line
    meter: str
    price_text: str
    is_late: bool

    @property
    def tier_text(self) -> str:
        """``tier 2 of 3`` of a graduated price; else empty."""
        return f"tier {self.line.tier + 1} of {len(self.line.tiers)}" if self.line.tiers else ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonthRow:
    """A month in the list: frozen with its hash, or not closed yet."""

    period: Period
    is_running: bool
    frozen: FrozenStatement | None


@member(accounts.MAY_SEE_BILLING)
@require_safe
def statement(request: HttpRequest, membership: Membership) -> HttpResponse:
    """A month line by line; the running one unless the address names another."""
    context = statement_context(membership.organization, month_of(request))
    return render(request, "billing/statement.html", {**context, "links": MEMBER})


def statement_context(organization: Organization, period: Period) -> dict[str, Any]:
    """The statement of ``period`` and the list of all months."""
    view = billing.statement(organization=organization, period=period)
    now = clock.now()
    frozen = {found.period_start: found for found in billing.frozen_statements(organization=organization)}
    return {
        "organization": organization,
        "month": month_choice(period, now=now),
        "view": view,
        "statement": view.statement,
        "lines": [line_row(line, period, view.statement.currency) for line in view.statement.lines],
        "unpriced": [(meter_words(one.meter), one) for one in view.statement.unpriced],
        "months": [
            MonthRow(period=month, is_running=now in month, frozen=frozen.get(month.start))
            for month in billing.months(organization=organization)
        ],
    }


def line_row(line: Line, period: Period, currency: str) -> LineRow:
    """``line`` in words, on the statement of ``period``."""
    return LineRow(
        line=line,
        meter=meter_words(line.meter),
        price_text=f"{line.price_text} {currency} per {line.price_unit}",
        is_late=line.usage_month != str(period),
    )


@member(accounts.MAY_SEE_BILLING)
@require_safe
def statement_csv(request: HttpRequest, membership: Membership) -> HttpResponse:
    """A month's lines for a spreadsheet."""
    return csv_answer(membership.organization, month_of(request))


@member(accounts.MAY_SEE_BILLING)
@require_safe
def statement_json(request: HttpRequest, membership: Membership) -> HttpResponse:
    """A month's statement as its canonical text."""
    return json_answer(membership.organization, month_of(request))


def csv_answer(organization: Organization, period: Period) -> HttpResponse:
    """The statement as CSV, to be saved."""
    text = billing.statement(organization=organization, period=period).csv
    return _download(text, f"{organization.slug}-{period}.csv", "text/csv; charset=utf-8")


def json_answer(organization: Organization, period: Period) -> HttpResponse:
    """The canonical JSON, to be saved: of a frozen month byte for byte what its SHA-256 is of."""
    text = billing.frozen_text(organization=organization, period=period)
    if text is None:
        text = statement_text.canonical(billing.statement(organization=organization, period=period).statement)
    return _download(text, f"{organization.slug}-{period}.json", "application/json")


@member(accounts.MAY_SEE_BILLING)
@require_safe
def statement_line(request: HttpRequest, membership: Membership, line_id: str) -> HttpResponse:
    """What a line sums up."""
    context = line_context(request, membership.organization, month_of(request), line_id)
    return render(request, "billing/line.html", {**context, "links": MEMBER})


def line_context(request: HttpRequest, organization: Organization, period: Period, line_id: str) -> dict[str, Any]:
    """A line of the statement of ``period`` and a page of the requests, or intervals of replica time, in it."""
    with found():
        page = billing.line_sources(
            organization=organization, period=period, line_id=line_id, after=filter_of(request, "after")
        )
    keys = {key.id: key.name for key in accounts.keys_of(organization)}
    return {
        "organization": organization,
        "period": period,
        "page": page,
        "row": line_row(page.line, period, organization.currency),
        "sources": [(source, keys.get(source.key_id, source.key_id)) for source in page.sources],
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class InvoiceRow:
    """An invoice with its number as it is printed and its total exactly."""

    invoice: Invoice
    number: str
    total_pico: int
    period: Period

    @property
    def owed_pico(self) -> int:
        """What is still to be paid of it."""
        return owed.cents(self.invoice) * PICO_PER_CENT

    @property
    def exact_pico(self) -> int:
        """What the statement leaves due, before rounding."""
        return self.invoice.statement.due_pico

    @property
    def subtotal_pico(self) -> int:
        """The same in whole cents."""
        return self.invoice.subtotal_cents * PICO_PER_CENT

    @property
    def tax(self) -> list[tuple[str, int]]:
        """Each tax in words with its whole cents as pico; before a number is given, what it would be."""
        lines = self.invoice.tax_lines.order_by("position")
        if self.invoice.number is None and self.invoice.tax_cents:
            return [(_("Tax, as it would be today"), self.invoice.tax_cents * PICO_PER_CENT)]
        return [
            (billing_invoices.tax_text(line.name, line.basis_points), line.amount_cents * PICO_PER_CENT)
            for line in lines
        ]

    @property
    def notes(self) -> list[tuple[CreditNote, str, int]]:
        """Its credit notes with their numbers and totals."""
        return [
            (note, credit_notes.number_text(note), note.total_cents * PICO_PER_CENT)
            for note in credit_notes.of_invoice(self.invoice)
        ]


def invoice_row(invoice: Invoice) -> InvoiceRow:
    """``invoice`` as the pages show it."""
    return InvoiceRow(
        invoice=invoice,
        number=billing_invoices.number_text(invoice),
        total_pico=invoice.total_cents * PICO_PER_CENT,
        period=Period.containing(invoice.statement.period_start),
    )


def invoice_lines(invoice: Invoice) -> list[tuple[InvoiceLine, int]]:
    """The lines in order, each with its whole cents as pico."""
    return [(line, line.amount_cents * PICO_PER_CENT) for line in invoice.lines.order_by("position")]


@member(accounts.MAY_SEE_BILLING)
@require_safe
def invoices(request: HttpRequest, membership: Membership) -> HttpResponse:
    """What is owed and what was paid, newest first."""
    rows = [invoice_row(invoice) for invoice in billing.invoices_of(membership.organization)]
    return render(request, "billing/invoices.html", {"organization": membership.organization, "rows": rows})


@member(accounts.MAY_SEE_BILLING)
@require_safe
def invoice(request: HttpRequest, membership: Membership, invoice_id: str) -> HttpResponse:
    """One invoice with its lines."""
    with found():
        one = billing.invoice(organization=membership.organization, invoice_id=invoice_id)
    context = {"organization": membership.organization, "row": invoice_row(one), "lines": invoice_lines(one)}
    return render(request, "billing/invoice.html", context)


def _download(text: str, filename: str, content_type: str) -> HttpResponse:
    return HttpResponse(
        text,
        content_type=content_type,
        headers={"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"},
    )
