"""A node as an administrator reads it, and what is sent to change it."""

from typing import Any, Final

from rest_framework import serializers

from moorage.accounts import queries as accounts
from moorage.accounts.models import AuditEntry
from moorage.api.fields import Fields
from moorage.api.serializers_administrator import NodeSerializer
from moorage.deployments import residents
from moorage.deployments.residents import Resident, Weights
from moorage.fleet.models import SLICE, Device, DeviceShare, Node

_HISTORY_MOST: Final = 50


class ShareSerializer(serializers.Serializer[DeviceShare]):
    """Some of a device's memory."""

    replica_id = serializers.CharField(source="reservation_id")
    memory_bytes = serializers.IntegerField()


class DeviceSerializer(serializers.Serializer[Device]):
    """One device, or one slice of it, and who has it."""

    id = serializers.CharField()
    name = serializers.CharField()
    vendor_id = serializers.CharField()
    is_slice = serializers.SerializerMethodField(
        help_text="A MIG instance: hardware keeps it apart from its neighbours."
    )
    is_present = serializers.BooleanField(help_text="False: the machine reports it no more, and it takes nothing new.")
    memory_bytes = serializers.IntegerField()
    used_memory_bytes = serializers.IntegerField(help_text="In shares.")
    organization_id = serializers.CharField(help_text="Whose it is now; empty: free.")
    replica_id = serializers.CharField(source="reservation_id", allow_null=True, help_text="Who has it whole.")
    shares = ShareSerializer(many=True, help_text="Who has a part of it, and how much.")

    def get_is_slice(self, device: Device) -> bool:
        """Of its kind."""
        return device.kind == SLICE


class ReservationSerializer(serializers.Serializer[Resident]):
    """What one replica holds there, whose it is, and why it came there."""

    replica_id = serializers.CharField(source="reservation.replica_id")
    organization_id = serializers.CharField(source="reservation.organization_id")
    organization = serializers.CharField(
        source="organization.slug", default=None, allow_null=True, help_text="Its short name."
    )
    deployment = serializers.CharField(source="replica.deployment.name", default=None, allow_null=True)
    model_key = serializers.CharField(source="replica.model_key", default=None, allow_null=True)
    status = serializers.CharField(source="replica.status", default=None, allow_null=True, help_text="The replica's.")
    memory_bytes = serializers.IntegerField(source="reservation.memory_bytes")
    cpu_millis = serializers.IntegerField(source="reservation.cpu_millis")
    device_class = serializers.CharField(help_text="What it holds, as prices name it.")
    priority = serializers.CharField(help_text="`low`, `normal` or `high`.")
    why = serializers.CharField(source="reservation.why")
    created_at = serializers.DateTimeField(source="reservation.created_at")


class WeightsSerializer(serializers.Serializer[Weights]):
    """Weights in the node's store: a reason to start their model there."""

    digest = serializers.CharField()
    references = serializers.ListField(child=serializers.CharField())
    seen_at = serializers.DateTimeField()


class NodeDeedSerializer(serializers.Serializer[AuditEntry]):
    """What somebody did to the node."""

    at = serializers.DateTimeField()
    action = serializers.CharField(help_text="`node.drained`, `node.resumed` or `node.marked`.")
    by = serializers.CharField(source="detail.by")
    detail = serializers.SerializerMethodField(help_text="Why, or the labels and taints from then on.")

    def get_detail(self, entry: AuditEntry) -> dict[str, Any]:
        """Without what is said elsewhere in the answer."""
        return {name: value for name, value in entry.detail.items() if name not in {"by", "name"}}


class NodeDetailSerializer(NodeSerializer):
    """A machine of the fleet, its devices, everything that is held there, and what was done to it."""

    is_emulated = serializers.BooleanField(help_text="Declared by the operator; there is no such machine.")
    drained_why = serializers.CharField()
    labels = serializers.DictField(child=serializers.CharField())
    taints = serializers.DictField(child=serializers.CharField())
    devices = DeviceSerializer(many=True)
    reservations = ReservationSerializer(many=True)
    weights = WeightsSerializer(many=True)
    history = NodeDeedSerializer(many=True, help_text="The last fifty deeds, newest first.")


class MarksFields(Fields):
    """Labels and taints; what is left out stays as it is."""

    labels = serializers.DictField(child=serializers.CharField(), default=None, allow_null=True)
    taints = serializers.DictField(child=serializers.CharField(), default=None, allow_null=True)


class MarkChangesFields(Fields):
    """Labels and taints by name; null takes one away."""

    labels = serializers.DictField(child=serializers.CharField(allow_null=True), default=None, allow_null=True)
    taints = serializers.DictField(child=serializers.CharField(allow_null=True), default=None, allow_null=True)


class DrainFields(Fields):
    """Why."""

    why = serializers.CharField(default="", allow_blank=True, max_length=300)


def document(node: Node) -> dict[str, Any]:
    """The whole node, as the API shows it."""
    deeds = accounts.audit_entries(action="node", subject=node.pk)[:_HISTORY_MOST]
    asked = {"reservations": residents.residents(node), "weights": residents.weights(node), "history": list(deeds)}
    known: Any = {name: getattr(node, name) for name in NodeDetailSerializer().get_fields() if name not in asked}
    return dict(NodeDetailSerializer(known | asked).data)
