"""Bills as files, credit notes, the export that a customer verifies, and to whom invoices are made out."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.models import Membership, Role
from moorage.billing import bill_files, billing_details, credit_notes, export, review
from moorage.billing import queries as billing
from moorage.billing.bill_files import BillFile, FileKind
from moorage.billing.errors import InvalidBillingDetails, StatementRunning
from moorage.billing.models import CreditNote
from moorage.console.addresses import found, month_of
from moorage.console.doors import actor_of, administrator, member
from moorage.console.forms_bills import BillingDetailsForm
from moorage.kernel.money import PICO_PER_CENT

#: Who may say to whom invoices are made out.


@member(accounts.MAY_SEE_BILLING)
@require_safe
def invoice_file(request: HttpRequest, membership: Membership, invoice_id: str, kind: str) -> HttpResponse:  # noqa: ARG001
    """One invoice as PDF, CSV or JSON."""
    with found():
        invoice = billing.invoice(organization=membership.organization, invoice_id=invoice_id)
    return _saved(bill_files.of_invoice(invoice, _kind(kind)))


@administrator
@require_safe
def any_invoice_file(request: HttpRequest, invoice_id: str, kind: str) -> HttpResponse:  # noqa: ARG001
    """The same of whichever organization."""
    with found():
        invoice = review.any_invoice(invoice_id)
    return _saved(bill_files.of_invoice(invoice, _kind(kind)))


@member(accounts.MAY_SEE_BILLING)
@require_safe
def notes(request: HttpRequest, membership: Membership) -> HttpResponse:
    """What was taken back of invoices, newest first."""
    rows = [_row(note) for note in credit_notes.of_organization(membership.organization)]
    return render(request, "billing/credit_notes.html", {"organization": membership.organization, "rows": rows})


@member(accounts.MAY_SEE_BILLING)
@require_safe
def note(request: HttpRequest, membership: Membership, credit_note_id: str) -> HttpResponse:
    """One credit note with its lines."""
    with found():
        one = credit_notes.one_of(organization=membership.organization, credit_note_id=credit_note_id)
    context = {
        "organization": membership.organization,
        "row": _row(one),
        "lines": [(line, line.amount_cents * PICO_PER_CENT) for line in one.lines.order_by("position")],
        "tax": [(billing_text, cents * PICO_PER_CENT) for billing_text, cents in credit_notes.printed_tax(one)],
    }
    return render(request, "billing/credit_note.html", context)


@member(accounts.MAY_SEE_BILLING)
@require_safe
def note_file(request: HttpRequest, membership: Membership, credit_note_id: str, kind: str) -> HttpResponse:  # noqa: ARG001
    """One credit note as PDF, CSV or JSON."""
    with found():
        one = credit_notes.one_of(organization=membership.organization, credit_note_id=credit_note_id)
    return _saved(bill_files.of_credit_note(one, _kind(kind)))


@member(accounts.MAY_SEE_BILLING)
@require_safe
def statement_export(request: HttpRequest, membership: Membership) -> HttpResponseBase:
    """A closed month with every rated request, streamed."""
    try:
        statement = billing.frozen_statement(organization=membership.organization, period=month_of(request))
    except StatementRunning as error:
        raise Http404(error.message) from error
    return StreamingHttpResponse(
        export.stream(statement),
        content_type="application/jsonl",
        headers=_headers(export.filename(statement)),
    )


@member(accounts.MAY_SEE_BILLING)
@require_safe
def verifier(request: HttpRequest, membership: Membership) -> HttpResponse:  # noqa: ARG001
    """The program that recomputes a bill from its export."""
    return HttpResponse(
        billing.verifier_program(),
        content_type="text/x-python; charset=utf-8",
        headers=_headers("verify_statement.py"),
    )


@member(accounts.MAY_SEE_BILLING)
@require_http_methods(["GET", "POST"])
def details(request: HttpRequest, membership: Membership) -> HttpResponse:
    """To whom invoices are made out; an owner changes it."""
    organization = membership.organization
    known = billing_details.details_of(organization)
    initial = {name: getattr(known, name) for name in BillingDetailsForm.base_fields}
    form = BillingDetailsForm(request.POST if request.method == "POST" else None, initial=initial)
    if request.method == "POST":
        accounts.require_role(membership, accounts.MAY_SET_BILLING_DETAILS)
        if form.is_valid():
            try:
                billing_details.set_details(organization=organization, by=actor_of(request), **form.cleaned_data)
            except InvalidBillingDetails as error:
                form.add_error(error.param if error.param in form.fields else None, error.message)
            else:
                messages.success(request, "Your next invoices are made out so.")
                return redirect(request.path)
    context = {
        "organization": organization,
        "buyer": billing_details.buyer_of(organization),
        "form": form if Role(membership.role) in accounts.MAY_SET_BILLING_DETAILS else None,
    }
    return render(request, "billing/details.html", context, status=422 if form.errors else 200)


def _row(note: CreditNote) -> dict[str, object]:
    return {
        "note": note,
        "number": credit_notes.number_text(note),
        "invoice_number": credit_notes.invoice_number(note),
        "total_pico": note.total_cents * PICO_PER_CENT,
        "subtotal_pico": note.subtotal_cents * PICO_PER_CENT,
        "owed_pico": note.owed_cents * PICO_PER_CENT,
        "refund_pico": note.refund_cents * PICO_PER_CENT,
    }


def _kind(text: str) -> FileKind:
    if text not in set(FileKind):
        raise Http404("A bill can be saved as pdf, csv or json.")
    return FileKind(text)


def _saved(file: BillFile) -> HttpResponse:
    return HttpResponse(file.content, content_type=file.content_type, headers=_headers(file.name))


def _headers(filename: str) -> dict[str, str]:
    return {"Content-Disposition": f'attachment; filename="{filename}"', "Cache-Control": "no-store"}
