"""Deploying: a Compose file is planned or applied; what is wrong with it stands between its lines."""

import dataclasses

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.views.decorators.http import require_http_methods

from moorage.accounts import queries as accounts
from moorage.accounts.models import Membership, Organization
from moorage.compose.problems import Problem, SpecInvalid
from moorage.console import compose_notes, deployment_update
from moorage.console.deployments import first_file
from moorage.console.doors import actor_of, member
from moorage.console.forms_deploy import EditForm, NewForm, written
from moorage.deployments import draft as drafts
from moorage.deployments import preview as previews
from moorage.deployments import queries
from moorage.deployments import services as deployments
from moorage.deployments.errors import InvalidName
from moorage.deployments.models import Deployment
from moorage.deployments.preview import Preview
from moorage.kernel.errors import PlatformError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a sent form came to: deployed, a plan, or what is wrong."""

    deployed: deployments.Applied | None = None
    plan: Preview | None = None
    forecasts: tuple[deployment_update.Priced, ...] = ()
    problems: tuple[Problem, ...] = ()


@member(accounts.MAY_DEPLOY)
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest, membership: Membership) -> HttpResponse:
    """A new deployment."""
    if request.method == "POST":
        form = NewForm(request.POST, request.FILES)
        return _answer(request, membership, form, deployment=None)
    return _page(request, NewForm(initial={"compose": first_file()}), deployment=None)


@member(accounts.MAY_DEPLOY)
@require_http_methods(["GET", "POST"])
def edit(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """The file of a deployment; what is sent becomes its next revision."""
    found = queries.deployment(organization=membership.organization, name=name)
    if request.method == "POST":
        return _answer(request, membership, EditForm(request.POST, request.FILES), deployment=found)
    revision = found.target
    initial = {"compose": revision.compose, "variables": written(revision.variables)} if revision else {}
    return _page(request, EditForm(initial=initial), deployment=found)


def _answer(
    request: HttpRequest, membership: Membership, form: EditForm, *, deployment: Deployment | None
) -> HttpResponse:
    outcome = Outcome()
    if form.is_valid():
        name = deployment.name if deployment else form.cleaned_data["name"]
        outcome = _tried(request, membership.organization, form, name=name)
    if outcome.deployed is None:
        return _page(request, form, deployment=deployment, outcome=outcome)
    applied = outcome.deployed
    for warning in applied.warnings:
        messages.warning(request, str(warning))
    if not applied.is_changed:
        messages.info(request, "Nothing changed: this is what is wanted already.")
    return redirect("console:deployment", membership.organization.slug, applied.deployment.name)


def _tried(request: HttpRequest, organization: Organization, form: EditForm, *, name: str) -> Outcome:
    """Plans or applies; whatever a person can correct lands in the form or beside the lines."""
    text, variables = form.cleaned_data["compose"], form.cleaned_data["variables"]
    is_plan = request.POST.get("verb") == "plan"
    try:
        prepared = drafts.draft(organization=organization, name=name, compose_text=text, variables=variables)
        if is_plan:
            plan = previews.preview(organization=organization, draft=prepared)
            forecasts = deployment_update.priced(organization, plan.forecasts)
            return Outcome(plan=plan, forecasts=forecasts, problems=prepared.warnings)
        return Outcome(deployed=deployments.write(organization=organization, prepared=prepared, by=actor_of(request)))
    except SpecInvalid as error:
        return Outcome(problems=error.problems)
    except InvalidName as error:
        form.add_error("name" if "name" in form.fields else None, error.message)
    except PlatformError as error:
        form.add_error(None, error.message)
    return Outcome()


def _page(
    request: HttpRequest, form: forms.Form, *, deployment: Deployment | None, outcome: Outcome | None = None
) -> HttpResponse:
    outcome = outcome or Outcome()
    text = str(form["compose"].value() or "")
    errors = [problem for problem in outcome.problems if problem.severity == "error"]
    context = {
        "form": form,
        "deployment": deployment,
        "plan": outcome.plan,
        "forecasts": outcome.forecasts,
        "errors": errors,
        "lines": compose_notes.noted(text, outcome.problems),
        "numbers": range(1, max(text.count("\n") + 1, int(form.fields["compose"].widget.attrs["rows"])) + 1),
        "wrong_lines": {problem.line for problem in errors},
    }
    is_refused = bool(form.errors or errors)
    return render(request, "deployments/deploy.html", context, status=422 if is_refused else 200)
