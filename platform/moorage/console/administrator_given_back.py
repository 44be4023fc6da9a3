"""Money that went, or goes, back past the payment provider's usual way: an administrator says what was done."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from moorage.billing import foreign_refunds, invoice_refunds, payouts, review
from moorage.billing import services as billing
from moorage.console.addresses import found
from moorage.console.doors import actor_of, administrator
from moorage.kernel.errors import PlatformError


@administrator
@require_POST
def paid_out(request: HttpRequest, credit_note_id: str) -> HttpResponse:
    """The bank transfer of a credit note has been made."""
    try:
        note = payouts.one(credit_note_id)
        outcome = billing.pay_out(note=note, by=actor_of(request), reason=request.POST.get("reason", ""))
    except PlatformError as error:
        if error.status_code == 404:
            raise Http404(error.message) from error
        messages.error(request, error.message)
    else:
        waits = "So much asks for another administrator: it waits for them."
        messages.success(request, "The payout is recorded." if outcome.is_done else waits)
    return redirect("console:admin_review")


@administrator
@require_POST
def book_refund(request: HttpRequest, invoice_id: str) -> HttpResponse:
    """Money of an invoice went back at the provider: a credit note, or our loss."""
    with found():
        invoice = review.any_invoice(invoice_id)
    booked_as = request.POST.get("booked_as", "")
    if booked_as not in set(invoice_refunds.BookedAs):
        raise Http404("A refund is booked as a credit note or as a loss.")
    try:
        outcome = invoice_refunds.book(
            invoice=invoice,
            booked_as=invoice_refunds.BookedAs(booked_as),
            by=actor_of(request),
            reason=request.POST.get("reason", ""),
        )
    except PlatformError as error:
        messages.error(request, error.message)
    else:
        waits = "So much asks for another administrator: it waits for them."
        messages.success(request, "The refund is booked." if outcome.is_done else waits)
    return redirect("console:admin_reconciliation")


@administrator
@require_POST
def accept_loss(request: HttpRequest, refund_id: str) -> HttpResponse:
    """What was paid back of used credit is our loss."""
    try:
        foreign_refunds.accept_loss(refund_id=refund_id, by=actor_of(request), reason=request.POST.get("reason", ""))
    except PlatformError as error:
        if error.status_code == 404:
            raise Http404(error.message) from error
        messages.error(request, error.message)
    else:
        messages.success(request, "The loss is booked.")
    return redirect("console:admin_review")
