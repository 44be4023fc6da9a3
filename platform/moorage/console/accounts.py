"""Signing up, in and out; creating an organization; its members."""

import hashlib
from typing import Any, Final

from django.contrib import messages
from django.contrib.auth import authenticate, login, logout
from django.contrib.auth.decorators import login_required
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_http_methods, require_POST

from moorage.accounts import queries, services
from moorage.accounts.models import Membership, Role
from moorage.console.doors import actor_of, member, user_of
from moorage.console.forms_accounts import MemberForm, OrganizationForm, SignInForm, SignUpForm
from moorage.kernel.errors import PlatformError

#: Failed sign-ins of one address from one place in a minute. Counted by each web process for itself.
_MOST_FAILURES: Final = 10
_WINDOW_SECONDS: Final = 60


@require_http_methods(["GET", "POST"])
def sign_up(request: HttpRequest) -> HttpResponse:
    """A new user, signed in at once."""
    form = SignUpForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            user = services.sign_up(**form.cleaned_data)
        except PlatformError as error:
            form.add_error(None, error.message)
        else:
            login(request, user)
            return redirect("console:create_organization")
    return render(request, "accounts/sign_up.html", {"form": form}, status=_status(form))


@require_http_methods(["GET", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """E-mail and password; too many failures wait a minute."""
    form = SignInForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        email = form.cleaned_data["email"].strip().lower()
        counter = _counter(request, email)
        if cache.get(counter, 0) >= _MOST_FAILURES:
            form.add_error(None, "Too many tries. Wait a minute and try again.")
            return render(request, "accounts/sign_in.html", {"form": form}, status=429)
        user = authenticate(request, username=email, password=form.cleaned_data["password"])
        if user is not None:
            cache.delete(counter)
            login(request, user)
            return redirect(_after_sign_in(request))
        cache.add(counter, 0, _WINDOW_SECONDS)
        cache.incr(counter)
        form.add_error(None, "This e-mail and password do not belong together. Try again.")
    return render(
        request, "accounts/sign_in.html", {"form": form, "next": request.GET.get("next", "")}, status=_status(form)
    )


@require_POST
def sign_out(request: HttpRequest) -> HttpResponse:
    """Ends the session."""
    logout(request)
    return redirect("console:sign_in")


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The first organization's deployments; somebody without one creates one."""
    first = queries.organizations_of(user_of(request)).first()
    if first is not None:
        return redirect("console:deployments", slug=first.slug)
    return redirect(
        "console:admin_organizations" if user_of(request).is_administrator else "console:create_organization"
    )


@login_required
def organizations(request: HttpRequest) -> HttpResponse:
    """Every organization of whoever is signed in, to change between them."""
    found = queries.organizations_of(user_of(request))
    return render(request, "accounts/organizations.html", {"organizations": found})


@login_required
@require_http_methods(["GET", "POST"])
def create_organization(request: HttpRequest) -> HttpResponse:
    """A new organization with whoever creates it as its owner."""
    form = OrganizationForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            organization = services.create_organization(
                owner=user_of(request), by=actor_of(request), **form.cleaned_data
            )
        except PlatformError as error:
            form.add_error("slug", error.message)
        else:
            return redirect("console:deployments", slug=organization.slug)
    return render(request, "accounts/create_organization.html", {"form": form}, status=_status(form))


@member()
@require_http_methods(["GET", "POST"])
def members(request: HttpRequest, membership: Membership) -> HttpResponse:
    """Who belongs to the organization; owners and admins add people who have signed up."""
    may_change = Role(membership.role) in queries.MAY_MANAGE_MEMBERS
    form = MemberForm(request.POST or None) if may_change else None
    if request.method == "POST":
        queries.require_role(membership, queries.MAY_MANAGE_MEMBERS)
        assert form is not None
        if form.is_valid():
            try:
                user = queries.user_with_email(form.cleaned_data["email"])
                services.add_member(
                    organization=membership.organization,
                    user=user,
                    role=Role(form.cleaned_data["role"]),
                    by=actor_of(request),
                )
            except PlatformError as error:
                form.add_error("email", error.message)
            else:
                messages.success(request, f"{user.email} is {form.cleaned_data['role']} now.")
                return redirect("console:members", slug=membership.organization.slug)
    context: dict[str, Any] = {"form": form, "members": queries.members_of(membership.organization)}
    return render(request, "accounts/members.html", context, status=_status(form) if form else 200)


def _counter(request: HttpRequest, email: str) -> str:
    place = f"{email}\0{request.META.get('REMOTE_ADDR', '')}"
    return f"sign-in:{hashlib.sha256(place.encode()).hexdigest()}"


def _after_sign_in(request: HttpRequest) -> str:
    wanted = request.POST.get("next") or request.GET.get("next") or ""
    is_ours = url_has_allowed_host_and_scheme(wanted, {request.get_host()}, require_https=request.is_secure())
    return wanted if wanted and is_ours else reverse("console:home")


def _status(form: Any) -> int:
    return 422 if form.is_bound and form.errors else 200
