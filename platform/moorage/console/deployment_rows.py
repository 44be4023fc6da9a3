"""What the pages of deployments show of each: its replicas against those wanted, its last request, its month."""

import dataclasses
import datetime as dt
from collections.abc import Callable, Iterable
from typing import Any, Final

from moorage.accounts.models import Organization
from moorage.billing import queries as billing
from moorage.deployments import queries
from moorage.deployments.models import Deployment
from moorage.deployments.pins import Pin
from moorage.kernel.money import Money

_EARLIEST: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One deployment in the list."""

    deployment: Deployment
    models: tuple[Pin, ...]
    replicas_ready: int
    replicas_wanted: int
    last_request_at: dt.datetime | None
    cost: Money


#: What the list can be sorted by, and whether the largest comes first.
SORTS: Final[dict[str, tuple[Callable[[Row], Any], bool]]] = {
    "name": (lambda row: row.deployment.name, False),
    "status": (lambda row: row.deployment.status, False),
    "last_request": (lambda row: row.last_request_at or _EARLIEST, True),
    "cost": (lambda row: row.cost.pico, True),
}


def rows_of(organization: Organization, *, sort: str) -> tuple[Row, ...]:
    """The organization's deployments, by ``sort``; by name where that is no key of SORTS."""
    found = list(queries.deployments_of(organization))
    last, costs = queries.last_requests(found), month_costs(organization)
    rows = [
        Row(
            deployment=deployment,
            models=queries.pins_of(deployment.target) if deployment.target else (),
            replicas_ready=deployment.replicas_ready,  # type: ignore[attr-defined]
            replicas_wanted=wanted(deployment),
            last_request_at=last.get(deployment.pk),
            cost=costs.get(deployment.pk, Money(0, organization.currency)),
        )
        for deployment in found
    ]
    key, is_largest_first = SORTS.get(sort, SORTS["name"])
    return tuple(sorted(rows, key=key, reverse=is_largest_first))


def wanted(deployment: Deployment) -> int:
    """How many replicas all its models should have now."""
    return 0 if deployment.is_paused else sum(scale.wanted for scale in deployment.scales.all())


def month_costs(organization: Organization) -> dict[str, Money]:
    """What each deployment, by id, comes to on the running month's statement."""
    statement = billing.statement(organization=organization, period=billing.period_of(None)).statement
    return _summed((line.deployment_id, Money(line.amount_pico, statement.currency)) for line in statement.lines)


def _summed(amounts: Iterable[tuple[str, Money]]) -> dict[str, Money]:
    found: dict[str, Money] = {}
    for deployment_id, amount in amounts:
        found[deployment_id] = found[deployment_id] + amount if deployment_id in found else amount
    return found
