"""Credentials for registries: stored, replaced and forgotten; never shown."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from moorage.accounts import queries as accounts
from moorage.accounts.models import Membership, Role
from moorage.artifacts import queries, services
from moorage.console.doors import actor_of, member
from moorage.console.forms_registries import CredentialForm, ForgetForm
from moorage.kernel.errors import InvalidInput, NotFound


@member()
@require_http_methods(["GET", "POST"])
def registries(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The registries that the organization can log in to, and one more."""
    form = CredentialForm(request.POST or None)
    if request.method == "POST":
        accounts.require_role(membership, accounts.MAY_DEPLOY)
        if form.is_valid():
            try:
                stored = services.store_credential(
                    organization=membership.organization, by=actor_of(request), **form.cleaned_data
                )
            except InvalidInput as error:
                form.add_error(error.param if error.param in form.fields else None, error.message)
            else:
                messages.success(request, f"Pulls from {stored.host} log in as {stored.username} from now on.")
                return redirect("console:registries", membership.organization.slug)
    may_change = Role(membership.role) in accounts.MAY_DEPLOY
    context = {
        "credentials": queries.credentials(organization=membership.organization),
        "form": form if may_change else None,
    }
    return render(request, "accounts/registries.html", context, status=422 if form.errors else 200)


@member(accounts.MAY_DEPLOY)
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Forgets one, after a page that says what changes."""
    form = ForgetForm(request.POST if request.method == "POST" else request.GET)
    if not form.is_valid():
        raise NotFound("Name the registry to forget.")
    host = form.cleaned_data["host"]
    if request.method != "POST":
        return render(request, "accounts/delete_registry.html", {"host": host})
    try:
        services.delete_credential(organization=membership.organization, host=host, by=actor_of(request))
    except InvalidInput as error:
        raise NotFound(error.message) from error
    messages.success(request, f"The credential for {host} is deleted. Pulls from there are anonymous now.")
    return redirect("console:registries", membership.organization.slug)
