"""Keys that open the administrator's REST: made and revoked by administrators alone, shown once."""

import datetime as dt

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from moorage.accounts import queries as accounts
from moorage.accounts import services
from moorage.accounts.models import Scope
from moorage.console.doors import actor_of, administrator, user_of
from moorage.console.forms_billing import AdministratorKeyForm
from moorage.kernel import clock
from moorage.kernel.errors import PlatformError


@administrator
@require_http_methods(["GET", "HEAD", "POST"])
def keys(request: HttpRequest) -> HttpResponse:
    """The keys there are, and a form for a new one, whose secret is shown in the answer and never again."""
    organizations = {one.slug: one for one in accounts.organizations_of(user_of(request))}
    form = AdministratorKeyForm(request.POST or None, organizations=organizations.values())
    made = None
    if request.method == "POST" and form.is_valid():
        days = form.cleaned_data["days"]
        try:
            made = services.create_key(
                organization=organizations[form.cleaned_data["organization"]],
                name=form.cleaned_data["name"],
                scopes=[Scope.ADMIN],
                expires_at=clock.now() + dt.timedelta(days=days) if days else None,
                by=actor_of(request),
            )
        except PlatformError as error:
            form.add_error("name", error.message)
        else:
            form = AdministratorKeyForm(organizations=organizations.values())
    context = {"form": form, "made": made, "organizations": organizations, "keys": accounts.administrator_keys()}
    answer = render(request, "administrator/keys.html", context, status=422 if form.errors else 200)
    answer["Cache-Control"] = "no-store"
    return answer


@administrator
@require_POST
def revoke_key(request: HttpRequest, key_id: str) -> HttpResponse:
    """Ends a key; it opens nothing within a second."""
    key = accounts.administrator_keys().filter(pk=key_id).first()
    if key is None:
        raise Http404("There is no such key of an administrator.")
    services.revoke_key(key=key, by=actor_of(request))
    messages.success(request, f"The key {key.name} opens nothing any more.")
    return redirect("console:admin_keys")
