"""Limits and budgets: what is set, how it stands, and a form to change it."""

import dataclasses
from typing import Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_http_methods

from moorage.accounts import limits as accounts_limits
from moorage.accounts import queries as accounts
from moorage.accounts.limits import Use
from moorage.accounts.models import ApiKey, Membership, Priority, Role
from moorage.console.doors import actor_of, member
from moorage.console.forms_limits import KeyLimitForm, LimitForm, shown
from moorage.deployments import queries as deployments
from moorage.kernel import window
from moorage.kernel.errors import InvalidInput
from moorage.kernel.money import Money
from moorage.wire.limits import NAMES, Measure

_LABELS: Final = {name: field.label for name, field in LimitForm.base_fields.items()}


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Page:
    """What one page of limits is about."""

    membership: Membership
    subject: str
    #: Whose limits these are, in words.
    title: str
    #: The twin in the REST API.
    path: str
    allowed: frozenset[Role]
    key: ApiKey | None = None


@member()
@require_http_methods(["GET", "POST"])
def organization(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Of all keys together."""
    page = _Page(
        membership=membership,
        subject=membership.organization.pk,
        title=membership.organization.name,
        path="limits",
        allowed=accounts.MAY_SET_BUDGETS,
    )
    return _show(request, page)


@member()
@require_http_methods(["GET", "POST"])
def key(request: HttpRequest, membership: Membership, key_id: str) -> HttpResponse:
    """Of one key."""
    found = accounts.key_of(organization=membership.organization, key_id=key_id)
    page = _Page(
        membership=membership,
        subject=found.pk,
        title=found.name,
        path=f"keys/{found.pk}/limits",
        allowed=accounts.MAY_MANAGE_KEYS,
        key=found,
    )
    return _show(request, page)


@member()
@require_http_methods(["GET", "POST"])
def deployment(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """Of all calls of one deployment."""
    found = deployments.deployment(organization=membership.organization, name=name)
    page = _Page(
        membership=membership,
        subject=found.pk,
        title=found.name,
        path=f"deployments/{found.name}/limits",
        allowed=accounts.MAY_DEPLOY,
    )
    return _show(request, page)


def _show(request: HttpRequest, page: _Page) -> HttpResponse:
    whose = page.membership.organization
    known = accounts_limits.limits_of(organization=whose, subject=page.subject)
    initial = dict(shown(known))
    kind: type[LimitForm] = LimitForm
    if page.key is not None:
        kind = KeyLimitForm
        initial |= {"networks": "\n".join(page.key.networks), "priority": page.key.priority}
    form = kind(request.POST if request.method == "POST" else None, initial=initial, currency=whose.currency)
    if request.method == "POST":
        accounts.require_role(page.membership, page.allowed)
        if form.is_valid() and _set(request, page, form):
            messages.success(request, f"The limits of {page.title} hold from now on.")
            return redirect(request.path)
    uses = accounts_limits.uses(organization=whose, subject=page.subject)
    context = {
        "page": page,
        "uses": [use_row(use, whose.currency) for use in uses],
        "form": form if Role(page.membership.role) in page.allowed else None,
    }
    return render(request, "accounts/limits.html", context, status=422 if form.errors else 200)


def _set(request: HttpRequest, page: _Page, form: LimitForm) -> bool:
    by = actor_of(request)
    try:
        if page.key is not None and isinstance(form, KeyLimitForm):
            chosen = form.cleaned_data["priority"]
            accounts_limits.set_key_limits(
                key=page.key,
                limits=form.limits(),
                networks=form.network_list(),
                priority=Priority(chosen) if chosen else None,
                by=by,
            )
        else:
            accounts_limits.set_limits(
                organization=page.membership.organization, subject=page.subject, limits=form.limits(), by=by
            )
    except InvalidInput as error:
        form.add_error(error.param if error.param in form.fields else None, error.message)
        return False
    return True


def use_row(use: Use, currency: str) -> dict[str, object]:
    """How one limit stands, in words."""
    is_money = NAMES[use.name][0] is Measure.MONEY
    amounts = {"limit": use.limit, "used": use.used, "set_aside": use.leased, "remaining": use.remaining}
    return {
        "label": _LABELS[use.name] or _("Limit"),
        **{key: str(Money(amount, currency)) if is_money else f"{amount:,}" for key, amount in amounts.items()},
        "resets_at": None if use.resets_at is None else window.text(use.resets_at),
    }
