"""An organization's bought credit: transfers that came are recorded, unused credit is paid back."""

from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from moorage.accounts import queries as accounts
from moorage.accounts.models import Organization
from moorage.billing import refunds, topups
from moorage.billing import services as billing
from moorage.console.addresses import found
from moorage.console.doors import actor_of, administrator
from moorage.console.forms_review import RefundForm
from moorage.console.templatetags.shown import curl_command
from moorage.kernel import ids
from moorage.kernel.errors import PlatformError
from moorage.kernel.money import PICO_PER_CENT, Money

_SHOWN_MOST: Final = 200


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def top_ups(request: HttpRequest, slug: str) -> HttpResponse:
    """What was bought and what was paid back; sending the form pays unused credit back."""
    organization = _organization(slug)
    form = RefundForm(
        request.POST if request.method == "POST" else None,
        initial={"key": ids.new("ref")},
        currency=organization.currency,
    )
    if request.method == "POST" and form.is_valid():
        try:
            outcome = billing.refund_credit(
                organization=organization,
                cents=form.cents(),
                reason=form.cleaned_data["reason"],
                key=form.cleaned_data["key"],
                by=actor_of(request),
            )
        except PlatformError as error:
            form.add_error(error.param if error.param in form.fields else None, error.message)
        else:
            cents = sum(one.cents for one in outcome.refunds)
            amount = Money(cents * PICO_PER_CENT, organization.currency)
            waits = "So much asks for another administrator: it waits for them on the review page."
            messages.success(request, f"{amount} are on their way back." if outcome.is_done else waits)
            return redirect("console:admin_top_ups", slug=slug)
    context = {
        "organization": organization,
        "form": form,
        "rows": [
            (one, one.cents * PICO_PER_CENT, topups.awaits_transfer(one))
            for one in topups.of(organization)[:_SHOWN_MOST]
        ],
        "refunds": [(one, one.cents * PICO_PER_CENT) for one in refunds.of(organization)[:_SHOWN_MOST]],
        "command": curl_command(f"admin/organizations/{slug}/top-ups"),
    }
    return render(request, "administrator/top_ups.html", context, status=422 if form.errors else 200)


@administrator
@require_POST
def received(request: HttpRequest, slug: str, top_up_id: str) -> HttpResponse:
    """The bank transfer for a top-up has come."""
    top_up = topups.one(organization=_organization(slug), top_up_id=top_up_id)
    try:
        topups.record_transfer(top_up=top_up, by=actor_of(request), reason=request.POST.get("reason", ""))
    except PlatformError as error:
        messages.error(request, error.message)
    else:
        messages.success(request, "The transfer is recorded, and the credit is there.")
    return redirect("console:admin_top_ups", slug=slug)


def _organization(slug: str) -> Organization:
    with found():
        return accounts.organization(slug=slug)
