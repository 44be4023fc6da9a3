"""Pause, resume, delete and roll back: each asks once where it ends or replaces something."""

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods, require_POST

from moorage.accounts import queries as accounts
from moorage.accounts.models import Membership
from moorage.console import deployment_update
from moorage.console.doors import actor_of, member
from moorage.deployments import forecast, queries
from moorage.deployments import services as deployments
from moorage.kernel.errors import Conflict


@member(accounts.MAY_DEPLOY)
@require_http_methods(["GET", "POST"])
def pause(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """Runs none until resumed; asks first, because requests are refused meanwhile."""
    found = queries.deployment(organization=membership.organization, name=name)
    if request.method != "POST":
        return render(request, "deployments/pause.html", {"deployment": found, "replicas": queries.replicas(found)})
    try:
        deployments.pause(deployment=found, by=actor_of(request))
    except Conflict as error:
        messages.error(request, error.message)
    return redirect("console:deployment", membership.organization.slug, name)


@member(accounts.MAY_DEPLOY)
@require_POST
def resume(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """Undoes a pause."""
    found = queries.deployment(organization=membership.organization, name=name)
    try:
        deployments.resume(deployment=found, by=actor_of(request))
    except Conflict as error:
        messages.error(request, error.message)
    return redirect("console:deployment", membership.organization.slug, name)


@member(accounts.MAY_DEPLOY)
@require_POST
def try_again(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """Forgives what has failed and tries again now."""
    found = queries.deployment(organization=membership.organization, name=name)
    try:
        deployments.try_again(deployment=found, by=actor_of(request))
    except Conflict as error:
        messages.error(request, error.message)
    return redirect("console:deployment", membership.organization.slug, name)


@member(accounts.MAY_DEPLOY)
@require_http_methods(["GET", "POST"])
def delete(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """Ends the deployment, after a page that says what goes and what stays."""
    found = queries.deployment(organization=membership.organization, name=name)
    if request.method != "POST":
        pins = queries.pins_of(found.target) if found.target else ()
        context = {"deployment": found, "models": pins, "replicas": queries.replicas(found)}
        return render(request, "deployments/delete.html", context)
    deployments.delete(deployment=found, by=actor_of(request))
    messages.success(request, f"{found.name} is being deleted. Requests that are being answered are finished first.")
    return redirect("console:deployments", membership.organization.slug)


@member(accounts.MAY_DEPLOY)
@require_http_methods(["GET", "POST"])
def roll_back(request: HttpRequest, membership: Membership, name: str, number: int) -> HttpResponse:
    """Makes an earlier revision the target again, after a page that shows both."""
    found = queries.deployment(organization=membership.organization, name=name)
    revision = queries.revision(deployment=found, number=number)
    if request.method != "POST":
        context = {
            "deployment": found,
            "revision": revision,
            "models": queries.pins_of(revision),
            "forecasts": deployment_update.priced(membership.organization, forecast.of_revision(found, revision)),
            "rollback_options": f"""-H "Content-Type: application/json" -d '{{"revision": {number}}}'""",
        }
        return render(request, "deployments/roll_back.html", context)
    try:
        deployments.roll_back(deployment=found, number=number, by=actor_of(request))
    except Conflict as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"Revision {number} is wanted again.")
    return redirect("console:deployment", membership.organization.slug, name)
