"""Usage of a month, and down to a single request with everything that answered it."""

import dataclasses
import datetime as dt
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlencode

from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy as _
from django.views.decorators.http import require_safe

from moorage.accounts import queries as accounts
from moorage.accounts.addresses import gateway_url
from moorage.accounts.models import Membership, Organization
from moorage.billing import queries as billing
from moorage.console import daily_chart
from moorage.console.addresses import filter_of, found, month_choice, month_of
from moorage.console.doors import member
from moorage.console.priced import charge, meter_words
from moorage.console.snippets import Call, call
from moorage.deployments import queries as deployments
from moorage.kernel import clock
from moorage.kernel.clock import Period
from moorage.metering import queries as metering
from moorage.metering.queries import Grouping, Usage

#: The tabs of the usage page, and under which filter the requests of a group are listed.
_TABS: Final = {
    Grouping.DEPLOYMENT: _("Deployment"),
    Grouping.DAY: _("Day"),
    Grouping.KEY: _("API key"),
    Grouping.MODEL: _("Model"),
    Grouping.REVISION: _("Revision"),
}
_FILTERS: Final = {
    Grouping.DEPLOYMENT: "deployment",
    Grouping.KEY: "key",
    Grouping.MODEL: "model",
    Grouping.REVISION: "revision",
}
#: What replicas do, in the order of their life.
_STATES: Final = (
    ("pull", _("Pulling its weights")),
    ("load", _("Loading them")),
    ("frozen", _("Frozen, its memory kept")),
    ("idle", _("Idle")),
    ("busy", _("Busy")),
)
#: Replica time belongs to no key and no single served name.
_WITH_TIME: Final = frozenset({Grouping.DEPLOYMENT, Grouping.DAY, Grouping.REVISION})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Links:
    """Which pages a list of requests or lines leads to: a member's own, or an administrator's."""

    request: str
    requests: str
    line: str
    csv: str
    json: str


MEMBER: Final = Links(
    request="console:request",
    requests="console:requests",
    line="console:statement_line",
    csv="console:statement_csv",
    json="console:statement_json",
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class UsageRow:
    """A group's sums with its name, and the query of the address that lists its requests."""

    usage: Usage
    label: str
    query: str


@member(accounts.MAY_SEE_BILLING)
@require_safe
def usage(request: HttpRequest, membership: Membership) -> HttpResponse:
    """A month's sums by deployment, day, key, model or revision."""
    organization, period = membership.organization, month_of(request)
    context = {**usage_context(request, organization, period), "example": _example(organization)}
    return render(request, "usage/usage.html", context)


def usage_context(request: HttpRequest, organization: Organization, period: Period) -> dict[str, Any]:
    """The sums of ``period`` by what ``?by=`` names."""
    named = request.GET.get("by", Grouping.DEPLOYMENT.value)
    if named not in set(Grouping):
        raise Http404("Usage is not summed by this.")
    grouping = Grouping(named)
    start, end = period.start, period.end
    labels = labels_of(organization, grouping)
    rows = metering.usage(organization=organization, start=start, end=end, by=grouping)
    days = metering.usage(organization=organization, start=start, end=end, by=Grouping.DAY)
    total = metering.total(organization=organization, start=start, end=end)
    return {
        "month": month_choice(period, now=clock.now()),
        "grouping": grouping.value,
        "tabs": [(tab.value, words) for tab, words in _TABS.items()],
        "heading": _TABS[grouping],
        "rows": [
            UsageRow(
                usage=row,
                label=labels.get(row.group, row.group),
                query=_requests_query(grouping, row.group, period) if row.requests else "",
            )
            for row in rows
        ],
        "total": total,
        "states": [
            (name, words, total.replica_states[name]) for name, words in _STATES if name in total.replica_states
        ],
        "has_time": grouping in _WITH_TIME,
        "chart": daily_chart.draw(days, period),
        "shipped_until": metering.shipped_until(),
    }


@member(accounts.MAY_SEE_BILLING)
@require_safe
def requests(request: HttpRequest, membership: Membership) -> HttpResponse:
    """The month's requests, newest first, some at a time."""
    context = requests_context(request, membership.organization, month_of(request))
    return render(request, "usage/requests.html", {**context, "links": MEMBER})


def requests_context(request: HttpRequest, organization: Organization, period: Period) -> dict[str, Any]:
    """A page of requests that ended in ``period``, with the filters that the address names."""
    chosen = {grouping: filter_of(request, name) for grouping, name in _FILTERS.items()}
    with found():
        page = metering.requests(
            organization=organization,
            start=period.start,
            end=period.end,
            deployment_id=chosen[Grouping.DEPLOYMENT],
            revision_id=chosen[Grouping.REVISION],
            key_id=chosen[Grouping.KEY],
            served_name=chosen[Grouping.MODEL],
            after=filter_of(request, "after"),
        )
    return {
        "organization": organization,
        "month": month_choice(period, now=clock.now()),
        "page": page,
        "filters": [
            (_FILTERS[grouping], _TABS[grouping], labels_of(organization, grouping).get(value, value))
            for grouping, value in chosen.items()
            if value
        ],
    }


@member(accounts.MAY_SEE_BILLING)
@require_safe
def request_page(request: HttpRequest, membership: Membership, request_id: str) -> HttpResponse:
    """One request: how it ended, what it cost, and what answered it."""
    context = request_context(membership.organization, request_id)
    return render(request, "usage/request.html", {**context, "links": MEMBER})


def request_context(organization: Organization, request_id: str) -> dict[str, Any]:
    """A request of ``organization`` with its charges and its trace; 404 for a stranger's."""
    with found():
        rated = billing.rated_request(organization=organization, request_id=request_id)
    event = rated.event
    trace = deployments.trace(
        organization=organization,
        revision_id=event.revision_id,
        replica_id=event.replica_id,
        model_key=event.model_key,
    )
    keys = labels_of(organization, Grouping.KEY)
    names = deployments.deployment_names(organization)
    return {
        "organization": organization,
        "period": Period.containing(event.ended_at),
        "rated": rated,
        "event": event,
        "charges": [charge(line) for line in rated.lines],
        "unpriced": meter_words(rated.unpriced_meter),
        "trace": trace,
        "key_name": keys.get(event.key_id, ""),
        "deployment_name": names.get(event.deployment_id, ""),
        "took": _seconds(event.ended_at - event.started_at),
        "first_token": _seconds(event.first_token_at - event.started_at) if event.first_token_at else None,
        "held": f"{event.held_seconds.normalize():f}" if event.held_seconds else None,
        "uncached_tokens": event.input_tokens - event.cached_tokens,
    }


def labels_of(organization: Organization, grouping: Grouping) -> Mapping[str, str]:
    """The names behind the ids of groups; days and models are names already."""
    match grouping:
        case Grouping.DEPLOYMENT:
            return deployments.deployment_names(organization)
        case Grouping.REVISION:
            return deployments.revision_labels(organization)
        case Grouping.KEY:
            return {key.id: key.name for key in accounts.keys_of(organization)}
        case _:
            return {}


def _example(organization: Organization) -> Call | None:
    """A call of one of its models, to be tried; None where nothing is deployed."""
    targets = (deployment.target for deployment in deployments.deployments_of(organization))
    pins = (pin for target in targets if target for pin in deployments.pins_of(target))
    pin = next(pins, None)
    return call(pin, gateway_url=gateway_url(organization)) if pin else None


def _requests_query(grouping: Grouping, group: str, period: Period) -> str:
    name = _FILTERS.get(grouping)
    return urlencode({"period": str(period), name: group}) if name else ""


def _seconds(span: dt.timedelta) -> str:
    return f"{span / dt.timedelta(seconds=1):.3f}"
