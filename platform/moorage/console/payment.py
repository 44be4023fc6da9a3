"""How an organization pays: its saved method, the provider's pages and the way back from them, bank details, and each
top-up's own page. Card numbers are typed at the provider alone."""

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_POST, require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.models import Membership, Role
from moorage.billing import payment_methods, topups
from moorage.billing.errors import NoSavedMethod, NotOffered, ProviderAway
from moorage.billing.models import TopUp, TopUpStatus
from moorage.billing.payments import Capability
from moorage.console.addresses import filter_of, found
from moorage.console.doors import actor_of, member
from moorage.kernel.errors import PlatformError
from moorage.kernel.money import PICO_PER_CENT

_SHOWN = 20


@member(accounts.MAY_SEE_BILLING)
@require_safe
def payment(request: HttpRequest, membership: Membership) -> HttpResponse:
    """What is saved, what can be done about it, where a transfer goes, and the last top-ups."""
    organization = membership.organization
    if filter_of(request, "from") == "portal":
        # Whoever comes back from the provider's page may have changed the card there.
        _tried(request, lambda: payment_methods.refresh(organization=organization))
    means = payment_methods.means_of(organization)
    context = {
        "organization": organization,
        "means": means,
        "saved": means.collection if means.collection.method_reference else None,
        "may_pay": Role(membership.role) in accounts.MAY_PAY,
        "has_saved_method": Capability.SAVED_METHOD in means.capabilities,
        "has_portal": Capability.PORTAL in means.capabilities,
        "has_page": Capability.PAYMENT_PAGE in means.capabilities,
        "bank_details": settings.MOORAGE_BANK_DETAILS,
        "top_ups": [(one, one.cents * PICO_PER_CENT) for one in topups.of(organization)[:_SHOWN]],
    }
    return render(request, "billing/payment.html", context)


@member(accounts.MAY_PAY)
@require_POST
def add_method(request: HttpRequest, membership: Membership) -> HttpResponse:
    """On to the provider's page, where the method is saved."""
    slug = membership.organization.slug
    url = _tried(
        request,
        lambda: payment_methods.start_setup(
            organization=membership.organization,
            return_url=_absolute("method_saved", slug),
            cancel_url=_absolute("payment", slug),
        ),
    )
    return redirect(url or reverse("console:payment", args=[slug]))


@member(accounts.MAY_PAY)
@require_safe
def method_saved(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Back from the provider's page."""
    organization, page = membership.organization, filter_of(request, "page")
    is_saved = page and _tried(
        request, lambda: payment_methods.finish_setup(organization=organization, page=page, by=actor_of(request))
    )
    if is_saved:
        messages.success(request, "The payment method is saved.")
    else:
        messages.warning(request, "No payment method was saved. Try again, or use another card.")
    return redirect("console:payment", organization.slug)


@member(accounts.MAY_PAY)
@require_POST
def portal(request: HttpRequest, membership: Membership) -> HttpResponse:
    """On to the provider's page about this customer."""
    slug = membership.organization.slug
    back = f"{_absolute('payment', slug)}?from=portal"
    url = _tried(request, lambda: payment_methods.open_portal(organization=membership.organization, return_url=back))
    return redirect(url or reverse("console:payment", args=[slug]))


@member(accounts.MAY_PAY)
@require_POST
def automatic(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Whether invoices are taken from the saved method."""
    organization, is_wanted = membership.organization, request.POST.get("is_wanted") == "yes"
    done = _tried(
        request,
        lambda: payment_methods.charge_automatically(
            organization=organization, is_wanted=is_wanted, by=actor_of(request)
        ),
    )
    if done is not None:
        word = "taken from the saved method" if is_wanted else "sent, and you pay each one"
        messages.success(request, f"From now on invoices are {word}.")
    return redirect("console:payment", organization.slug)


@member(accounts.MAY_SEE_BILLING)
@require_safe
def top_up(request: HttpRequest, membership: Membership, top_up_id: str) -> HttpResponse:
    """One top-up: where the provider's page sends the customer back to, and where a transfer's reference is."""
    with found():
        one = topups.one(organization=membership.organization, top_up_id=top_up_id)
    is_cancelled = filter_of(request, "cancelled") == "yes"
    trouble = topups.refresh(one)
    context = {
        "organization": membership.organization,
        "top_up": one,
        "pico": one.cents * PICO_PER_CENT,
        "is_cancelled": is_cancelled and one.status == TopUpStatus.STARTED,
        "is_waiting": one.status == TopUpStatus.STARTED and not is_cancelled,
        "is_by_transfer": _is_by_transfer(one),
        "bank_details": settings.MOORAGE_BANK_DETAILS,
        "trouble": bool(trouble),
    }
    return render(request, "billing/top_up.html", context)


def _is_by_transfer(one: TopUp) -> bool:
    return one.checkout_reference != "" and one.payment_url == ""


def _absolute(name: str, slug: str) -> str:
    return f"{settings.MOORAGE_CONSOLE_URL}{reverse(f'console:{name}', args=[slug])}"


def _tried(request: HttpRequest, act: Any) -> Any:
    """What ``act`` gives; None where the provider could not, which is said on the next page."""
    try:
        return act()
    except (NoSavedMethod, NotOffered, ProviderAway) as error:
        _say(request, error)
        return None


def _say(request: HttpRequest, error: PlatformError) -> None:
    messages.error(request, error.message)
