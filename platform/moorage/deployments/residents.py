"""What a node holds, in the words of deployments: whose replicas sit there, and whose weights lie there.

The fleet knows replicas by their ids and weights by their digests alone; administrators ask what they are.
"""

import dataclasses
import datetime as dt

from moorage.accounts.models import Organization
from moorage.artifacts import queries as artifacts
from moorage.deployments.models import Replica
from moorage.fleet import queries as fleet
from moorage.fleet.models import Node, Reservation
from moorage.fleet.placement import PRIORITIES, Priority


@dataclasses.dataclass(frozen=True, kw_only=True)
class Resident:
    """One replica's room on a node; ``replica`` is None where its row is not known."""

    reservation: Reservation
    replica: Replica | None
    #: As prices name it.
    device_class: str
    priority: Priority

    @property
    def organization(self) -> Organization | None:
        """Whose replica it is."""
        return self.replica.deployment.organization if self.replica is not None else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
    """Weights in a node's store, and the references that were resolved to them."""

    digest: str
    references: tuple[str, ...]
    seen_at: dt.datetime


def residents(node: Node) -> tuple[Resident, ...]:
    """Who sits on the node and why, the oldest first. For administrators alone."""
    names = {number: name for name, number in PRIORITIES.items()}
    held = list(node.reservations.all())
    rows = Replica.objects.select_related("deployment__organization", "revision")
    replicas = rows.in_bulk([reservation.replica_id for reservation in held])
    return tuple(
        Resident(
            reservation=reservation,
            replica=replicas.get(reservation.replica_id),
            device_class=fleet.device_class(reservation),
            priority=names[reservation.priority],
        )
        for reservation in held
    )


def weights(node: Node) -> tuple[Weights, ...]:
    """What lies in the node's store, what was used last first. For administrators alone."""
    rows = list(node.weights.order_by("-seen_at", "digest"))
    named = artifacts.references_of([row.digest for row in rows])
    return tuple(Weights(digest=row.digest, references=named.get(row.digest, ()), seen_at=row.seen_at) for row in rows)
