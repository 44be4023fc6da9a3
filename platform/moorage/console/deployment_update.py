"""An update on its deployment's page: both revisions, what each has answered, the verdict, the two ways to end it."""

import dataclasses
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from moorage.accounts import queries as accounts
from moorage.accounts.models import Membership, Organization
from moorage.billing.update_cost import extra_cost
from moorage.console.doors import actor_of, member
from moorage.deployments import queries, updates
from moorage.deployments import services as deployments
from moorage.deployments.forecast import Forecast
from moorage.deployments.models import Deployment, Replica, ReplicaStatus, Update, UpdateState
from moorage.kernel import clock
from moorage.kernel.errors import Conflict
from moorage.kernel.money import Money


@dataclasses.dataclass(frozen=True, kw_only=True)
class Side:
    """One revision of one model in the table of an update. ``figures`` are those of the last verdict."""

    number: int
    model_key: str
    is_new: bool
    ready: int
    live: int
    share: int | None
    figures: dict[str, Any]

    @property
    def first_token(self) -> str:
        """``0.12 s``."""
        seconds = self.figures.get("first_token_seconds")
        return "–" if seconds is None else f"{seconds:.2f} s"

    @property
    def token_rate(self) -> str:
        """Tokens a second."""
        rate = self.figures.get("tokens_per_second")
        return "–" if rate is None else f"{rate:.0f}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Shown:
    """An update that is under way, or the last one where it was rolled back."""

    update: Update
    sides: tuple[Side, ...]
    whys: tuple[str, ...]

    @property
    def is_open(self) -> bool:
        """It is under way."""
        return self.update.state in Update.OPEN

    @property
    def is_trial(self) -> bool:
        """Its revisions share the requests."""
        return self.update.state == UpdateState.TRIAL


def shown(deployment: Deployment, replicas: tuple[Replica, ...]) -> Shown | None:
    """What the page says of the deployment's update; None where there is nothing to say."""
    update = updates.last_of(deployment)
    if update is None or update.state not in {*Update.OPEN, UpdateState.ROLLED_BACK}:
        return None
    trial = updates.trial_of(update)
    sides = []
    for revision in (update.baseline, update.revision):
        for key in sorted(revision.pins) if revision is not None else ():
            assert revision is not None
            mine = [one for one in replicas if one.revision_id == revision.pk and one.model_key == key]
            weights = trial.weights(key) if trial is not None and trial.update.trial_since is not None else {}
            is_new = revision.pk == update.revision_id
            sides.append(
                Side(
                    number=revision.number,
                    model_key=key,
                    is_new=is_new,
                    ready=sum(one.status == ReplicaStatus.READY for one in mine),
                    live=len(mine),
                    share=weights.get(revision.pk),
                    figures=update.figures.get(key, {}).get("canary" if is_new else "baseline", {}),
                )
            )
    whys = tuple(f"{key}: {told['why']}" for key, told in sorted(update.figures.items())) if trial is not None else ()
    return Shown(update=update, sides=tuple(sides), whys=whys)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Priced:
    """What an update will do to one model, with what it costs."""

    forecast: Forecast
    cost: Money | None


def priced(organization: Organization, forecasts: tuple[Forecast, ...]) -> tuple[Priced, ...]:
    """Of the models that are replaced; of the others the plan's steps say enough."""
    now = clock.now()
    return tuple(
        Priced(forecast=one, cost=extra_cost(one, organization=organization, now=now))
        for one in forecasts
        if one.change == "replace"
    )


@member(accounts.MAY_DEPLOY)
@require_POST
def promote(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """The revision on trial gets all requests."""
    found = queries.deployment(organization=membership.organization, name=name)
    try:
        revision = deployments.promote(deployment=found, by=actor_of(request))
    except Conflict as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"Revision {revision.number} takes over.")
    return redirect("console:deployment", membership.organization.slug, name)


@member(accounts.MAY_DEPLOY)
@require_POST
def roll_back(request: HttpRequest, membership: Membership, name: str) -> HttpResponse:
    """What served before the update serves again."""
    found = queries.deployment(organization=membership.organization, name=name)
    try:
        revision = deployments.roll_back_update(deployment=found, by=actor_of(request))
    except Conflict as error:
        messages.error(request, error.message)
    else:
        messages.success(request, f"Revision {revision.number} serves again.")
    return redirect("console:deployment", membership.organization.slug, name)
