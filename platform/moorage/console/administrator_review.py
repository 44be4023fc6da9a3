"""The administrator's review: what waits for a person, requests for a second pair of eyes, and messages that failed."""

from typing import Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_POST, require_safe

from moorage.billing import (
    approvals,
    credit_notes,
    foreign_refunds,
    meter_export,
    payouts,
    review_csv,
    review_queue,
    trouble,
    usage_watch,
)
from moorage.billing import services as billing
from moorage.billing.reconciliation import runs
from moorage.console.doors import actor_of, administrator
from moorage.console.downloads import csv_file
from moorage.console.templatetags.shown import curl_command
from moorage.kernel import clock
from moorage.kernel.errors import PlatformError
from moorage.kernel.money import PICO_PER_CENT, amount_text

_SHOWN_MOST: Final = 200
_EXPORTED_MOST: Final = 10_000
_DONE: Final = {
    "approve": "It is approved and done.",
    "refuse": "It is refused; nothing was done.",
    "withdraw": "It is taken back; nothing was done.",
}


@administrator
@require_safe
def review(request: HttpRequest) -> HttpResponse:
    """Everything that waits for a person, the most urgent first."""
    person = approvals.person_of(actor_of(request))
    threshold = approvals.threshold_pico()
    context = {
        "queue": [_row(one) for one in review_queue.queue()],
        "approvals": [(one, one.requested_by == person) for one in approvals.waiting()],
        "threshold": amount_text(threshold) if threshold else None,
        "dirty": _dirty(),
        "anomalies": usage_watch.open_anomalies().count(),
        "parked": trouble.parked_messages()[:_SHOWN_MOST],
        "failing": trouble.failing_webhooks()[:_SHOWN_MOST],
        "payouts": [
            (one, credit_notes.number_text(one), one.refund_cents * PICO_PER_CENT)
            for one in payouts.waiting()[:_SHOWN_MOST]
        ],
        "uncovered": [
            (one, one.cents * PICO_PER_CENT, one.uncovered_cents * PICO_PER_CENT)
            for one in foreign_refunds.uncovered()[:_SHOWN_MOST]
        ],
        "pushes": [(one, one.value_micro * meter_export.PICO_PER_MICRO) for one in meter_export.stuck()[:_SHOWN_MOST]],
        "command": curl_command("admin/review"),
    }
    return render(request, "administrator/review.html", context)


@administrator
@require_safe
def queue_csv(_request: HttpRequest) -> HttpResponse:
    """The queue for a spreadsheet."""
    return csv_file(review_csv.queue_csv(review_queue.queue()), "review-queue.csv")


@administrator
@require_safe
def approval_list(request: HttpRequest) -> HttpResponse:
    """All requests for a second pair of eyes, the newest first."""
    person = approvals.person_of(actor_of(request))
    threshold = approvals.threshold_pico()
    context = {
        "rows": [(one, one.requested_by == person) for one in approvals.requests()[:_SHOWN_MOST]],
        "threshold": amount_text(threshold) if threshold else None,
        "command": curl_command("admin/approvals"),
    }
    return render(request, "administrator/approvals.html", context)


@administrator
@require_safe
def approvals_csv(_request: HttpRequest) -> HttpResponse:
    """The same for a spreadsheet."""
    return csv_file(review_csv.approvals_csv(approvals.requests()[:_EXPORTED_MOST]), "approvals.csv")


@administrator
@require_POST
def decide(request: HttpRequest, approval_id: str, verb: str) -> HttpResponse:
    """Approves, refuses, or takes back what somebody asked for."""
    if verb not in _DONE:
        raise Http404("Requests know no such verb.")
    approvals.find(approval_id)
    by, reason = actor_of(request), request.POST.get("reason", "")[:2000]
    try:
        if verb == "approve":
            billing.approve_request(request_id=approval_id, by=by, reason=reason)
        elif verb == "refuse":
            billing.refuse_request(request_id=approval_id, by=by, reason=reason)
        else:
            billing.withdraw_request(request_id=approval_id, by=by, reason=reason)
    except PlatformError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, _DONE[verb])
    return redirect("console:admin_review")


@administrator
@require_POST
def message_verb(request: HttpRequest, message_id: str, verb: str) -> HttpResponse:
    """Sends what the payment provider refused once more, or puts it away for good."""
    message = trouble.parked_messages().filter(pk=message_id).first()
    if message is None or verb not in ("retry", "give-up"):
        raise Http404("Nothing with this id waits for you.")
    try:
        if verb == "retry":
            trouble.retry_message(message=message, by=actor_of(request))
        else:
            reason = request.POST.get("reason", "")
            trouble.give_up_message(message_id=message_id, by=actor_of(request), reason=reason)
    except PlatformError as error:
        messages.error(request, error.message)
    else:
        sent = "It is on its way to the payment provider again."
        messages.success(request, sent if verb == "retry" else "It is put away and will not be sent.")
    return redirect("console:admin_review")


@administrator
@require_POST
def webhook_verb(request: HttpRequest, event_id: str, verb: str) -> HttpResponse:
    """Looks at an event that could not be applied once more, or puts it away."""
    if verb not in ("retry", "give-up"):
        raise Http404("Events know no such verb.")
    try:
        if verb == "retry":
            trouble.retry_webhook(event_id=event_id, by=actor_of(request))
        else:
            reason = request.POST.get("reason", "")
            trouble.give_up_webhook(event_id=event_id, by=actor_of(request), reason=reason)
    except PlatformError as error:
        if error.status_code == 404:
            raise Http404(error.message) from error
        messages.error(request, error.message)
    else:
        messages.success(request, "It is looked at again." if verb == "retry" else "It is put away.")
    return redirect("console:admin_review")


@administrator
@require_POST
def push_verb(request: HttpRequest, push_id: str, verb: str) -> HttpResponse:
    """Says whether usage is in the sums of the provider's meter, of which that was not known."""
    if verb not in ("received", "not-received"):
        raise Http404("Usage pushes know no such verb.")
    is_received = verb == "received"
    push, reason = meter_export.find(push_id), request.POST.get("reason", "")
    try:
        meter_export.resolve(push=push, is_received=is_received, reason=reason, by=actor_of(request))
    except PlatformError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, "It counts as received." if is_received else "It is in the next push.")
    return redirect("console:admin_review")


def _row(one: review_queue.Waiting) -> dict[str, object]:
    change = one.change_cents
    return {
        "waiting": one,
        "total_pico": one.invoice.total_cents * PICO_PER_CENT,
        "last_pico": None if one.last_cents is None else one.last_cents * PICO_PER_CENT,
        "change_pico": None if change is None else change * PICO_PER_CENT,
        "age_seconds": int((clock.now() - one.since).total_seconds()),
    }


def _dirty() -> int:
    return runs.open_runs().order_by().values("job").distinct().count()
