"""Questions about the fleet. Administrators see nodes; an organization sees what it holds."""

from django.db.models import Count, QuerySet

from moorage.fleet.models import Node, Reservation


def nodes() -> QuerySet[Node]:
    """Every node by name, each with ``replica_count``."""
    return Node.objects.annotate(replica_count=Count("reservations")).order_by("name")


def reservations(*, organization_id: str) -> QuerySet[Reservation]:
    """What one organization's replicas hold, with nodes and devices."""
    held = Reservation.objects.filter(organization_id=organization_id)
    return held.select_related("node").prefetch_related("devices").order_by("created_at")


def reservation_of(*, replica_id: str) -> Reservation | None:
    """What a replica holds, or None."""
    return Reservation.objects.select_related("node").prefetch_related("devices").filter(pk=replica_id).first()


def device_vendor_ids(reservation: Reservation) -> tuple[str, ...]:
    """The vendor ids a container of this replica is given, in a fixed order."""
    return tuple(reservation.devices.order_by("vendor_id").values_list("vendor_id", flat=True))


def reserved_replica_ids() -> frozenset[str]:
    """Replicas that hold room, for finding those that no longer should."""
    return frozenset(Reservation.objects.values_list("replica_id", flat=True))
