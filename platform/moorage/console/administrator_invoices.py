"""Invoices of all organizations: one with its history and what is behind it, and what may be done to it, and why."""

import dataclasses
from collections.abc import Mapping
from typing import Final, assert_never

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.actor import Actor
from moorage.billing import approvals, owed, review, review_queue
from moorage.billing import services as billing
from moorage.billing import statement as statement_text
from moorage.billing.approvals import Outcome
from moorage.billing.models import Invoice, InvoiceStatus
from moorage.billing.review import InvoiceVerb
from moorage.console.addresses import filter_of, found
from moorage.console.doors import actor_of, administrator
from moorage.console.forms_review import AdjustForm, ReasonForm
from moorage.console.statements import LineRow, invoice_lines, invoice_row, line_row
from moorage.console.templatetags.shown import curl_command
from moorage.kernel.clock import Period
from moorage.kernel.errors import PlatformError
from moorage.kernel.money import PICO_PER_CENT

_SHOWN_MOST: Final = 500
_WAITS: Final = "It is a large amount: it waits for another administrator's approval."
_FORMS: Final[Mapping[InvoiceVerb, type[ReasonForm]]] = {InvoiceVerb.ADJUST: AdjustForm}
#: The body of a deed over REST.
_BODY: Final = """-H "Content-Type: application/json" -d '{"reason": "Checked."}'"""


@dataclasses.dataclass(frozen=True, kw_only=True)
class VerbWords:
    """A deed on the page: its button, and what it leads to."""

    button: str
    consequence: str
    done: str
    is_grave: bool = False


_WORDS: Final = {
    InvoiceVerb.APPROVE: VerbWords(
        button="Approve",
        consequence="The invoice gets its number and goes to the organization. It cannot be changed afterwards.",
        done="The invoice is approved.",
    ),
    InvoiceVerb.SEND_BACK: VerbWords(
        button="Send back",
        consequence="The invoice stays in review. Say what has to be cleared before it can be approved.",
        done="The invoice is sent back and stays in review.",
    ),
    InvoiceVerb.ADJUST: VerbWords(
        button="Adjust",
        consequence="A credit note takes back a part of the invoice, or all of it. The invoice stays as it is.",
        done="The credit note is issued.",
        is_grave=True,
    ),
    InvoiceVerb.MARK_PAID: VerbWords(
        button="Mark paid",
        consequence="The bank transfer has come. Say where that can be read, such as a line of the bank's list.",
        done="The invoice is paid.",
    ),
    InvoiceVerb.VOID: VerbWords(
        button="Void",
        consequence="The invoice is not owed and never will be. Its statement stays as it is.",
        done="The invoice is void.",
        is_grave=True,
    ),
    InvoiceVerb.MARK_UNCOLLECTIBLE: VerbWords(
        button="Mark uncollectible",
        consequence="Nobody expects the money any more. Should it come, it is still taken.",
        done="The invoice is uncollectible.",
        is_grave=True,
    ),
}


@administrator
@require_safe
def invoices(request: HttpRequest) -> HttpResponse:
    """The invoices of all organizations, newest first."""
    status = filter_of(request, "status")
    if status is not None and status not in InvoiceStatus.values:
        raise Http404("Invoices have no such status.")
    all_invoices = review.all_invoices(status=InvoiceStatus(status) if status else None)
    context = {
        "waiting": len(review_queue.queue()),
        "rows": [invoice_row(invoice) for invoice in all_invoices[:_SHOWN_MOST]],
        "status": status,
        "statuses": InvoiceStatus.choices,
        "command": curl_command("admin/invoices"),
    }
    return render(request, "administrator/invoices.html", context)


@administrator
@require_safe
def invoice(request: HttpRequest, invoice_id: str) -> HttpResponse:
    """One invoice: its lines, its history, and what can be done now."""
    return _page(request, _invoice(invoice_id))


@administrator
@require_POST
def invoice_verb(request: HttpRequest, invoice_id: str, verb: str) -> HttpResponse:
    """Does one deed, with its reason, and shows the invoice as it is then."""
    if verb not in set(InvoiceVerb):
        raise Http404("Invoices know no such verb.")
    one, chosen = _invoice(invoice_id), InvoiceVerb(verb)
    form = _FORMS.get(chosen, ReasonForm)(request.POST, currency=one.currency)
    if form.is_valid():
        try:
            outcome = _do(chosen, invoice=one, by=actor_of(request), form=form)
        except PlatformError as error:
            form.add_error(error.param if error.param in form.fields else "reason", error.message)
        else:
            messages.success(request, _WORDS[chosen].done if outcome.is_done else _WAITS)
            return redirect("console:admin_invoice", invoice_id=invoice_id)
    return _page(request, _invoice(invoice_id), tried=chosen, form=form)


def _do(verb: InvoiceVerb, *, invoice: Invoice, by: Actor, form: ReasonForm) -> Outcome:
    reason: str = form.cleaned_data["reason"]
    match verb:
        case InvoiceVerb.APPROVE:
            billing.approve_invoice(invoice=invoice, by=by, reason=reason)
        case InvoiceVerb.SEND_BACK:
            billing.send_back(invoice=invoice, by=by, reason=reason)
        case InvoiceVerb.MARK_PAID:
            billing.mark_paid(invoice=invoice, by=by, reason=reason)
        case InvoiceVerb.ADJUST:
            assert isinstance(form, AdjustForm)
            return billing.adjust_invoice(
                invoice=invoice,
                by=by,
                reason=reason,
                amount_cents=form.cents(),
                is_to_wallet=form.cleaned_data["is_to_wallet"],
            )
        case InvoiceVerb.VOID:
            return billing.void_invoice(invoice=invoice, by=by, reason=reason)
        case InvoiceVerb.MARK_UNCOLLECTIBLE:
            return billing.mark_uncollectible(invoice=invoice, by=by, reason=reason)
        case _:
            assert_never(verb)
    return Outcome()


def _page(
    request: HttpRequest, invoice: Invoice, *, tried: InvoiceVerb | None = None, form: ReasonForm | None = None
) -> HttpResponse:
    """The page of ``invoice``; after a refused deed, with its form as it was and a message."""
    verbs = review.verbs_of(invoice)
    if tried is not None and tried not in verbs and form is not None:
        messages.error(request, " ".join(str(error) for error in form.errors["reason"]))
    context = {
        "row": invoice_row(invoice),
        "lines": invoice_lines(invoice),
        "history": accounts.audit_of(subject=invoice.id),
        "verbs": [(verb, _WORDS[verb], form if verb is tried and form else _blank(verb, invoice)) for verb in verbs],
        "tried": tried,
        "waiting": approvals.waiting_for(invoice),
        "is_own": _is_own(request, invoice),
        "left_pico": owed.left_of(invoice).total_cents * PICO_PER_CENT if invoice.number is not None else None,
        "sources": _line_links(invoice),
        "command": _command(invoice, verbs[0]) if verbs else "",
    }
    return render(request, "administrator/invoice.html", context, status=200 if form is None else 422)


def _blank(verb: InvoiceVerb, invoice: Invoice) -> ReasonForm:
    return _FORMS.get(verb, ReasonForm)(auto_id=f"id_{verb}_%s", currency=invoice.currency)


def _is_own(request: HttpRequest, invoice: Invoice) -> bool:
    waits = approvals.waiting_for(invoice)
    return waits is not None and waits.requested_by == approvals.person_of(actor_of(request))


def _line_links(invoice: Invoice) -> list[tuple[LineRow, Period]]:
    """The frozen lines behind the invoice, each with the month of the statement it stands on."""
    period = Period.containing(invoice.statement.period_start)
    return [
        (line_row(line, period, invoice.currency), period)
        for line in statement_text.parse(invoice.statement.document).lines
    ]


def _command(invoice: Invoice, verb: InvoiceVerb) -> str:
    return curl_command(f"admin/invoices/{invoice.id}/{verb}", method="POST", options=_BODY)


def _invoice(invoice_id: str) -> Invoice:
    with found():
        return review.any_invoice(invoice_id)
