"""API keys: made, shown once, revoked."""

from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from moorage.accounts import queries, services
from moorage.accounts.models import Membership, Priority, Role, Scope
from moorage.accounts.services import NewKey
from moorage.console.doors import actor_of, member
from moorage.console.forms_keys import KeyForm
from moorage.kernel import clock
from moorage.kernel.errors import InvalidInput

#: Of the keys that open nothing any more, the newest are told.
_PAST_SHOWN: Final = 100


@member()
@require_http_methods(["GET", "POST"])
def keys(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The keys, and a new one. The answer to a POST is the one page that ever holds its secret."""
    may_change = Role(membership.role) in queries.MAY_MANAGE_KEYS
    form, made = KeyForm(), None
    if request.method == "POST":
        queries.require_role(membership, queries.MAY_MANAGE_KEYS)
        form = KeyForm(request.POST)
        made = _made(request, membership, form)
        if made is not None:
            form = KeyForm()
    now = clock.now()
    found = list(queries.keys_of(membership.organization))
    past = [key for key in found if key.revoked_at or (key.expires_at and key.expires_at <= now)]
    context = {
        "keys": [key for key in found if key not in past],
        "past": past[:_PAST_SHOWN],
        "form": form if may_change else None,
        "made": made,
        "now": now,
    }
    response = render(request, "accounts/keys.html", context, status=422 if form.errors else 200)
    if made is not None:
        response["Cache-Control"] = "no-store"
    return response


@member(queries.MAY_MANAGE_KEYS)
@require_http_methods(["GET", "POST"])
def revoke(request: HttpRequest, membership: Membership, key_id: str) -> HttpResponse:
    """Ends a key, after a page that names it."""
    key = queries.key_of(organization=membership.organization, key_id=key_id)
    if request.method != "POST":
        return render(request, "accounts/revoke_key.html", {"key": key})
    services.revoke_key(key=key, by=actor_of(request))
    messages.success(request, f"{key.name} is revoked. Gateways refuse it from now on.")
    return redirect("console:keys", membership.organization.slug)


def _made(request: HttpRequest, membership: Membership, form: KeyForm) -> NewKey | None:
    if not form.is_valid():
        return None
    try:
        return services.create_key(
            organization=membership.organization,
            name=form.cleaned_data["name"],
            scopes=[Scope(scope) for scope in form.cleaned_data["scopes"]],
            priority=Priority(form.cleaned_data["priority"] or Priority.NORMAL),
            expires_at=form.expires_at(clock.now()),
            by=actor_of(request),
        )
    except InvalidInput as error:
        form.add_error(error.param if error.param in form.fields else None, error.message)
    return None
