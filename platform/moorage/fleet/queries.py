"""Questions about the fleet. Administrators see nodes; an organization sees what it holds."""

from django.db.models import Count, Prefetch, QuerySet

from moorage.fleet import device_classes
from moorage.fleet.models import Device, DeviceShare, Node, Reservation


def nodes() -> QuerySet[Node]:
    """Every node by name, each with ``replica_count``."""
    return Node.objects.annotate(replica_count=Count("reservations")).order_by("name")


def node(*, name: str) -> Node | None:
    """One node with its devices and their shares, and what replicas hold there, the oldest first."""
    shares = DeviceShare.objects.select_related("reservation").order_by("reservation_id")
    devices = Device.objects.select_related("reservation").prefetch_related(Prefetch("shares", queryset=shares))
    held = Reservation.objects.prefetch_related("devices", "shares__device").order_by("created_at")
    found = nodes().prefetch_related(
        Prefetch("devices", queryset=devices.order_by("vendor_id")), Prefetch("reservations", queryset=held)
    )
    return found.filter(name=name).first()


def drained_node_ids() -> frozenset[str]:
    """Nodes whose replicas have to be brought up elsewhere."""
    return frozenset(Node.objects.filter(is_drained=True).values_list("pk", flat=True))


def reservations(*, organization_id: str) -> QuerySet[Reservation]:
    """What one organization's replicas hold, with nodes and devices."""
    held = Reservation.objects.filter(organization_id=organization_id)
    return held.select_related("node").prefetch_related("devices", "shares").order_by("created_at")


def reservation_of(*, replica_id: str) -> Reservation | None:
    """What a replica holds, or None."""
    held = Reservation.objects.select_related("node").prefetch_related("devices", "shares__device")
    return held.filter(pk=replica_id).first()


def device_vendor_ids(reservation: Reservation) -> tuple[str, ...]:
    """The vendor ids a container of this replica is given, in a fixed order; none of an emulated node's."""
    if reservation.node.is_emulated:
        return ()
    held = [device.vendor_id for device in reservation.devices.all()]
    held += [share.device.vendor_id for share in reservation.shares.all()]
    return tuple(sorted(held))


def share_percent(reservation: Reservation) -> int:
    """How much of its one device the replica holds, in hundredths of the device's memory, rounded down; 0: no share."""
    for share in reservation.shares.all():
        return max(1, 100 * share.memory_bytes // share.device.memory_bytes)
    return 0


def device_class(reservation: Reservation) -> str:
    """What it holds as prices and costs name it (device_classes.py)."""
    shares = [(share.device.name, share.memory_bytes, share.device.memory_bytes) for share in reservation.shares.all()]
    return device_classes.of_parts([device.name for device in reservation.devices.all()], shares)


def reserved_replica_ids() -> frozenset[str]:
    """Replicas that hold room, for finding those that no longer should."""
    return frozenset(Reservation.objects.values_list("replica_id", flat=True))
