"""Nodes, their devices, and what is reserved on them.

The counters on :class:`Node` and :class:`Device` and the constraints over them keep memory from being sold twice,
whatever the code around them does. A device is held whole by one reservation, for which it has one column, or in shares
by several of one organization: a CHECK excludes both at once, and a foreign key over device and organization excludes
two organizations (migration 0002).
"""

from typing import Final

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from moorage.kernel import ids

#: Kinds of devices. A slice is one MIG instance: hardware keeps its memory from its neighbours'.
WHOLE: Final = "nvidia"
SLICE: Final = "nvidia-mig"


def _node_id() -> str:
    return ids.new("node")


def _device_id() -> str:
    return ids.new("dev")


class Node(models.Model):
    """A machine with a container runtime, CPUs and maybe devices."""

    id = models.CharField(primary_key=True, max_length=40, default=_node_id, editable=False)
    name = models.CharField(max_length=120, unique=True)
    memory_bytes = models.BigIntegerField()
    cpu_millis = models.PositiveIntegerField()
    used_memory_bytes = models.BigIntegerField(default=0)
    used_cpu_millis = models.IntegerField(default=0)
    is_drained = models.BooleanField(default=False)
    drained_why = models.CharField(max_length=300, default="", blank=True)
    #: Declared by the operator in a pool file: nobody reports it, so it is never silent; its devices are no hardware.
    is_emulated = models.BooleanField(default=False)
    #: What a model may ask for, and what a model must ask for: names to values.
    labels = models.JSONField(default=dict)
    taints = models.JSONField(default=dict)
    runtime = models.CharField(max_length=20)
    facts = models.JSONField(default=dict)
    seen_at = models.DateTimeField(default=timezone.now)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "node"
        ordering = ["name"]
        constraints = [
            models.CheckConstraint(
                name="node_memory_is_never_oversold",
                condition=Q(used_memory_bytes__gte=0, used_memory_bytes__lte=F("memory_bytes")),
            ),
            models.CheckConstraint(name="node_cpu_use_is_not_negative", condition=Q(used_cpu_millis__gte=0)),
        ]

    def __str__(self) -> str:
        return self.name


class Reservation(models.Model):
    """What one replica holds on a node, from before its container is made until after it is gone."""

    replica_id = models.CharField(primary_key=True, max_length=40)
    node = models.ForeignKey(Node, on_delete=models.PROTECT, related_name="reservations")
    organization_id = models.CharField(max_length=40, db_index=True)
    memory_bytes = models.BigIntegerField()
    cpu_millis = models.PositiveIntegerField()
    #: 0 low, 1 normal, 2 high: who gives way to whom while nobody calls.
    priority = models.PositiveSmallIntegerField(default=1)
    why = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "reservation"

    def __str__(self) -> str:
        return f"{self.replica_id} on {self.node_id}"


class Device(models.Model):
    """One accelerator on a node, or one slice of it: held whole by one replica, or in shares by one organization's."""

    id = models.CharField(primary_key=True, max_length=40, default=_device_id, editable=False)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="devices")
    kind = models.CharField(max_length=20)
    vendor_id = models.CharField(max_length=80)
    name = models.CharField(max_length=120)
    memory_bytes = models.BigIntegerField()
    is_present = models.BooleanField(default=True)
    #: Who holds it whole.
    reservation = models.ForeignKey(
        Reservation, on_delete=models.PROTECT, null=True, blank=True, related_name="devices"
    )
    #: What its shares add up to.
    used_memory_bytes = models.BigIntegerField(default=0)
    #: Whose it is now, whole or in shares; empty: free.
    organization_id = models.CharField(max_length=40, default="", blank=True)

    class Meta:
        db_table = "device"
        ordering = ["vendor_id"]
        constraints = [
            models.UniqueConstraint(name="device_is_known_once_per_node", fields=["node", "vendor_id"]),
            models.CheckConstraint(
                name="device_memory_is_never_oversold",
                condition=Q(used_memory_bytes__gte=0, used_memory_bytes__lte=F("memory_bytes")),
            ),
            models.CheckConstraint(
                name="device_is_whole_or_shared", condition=Q(reservation=None) | Q(used_memory_bytes=0)
            ),
            models.CheckConstraint(
                name="device_in_use_is_of_one_organization",
                condition=(
                    Q(reservation=None, used_memory_bytes=0, organization_id="")
                    | ~Q(organization_id="") & (Q(reservation__isnull=False) | Q(used_memory_bytes__gt=0))
                ),
            ),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.vendor_id})"


class DeviceShare(models.Model):
    """Some of one device's memory, held by one replica beside others of its organization."""

    reservation = models.ForeignKey(Reservation, on_delete=models.PROTECT, related_name="shares")
    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="shares")
    organization_id = models.CharField(max_length=40)
    memory_bytes = models.BigIntegerField()

    class Meta:
        db_table = "device_share"
        constraints = [
            models.UniqueConstraint(name="device_share_is_one_a_replica", fields=["reservation", "device"]),
            models.CheckConstraint(name="device_share_is_some_memory", condition=Q(memory_bytes__gt=0)),
        ]

    def __str__(self) -> str:
        return f"{self.memory_bytes} of {self.device_id}"


class NodeWeights(models.Model):
    """One model's weights that lie in a node's store: a reason to start it there, and never a promise."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="weights")
    digest = models.CharField(max_length=80)
    seen_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "node_weights"
        constraints = [models.UniqueConstraint(name="node_weights_are_known_once", fields=["node", "digest"])]

    def __str__(self) -> str:
        return f"{self.digest} on {self.node_id}"


class Waiting(models.Model):
    """A replica that found no room and asks again: those who come later do not take what it would have got."""

    replica_id = models.CharField(primary_key=True, max_length=40)
    organization_id = models.CharField(max_length=40)
    demand = models.JSONField()
    since = models.DateTimeField(default=timezone.now)
    asked_at = models.DateTimeField(default=timezone.now, db_index=True)

    class Meta:
        db_table = "waiting"
        ordering = ["since"]

    def __str__(self) -> str:
        return self.replica_id


class OrganizationTrust(models.Model):
    """How far an administrator trusts an organization; without a row it is in the usual class (runtime_classes.py)."""

    organization_id = models.CharField(primary_key=True, max_length=40)
    trust_class = models.CharField(max_length=40)
    changed_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "organization_trust"

    def __str__(self) -> str:
        return f"{self.organization_id}: {self.trust_class}"


class ReplicaIsolation(models.Model):
    """What a replica's runner really got, as it was read back when it had started (isolation.py)."""

    replica_id = models.CharField(primary_key=True, max_length=40)
    level = models.CharField(max_length=20)
    document = models.JSONField()
    read_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "isolation"

    def __str__(self) -> str:
        return f"{self.replica_id}: {self.level}"


class NodeProbe(models.Model):
    """What a probe inside a runner found on a node, the last time for each engine (inside_probe.py)."""

    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="probes")
    engine = models.CharField(max_length=20)
    container_runtime = models.CharField(max_length=40, default="runc")
    is_closed = models.BooleanField()
    document = models.JSONField()
    taken_at = models.DateTimeField(default=timezone.now)

    class Meta:
        db_table = "node_probe"
        ordering = ["engine", "container_runtime"]
        constraints = [
            models.UniqueConstraint(name="node_probe_is_the_last", fields=["node", "engine", "container_runtime"])
        ]

    def __str__(self) -> str:
        return f"{self.engine} on {self.node_id}"
