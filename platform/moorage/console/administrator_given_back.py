"""Money that went, or goes, back past the payment provider's usual way: an administrator says what was done."""

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from moorage.billing import foreign_refunds, payouts
from moorage.billing import services as billing
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
