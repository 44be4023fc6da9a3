"""The list of deployments, which is an organization's home, and the page of one."""

from typing import Final

from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.http import require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.addresses import gateway_url
from moorage.accounts.models import Membership, Role
from moorage.artifacts import queries as artifacts
from moorage.billing import queries as billing
from moorage.compose.environment import as_env_file
from moorage.console import deployment_rows, snippets
from moorage.console.deployment_live import live as live_of
from moorage.console.doors import member
from moorage.deployments import queries
from moorage.deployments.errors import DeploymentNotFound
from moorage.kernel.errors import NotFound
from moorage.kernel.money import Money
from moorage.metering import queries as metering

#: The three lines that would fill an empty page; the model is on every installation's disk.
FIRST_FILE: Final = "models:\n  llm:\n    model: {reference}\n"
_NO_CATALOGUE: Final = "ai/smollm2"


@member()
@require_safe
def listing(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The organization's deployments; an empty one shows the file that would fill the page."""
    sort = request.GET.get("sort", "name")
    context = {
        "rows": deployment_rows.rows_of(membership.organization, sort=sort),
        "sort": sort,
        "gateway_url": gateway_url(membership.organization),
        "first_file": first_file(),
        "may_deploy": may_deploy(membership),
    }
    return render(request, "deployments/list.html", context)


@member()
@require_safe
def deployment(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """Is it up? Why not? How do I call it? What did it cost? What happened?"""
    organization = membership.organization
    found = queries.deployment(organization=organization, name=name)
    revision = found.target
    period = billing.period_of(None)
    usage = metering.usage(
        organization=organization,
        start=period.start,
        end=period.end,
        by=metering.Grouping.DEPLOYMENT,
        deployment_id=found.pk,
    )
    environments = queries.service_environment(revision, gateway_url=gateway_url(organization)) if revision else {}
    context = {
        "live": live_of(found, is_whole_timeline="timeline" in request.GET),
        "deployment": found,
        "gateway_url": gateway_url(organization),
        "models": queries.pins_of(revision) if revision else (),
        "calls": [
            snippets.call(pin, gateway_url=gateway_url(organization))
            for pin in (queries.pins_of(revision) if revision else ())
        ],
        "environments": [(service, as_env_file(variables)) for service, variables in environments.items()],
        "period": period,
        "usage": usage[0] if usage else metering.Usage(group=found.pk),
        "cost": deployment_rows.month_costs(organization).get(found.pk, Money(0, organization.currency)),
        "revisions": queries.revisions(found),
        "may_deploy": may_deploy(membership),
    }
    return render(request, "deployments/deployment.html", context)


@member()
@require_safe
def live(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """The parts of the page that change; nothing (204) where ``seen`` says that they are on the page already."""
    try:
        found = queries.deployment(organization=membership.organization, name=name)
    except DeploymentNotFound:
        # The last replica of a deleted deployment is gone: htmx leaves for the list.
        gone = HttpResponse()
        gone["HX-Redirect"] = reverse("console:deployments", args=[membership.organization.slug])
        return gone
    looked = live_of(found)
    if not looked.is_moving and request.GET.get("seen") == looked.version:
        return HttpResponse(status=204)
    context = {"live": looked, "deployment": found, "may_deploy": may_deploy(membership), "is_update": True}
    return render(request, "deployments/_live.html", context)


@member()
@require_safe
def environment(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """The env file of one service (``?service=``) of the Compose file, to download."""
    found = queries.deployment(organization=membership.organization, name=name)
    service = request.GET.get("service", "")
    services = (
        queries.service_environment(found.target, gateway_url=gateway_url(membership.organization))
        if found.target
        else {}
    )
    if service not in services:
        raise NotFound("No service of this name binds a model in the Compose file.")
    headers = {"Content-Disposition": f'attachment; filename="{found.name}.{service}.env"'}
    return HttpResponse(as_env_file(services[service]), content_type="text/plain; charset=utf-8", headers=headers)


def may_deploy(membership: Membership) -> bool:
    """Whether the buttons of the verbs are shown; the doors decide for themselves."""
    return Role(membership.role) in accounts.MAY_DEPLOY


def first_file() -> str:
    """A Compose file that works here, in three lines."""
    return FIRST_FILE.format(reference=first_model())


def first_model() -> str:
    """The smallest thing to try: a model of the catalogue, else one of the public registry."""
    return next(iter(artifacts.catalogue()), _NO_CATALOGUE)
