"""One invoice and credit notes, as JSON and as files; the export of a month and the program that verifies it; billing
details."""

from collections.abc import Mapping
from typing import Any, Final

from django.http import HttpResponse, StreamingHttpResponse
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts
from moorage.accounts.errors import RoleTooLow
from moorage.api import examples, examples_bills, paging
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.renderers import CsvRenderer, JsonLinesRenderer, PdfRenderer, PythonRenderer
from moorage.api.serializers_bills import (
    BillingDetailsFields,
    BillingDetailsSerializer,
    CreditNoteSerializer,
    InvoiceDetailSerializer,
)
from moorage.api.serializers_usage import PeriodFields
from moorage.api.statements import TAG
from moorage.billing import bill_files, billing_details, credit_notes, export, owed
from moorage.billing import queries as billing
from moorage.billing.bill_files import BillFile, FileKind
from moorage.billing.errors import (
    CreditNoteNotFound,
    InvalidBillingDetails,
    InvalidPeriod,
    InvoiceNotFound,
    StatementRunning,
)
from moorage.billing.models import CreditNote, Invoice

_FILES: Final[Mapping[int, Answer]] = {
    200: Answer(
        description="The file.",
        texts={
            "application/pdf": examples_bills.PDF,
            "text/csv": examples_bills.CSV,
            "application/json": examples_bills.DOCUMENT,
        },
    )
}


class InvoiceView(OrganizationView):
    """One invoice."""

    @operation(
        id="getInvoice",
        tag=TAG,
        summary="Read an invoice",
        path=["invoice_id"],
        answers={
            200: Answer(description="The invoice.", kind=InvoiceDetailSerializer, example=examples_bills.INVOICE_DETAIL)
        },
        raises=[InvoiceNotFound],
    )
    def get(self, _request: Request, invoice_id: str) -> Response:
        """The invoice line by line, with tax, what is still owed, and its credit notes."""
        invoice = billing.invoice(organization=self.organization, invoice_id=invoice_id)
        shown = _with_lines(invoice)
        shown.owed_cents = owed.cents(invoice)
        shown.credit_note_ids = [note.pk for note in credit_notes.of_invoice(invoice)]
        return Response(InvoiceDetailSerializer(shown).data)


class _FileView(OrganizationView):
    renderer_classes = [JSONRenderer, PdfRenderer, CsvRenderer]


class InvoiceFileView(_FileView):
    """One invoice as a file."""

    @operation(
        id="downloadInvoice",
        tag=TAG,
        summary="Download an invoice",
        path=["invoice_id", "kind"],
        answers=_FILES,
        raises=[InvoiceNotFound],
    )
    def get(self, _request: Request, invoice_id: str, kind: str) -> HttpResponse:
        """The invoice as `pdf`, `csv` or `json`. Once it has a number, every download has the same bytes."""
        invoice = billing.invoice(organization=self.organization, invoice_id=invoice_id)
        return download(bill_files.of_invoice(invoice, FileKind(kind)))


class CreditNotesView(OrganizationView):
    """The organization's credit notes."""

    @operation(
        id="listCreditNotes",
        tag=TAG,
        summary="List credit notes",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The credit notes, newest first.",
                kind=paging.page_of(CreditNoteSerializer),
                example=examples.page(examples_bills.CREDIT_NOTE),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """What was taken back of your invoices, newest first."""
        page = paging.page(credit_notes.of_organization(self.organization), order="-id", query=self.query)
        rows = [_with_lines(note) for note in page.rows]
        return paging.Page(rows=rows, next_cursor=page.next_cursor).answer(CreditNoteSerializer)


class CreditNoteView(OrganizationView):
    """One credit note."""

    @operation(
        id="getCreditNote",
        tag=TAG,
        summary="Read a credit note",
        path=["credit_note_id"],
        answers={
            200: Answer(description="The credit note.", kind=CreditNoteSerializer, example=examples_bills.CREDIT_NOTE)
        },
        raises=[CreditNoteNotFound],
    )
    def get(self, _request: Request, credit_note_id: str) -> Response:
        """The credit note line by line."""
        note = credit_notes.one_of(organization=self.organization, credit_note_id=credit_note_id)
        return Response(CreditNoteSerializer(_with_lines(note)).data)


class CreditNoteFileView(_FileView):
    """One credit note as a file."""

    @operation(
        id="downloadCreditNote",
        tag=TAG,
        summary="Download a credit note",
        path=["credit_note_id", "kind"],
        answers=_FILES,
        raises=[CreditNoteNotFound],
    )
    def get(self, _request: Request, credit_note_id: str, kind: str) -> HttpResponse:
        """The credit note as `pdf`, `csv` or `json`; every download has the same bytes."""
        note = credit_notes.one_of(organization=self.organization, credit_note_id=credit_note_id)
        return download(bill_files.of_credit_note(note, FileKind(kind)))


class StatementExportView(OrganizationView):
    """A closed month with everything that it sums up."""

    renderer_classes = [JSONRenderer, JsonLinesRenderer]

    @operation(
        id="exportStatement",
        tag=TAG,
        summary="Export a closed month request by request",
        query=PeriodFields,
        answers={200: Answer(description="The export.", texts={"application/jsonl": examples_bills.EXPORT})},
        raises=[InvalidPeriod, StatementRunning],
    )
    def get(self, _request: Request) -> StreamingHttpResponse:
        """JSON Lines: the frozen statement with its invoice and credit notes, then every rated request and interval of
        replica time, then their count and a seal. `GET /statement/verifier` is the program that recomputes the bill
        from it, offline."""
        period = billing.period_of(self.query.get("period"))
        statement = billing.frozen_statement(organization=self.organization, period=period)
        return export_answer(export.stream(statement), export.filename(statement))


class VerifierView(OrganizationView):
    """The program that recomputes a bill."""

    renderer_classes = [JSONRenderer, PythonRenderer]

    @operation(
        id="downloadVerifier",
        tag=TAG,
        summary="Download the verifier",
        answers={200: Answer(description="A Python program.", texts={"text/x-python": "#!/usr/bin/env python3\n…"})},
    )
    def get(self, _request: Request) -> HttpResponse:
        """One Python file without dependencies: `python3 verify_statement.py export.jsonl` recomputes the bill to the
        pico-dollar and the invoice to the cent, offline, and says what is not so."""
        return verifier_answer()


class BillingDetailsView(OrganizationView):
    """To whom invoices are made out."""

    _SHOWN: Final = {
        200: Answer(
            description="The billing details.", kind=BillingDetailsSerializer, example=examples_bills.BILLING_DETAILS
        )
    }

    @operation(id="getBillingDetails", tag=TAG, summary="Read the billing details", answers=_SHOWN)
    def get(self, _request: Request) -> Response:
        """What will stand on your next invoices."""
        return Response(BillingDetailsSerializer(billing_details.details_of(self.organization)).data)

    @operation(
        id="setBillingDetails",
        tag=TAG,
        summary="Set the billing details",
        body=BillingDetailsFields,
        body_example=examples_bills.BILLING_DETAILS,
        answers=_SHOWN,
        raises=[InvalidBillingDetails, RoleTooLow],
    )
    def put(self, _request: Request) -> Response:
        """What shall stand on your next invoices. Those that have a number keep what stood on them. For keys that an
        owner has made."""
        self.require_maker(accounts.MAY_SET_BILLING_DETAILS)
        made = billing_details.set_details(organization=self.organization, by=self.actor, **self.body)
        return Response(BillingDetailsSerializer(made).data)


def _with_lines(bill: Invoice | CreditNote) -> Any:
    """``bill`` with its lines as they are printed, for the serializers."""
    shown: Any = bill
    shown.ordered_lines = list(bill.lines.order_by("position"))
    shown.ordered_tax = list(bill.tax_lines.order_by("position"))
    for row in (*shown.ordered_lines, *shown.ordered_tax):
        row.currency = bill.currency
    return shown


def download(file: BillFile) -> HttpResponse:
    """``file``, to be saved."""
    return HttpResponse(
        file.content,
        content_type=file.content_type,
        headers={"Content-Disposition": f'attachment; filename="{file.name}"', "Cache-Control": "no-store"},
    )


def export_answer(pieces: Any, filename: str) -> StreamingHttpResponse:
    """An export, streamed."""
    return StreamingHttpResponse(
        pieces,
        content_type="application/jsonl",
        headers={"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"},
    )


def verifier_answer() -> HttpResponse:
    """The verifier, to be saved."""
    return HttpResponse(
        billing.verifier_program(),
        content_type="text/x-python; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="verify_statement.py"'},
    )
