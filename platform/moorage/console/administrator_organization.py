"""What an administrator sets for one organization: promotional credit, limits, and how far it is trusted."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from moorage.accounts import limits as accounts_limits
from moorage.accounts import queries as accounts
from moorage.accounts.models import Organization
from moorage.billing import approvals
from moorage.billing import services as billing
from moorage.billing.models import ApprovalKind
from moorage.console.addresses import found
from moorage.console.doors import actor_of, administrator
from moorage.console.forms_limits import LimitForm, shown
from moorage.console.forms_nodes import TrustForm
from moorage.console.forms_review import CreditForm
from moorage.console.limits import use_row
from moorage.console.templatetags.shown import curl_command
from moorage.fleet import runtime_classes
from moorage.kernel import ids
from moorage.kernel.errors import InvalidInput, PlatformError
from moorage.kernel.money import Money


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def credit(request: HttpRequest, slug: str) -> HttpResponse:
    """Credit at our expense, with a reason."""
    organization = _organization(slug)
    form = CreditForm(
        request.POST if request.method == "POST" else None,
        initial={"key": ids.new("apr")},
        currency=organization.currency,
    )
    if request.method == "POST" and form.is_valid():
        try:
            outcome = billing.give_credit(
                organization=organization,
                pico=form.pico(),
                reason=form.cleaned_data["reason"],
                expires_at=form.cleaned_data["expires_at"],
                key=form.cleaned_data["key"],
                by=actor_of(request),
            )
        except PlatformError as error:
            form.add_error(error.param if error.param in form.fields else None, error.message)
        else:
            words = "The credit is given." if outcome.is_done else "It waits for another administrator's approval."
            messages.success(request, words)
            return redirect("console:admin_organization", slug=slug)
    threshold = approvals.threshold_pico()
    context = {
        "organization": organization,
        "form": form,
        "threshold": Money(threshold, organization.currency) if threshold else None,
        "waiting": approvals.waiting().filter(kind=ApprovalKind.CREDIT, organization=organization),
        "command": curl_command(
            f"admin/organizations/{slug}/credit",
            method="POST",
            options="""-H "Content-Type: application/json" -d '{"amount": "12.50", "reason": "Sorry.", "key": "1"}'""",
        ),
    }
    return render(request, "administrator/credit.html", context, status=422 if form.errors else 200)


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def limits(request: HttpRequest, slug: str) -> HttpResponse:
    """What all keys of the organization together may use, and how it stands."""
    organization = _organization(slug)
    known = accounts_limits.limits_of(organization=organization, subject=organization.pk)
    form = LimitForm(
        request.POST if request.method == "POST" else None, initial=dict(shown(known)), currency=organization.currency
    )
    if request.method == "POST" and form.is_valid():
        try:
            accounts_limits.set_limits(
                organization=organization, subject=organization.pk, limits=form.limits(), by=actor_of(request)
            )
        except InvalidInput as error:
            form.add_error(error.param if error.param in form.fields else None, error.message)
        else:
            messages.success(request, f"The limits of {organization.name} hold from now on.")
            return redirect("console:admin_organization_limits", slug=slug)
    uses = accounts_limits.uses(organization=organization, subject=organization.pk)
    context = {
        "organization": organization,
        "uses": [use_row(use, organization.currency) for use in uses],
        "form": form,
        "command": curl_command(f"admin/organizations/{slug}/limits"),
    }
    return render(request, "administrator/limits.html", context, status=422 if form.errors else 200)


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def trust(request: HttpRequest, slug: str) -> HttpResponse:
    """What its containers are started with from now on; those that run go on."""
    organization = _organization(slug)
    present = runtime_classes.class_of(organization.pk)
    form = TrustForm(request.POST if request.method == "POST" else None, initial={"trust_class": present})
    if request.method == "POST" and form.is_valid():
        wanted = form.cleaned_data["trust_class"]
        runtime_classes.set_class(organization=organization, trust_class=wanted, by=actor_of(request))
        words = f"Replicas of {organization.name} that start from now on are started as {wanted}."
        messages.success(request, words)
        return redirect("console:admin_organization", slug=slug)
    context = {
        "organization": organization,
        "form": form,
        "present": present,
        "runtime": runtime_classes.policy().get(present),
        "command": curl_command(
            f"admin/organizations/{slug}/trust-class",
            method="PUT",
            options=f"""-H "Content-Type: application/json" -d '{{"trust_class": "{present}"}}'""",
        ),
    }
    return render(request, "administrator/trust.html", context, status=422 if form.errors else 200)


def _organization(slug: str) -> Organization:
    with found():
        return accounts.organization(slug=slug)
