"""Nodes, their devices, and what is reserved on them.

The counters on :class:`Node` and the constraint over them keep memory from being sold twice, whatever the code around
them does; a device belongs to at most one reservation because it has one column for it.
"""

from django.db import models
from django.db.models import F, Q
from django.utils import timezone

from moorage.kernel import ids


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
    why = models.CharField(max_length=300)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        db_table = "reservation"

    def __str__(self) -> str:
        return f"{self.replica_id} on {self.node_id}"


class Device(models.Model):
    """One accelerator on a node, held whole by at most one replica."""

    id = models.CharField(primary_key=True, max_length=40, default=_device_id, editable=False)
    node = models.ForeignKey(Node, on_delete=models.CASCADE, related_name="devices")
    kind = models.CharField(max_length=20)
    vendor_id = models.CharField(max_length=80)
    name = models.CharField(max_length=120)
    memory_bytes = models.BigIntegerField()
    is_present = models.BooleanField(default=True)
    reservation = models.ForeignKey(
        Reservation, on_delete=models.PROTECT, null=True, blank=True, related_name="devices"
    )

    class Meta:
        db_table = "device"
        ordering = ["vendor_id"]
        constraints = [
            models.UniqueConstraint(name="device_is_known_once_per_node", fields=["node", "vendor_id"]),
        ]

    def __str__(self) -> str:
        return f"{self.name} ({self.vendor_id})"
