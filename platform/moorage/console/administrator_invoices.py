"""Reviewing invoices: the queue, one invoice with its history, and what may be done to it, each with a reason."""

import dataclasses
from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.actor import Actor
from moorage.billing import review
from moorage.billing import services as billing
from moorage.billing.models import Invoice, InvoiceStatus
from moorage.billing.review import InvoiceVerb
from moorage.console.addresses import filter_of, found
from moorage.console.doors import actor_of, administrator
from moorage.console.forms_billing import ReasonForm
from moorage.console.statements import invoice_lines, invoice_row
from moorage.console.templatetags.shown import curl_command
from moorage.kernel.errors import PlatformError

_SHOWN_MOST: Final = 500
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
    """The queue of those that wait for a review, the oldest first; below it all others, newest first."""
    status = filter_of(request, "status")
    if status is not None and status not in InvoiceStatus.values:
        raise Http404("Invoices have no such status.")
    all_invoices = review.all_invoices(status=InvoiceStatus(status) if status else None)
    context = {
        "queue": [invoice_row(invoice) for invoice in review.review_queue()],
        "rows": [invoice_row(invoice) for invoice in all_invoices[:_SHOWN_MOST]],
        "status": status,
        "statuses": InvoiceStatus.choices,
        "parked": review.parked_messages(),
        "command": curl_command("admin/invoices?status=in_review"),
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
    one, chosen, form = _invoice(invoice_id), InvoiceVerb(verb), ReasonForm(request.POST)
    if form.is_valid():
        try:
            _do(chosen, invoice=one, by=actor_of(request), reason=form.cleaned_data["reason"])
        except PlatformError as error:
            form.add_error("reason", error.message)
        else:
            messages.success(request, _WORDS[chosen].done)
            return redirect("console:admin_invoice", invoice_id=invoice_id)
    return _page(request, _invoice(invoice_id), tried=chosen, form=form)


@administrator
@require_POST
def retry_message(request: HttpRequest, message_id: str) -> HttpResponse:
    """Sends what the payment provider refused once more."""
    message = review.parked_messages().filter(pk=message_id).first()
    if message is None:
        raise Http404("Nothing with this id waits for you.")
    billing.retry_message(message=message, by=actor_of(request))
    messages.success(request, "It is on its way to the payment provider again.")
    return redirect("console:admin_invoices")


def _do(verb: InvoiceVerb, *, invoice: Invoice, by: Actor, reason: str) -> None:
    match verb:
        case InvoiceVerb.APPROVE:
            billing.approve_invoice(invoice=invoice, by=by, reason=reason)
        case InvoiceVerb.MARK_PAID:
            billing.mark_paid(invoice=invoice, by=by, reason=reason)
        case InvoiceVerb.VOID:
            billing.void_invoice(invoice=invoice, by=by, reason=reason)
        case InvoiceVerb.MARK_UNCOLLECTIBLE:
            billing.mark_uncollectible(invoice=invoice, by=by, reason=reason)


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
        "verbs": [
            (verb, _WORDS[verb], form if verb is tried and form else ReasonForm(auto_id=f"id_{verb}_%s"))
            for verb in verbs
        ],
        "tried": tried,
        "command": _command(invoice, verbs[0]) if verbs else "",
    }
    return render(request, "administrator/invoice.html", context, status=200 if form is None else 422)


def _command(invoice: Invoice, verb: InvoiceVerb) -> str:
    return curl_command(f"admin/invoices/{invoice.id}/{verb}", method="POST", options=_BODY)


def _invoice(invoice_id: str) -> Invoice:
    with found():
        return review.any_invoice(invoice_id)
