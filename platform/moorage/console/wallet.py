"""The wallet: what there is, what moved it, buying credit, alerts; for an administrator, how an organization pays."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.views.decorators.http import require_http_methods, require_POST

from moorage.accounts import queries as accounts
from moorage.accounts.models import Membership, Organization, Role
from moorage.billing import topups, wallet_queries, wallet_settings
from moorage.billing.models import BillingMode
from moorage.console.addresses import found, month_choice, month_of
from moorage.console.doors import actor_of, administrator, member
from moorage.console.forms_wallet import AlertForm, ModeForm, TopUpForm, shown, shown_mode
from moorage.kernel import clock
from moorage.kernel.errors import InvalidInput


@member(accounts.MAY_SEE_BILLING)
@require_http_methods(["GET", "POST"])
def wallet(request: HttpRequest, membership: Membership) -> HttpResponse:
    """How it stands; posted to, alerts and automatic top-ups are set."""
    organization = membership.organization
    view = wallet_queries.view(organization)
    form = AlertForm(
        request.POST if request.method == "POST" else None,
        initial=shown(view.wallet),
        currency=organization.currency,
    )
    if request.method == "POST":
        accounts.require_role(membership, accounts.MAY_PAY)
        if form.is_valid() and _set(request, organization, form):
            messages.success(request, "Alerts and top-ups are set.")
            return redirect("console:wallet", organization.slug)
    return _show(request, membership, alerts=form)


@member(accounts.MAY_SEE_BILLING)
@require_POST
def top_up(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Credit is bought: on to the page where it is paid."""
    accounts.require_role(membership, accounts.MAY_PAY)
    form = TopUpForm(request.POST, currency=membership.organization.currency)
    if form.is_valid():
        try:
            return redirect(
                topups.start_checkout(organization=membership.organization, cents=form.cents(), by=actor_of(request))
            )
        except InvalidInput as error:
            form.add_error("amount", error.message)
    return _show(request, membership, top_up=form)


@administrator
@require_http_methods(["GET", "POST"])
def administered(request: HttpRequest, slug: str) -> HttpResponse:
    """Any organization's wallet; posted to, how it pays is set."""
    with found():
        organization = accounts.organization(slug=slug)
    known = wallet_settings.wallet_of(organization)
    form = ModeForm(
        request.POST if request.method == "POST" else None, initial=shown_mode(known), currency=organization.currency
    )
    if request.method == "POST" and form.is_valid():
        try:
            wallet_settings.set_mode(
                organization=organization,
                mode=BillingMode(form.cleaned_data["mode"]),
                credit_limit_pico=form.limit_pico(),
                reason=form.cleaned_data["reason"],
                by=actor_of(request),
            )
        except InvalidInput as error:
            form.add_error(error.param if error.param in form.fields else None, error.message)
        else:
            messages.success(request, f"{organization.name} pays like this from now on.")
            return redirect("console:admin_wallet", organization.slug)
    context = {**_context(request, organization), "mode_form": form}
    return render(request, "administrator/wallet.html", context, status=422 if form.errors else 200)


def _set(request: HttpRequest, organization: Organization, form: AlertForm) -> bool:
    try:
        wallet_settings.set_preferences(organization=organization, preferences=form.preferences(), by=actor_of(request))
    except InvalidInput as error:
        form.add_error(error.param if error.param in form.fields else None, error.message)
        return False
    return True


def _show(
    request: HttpRequest, membership: Membership, *, alerts: AlertForm | None = None, top_up: TopUpForm | None = None
) -> HttpResponse:
    organization = membership.organization
    context = _context(request, organization)
    if Role(membership.role) in accounts.MAY_PAY:
        context["top_up_form"] = top_up or TopUpForm(currency=organization.currency)
        context["alert_form"] = alerts or AlertForm(
            initial=shown(context["view"].wallet), currency=organization.currency
        )
    is_wrong = any(form is not None and form.errors for form in (alerts, top_up))
    return render(request, "billing/wallet.html", context, status=422 if is_wrong else 200)


def _context(request: HttpRequest, organization: Organization) -> dict[str, Any]:
    period = month_of(request)
    return {
        "organization": organization,
        "view": wallet_queries.view(organization),
        "month": month_choice(period, now=clock.now()),
        "movements": wallet_queries.month(organization, period),
        "now": clock.now(),
        "top_up_url": reverse("console:top_up_wallet", args=[organization.slug]),
    }
