"""One node for an administrator: what it has, what holds it and why; drained, taken back, labelled. Scope `admin`."""

from typing import Final

from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples
from moorage.api.doors import AdministratorView
from moorage.api.fields import Fields
from moorage.api.operation import Answer, operation
from moorage.api.serializers_administrator import NodeSerializer
from moorage.fleet import nodes, queries
from moorage.fleet.errors import NodeNotFound, NotForThisNode
from moorage.fleet.models import Device, Reservation

TAG: Final = "Administrator"
EXAMPLE: Final = {
    **examples.NODE,
    "is_emulated": False,
    "drained_why": "",
    "labels": {"zone": "a"},
    "taints": {},
    "devices": [
        {
            "id": "dev_01k7wq0c9v7h3t5a2m8xj4n6bp",
            "name": "NVIDIA H200",
            "vendor_id": "GPU-2f1c7c3e-6a1b-4a3e-9c57-0c5f5d0c1a11",
            "is_present": True,
            "memory_bytes": 150754820096,
            "used_memory_bytes": 42949672960,
            "organization_id": "org_01k7wq0c9v7h3t5a2m8xj4n6bp",
            "replica_id": None,
        }
    ],
    "reservations": [
        {
            "replica_id": "rep_01k7wq0c9v7h3t5a2m8xj4n6bp",
            "organization_id": "org_01k7wq0c9v7h3t5a2m8xj4n6bp",
            "memory_bytes": 8589934592,
            "device_class": "3/8 NVIDIA H200",
            "priority": "normal",
            "why": "gpu-1 has 120.0 GiB free of 128.0 GiB; the weights are there",
            "created_at": "2026-11-22T08:00:00Z",
        }
    ],
}


class DeviceSerializer(serializers.Serializer[Device]):
    """One device, or one slice of it, and who has it."""

    id = serializers.CharField()
    name = serializers.CharField()
    vendor_id = serializers.CharField()
    is_present = serializers.BooleanField(help_text="False: the machine reports it no more, and it takes nothing new.")
    memory_bytes = serializers.IntegerField()
    used_memory_bytes = serializers.IntegerField(help_text="In shares.")
    organization_id = serializers.CharField(help_text="Whose it is now; empty: free.")
    replica_id = serializers.CharField(source="reservation_id", allow_null=True, help_text="Who has it whole.")


class ReservationSerializer(serializers.Serializer[Reservation]):
    """What one replica holds there, and why it came there."""

    replica_id = serializers.CharField()
    organization_id = serializers.CharField()
    memory_bytes = serializers.IntegerField()
    device_class = serializers.SerializerMethodField()
    priority = serializers.SerializerMethodField()
    why = serializers.CharField()
    created_at = serializers.DateTimeField()

    def get_device_class(self, held: Reservation) -> str:
        """As prices name it."""
        return queries.device_class(held)

    def get_priority(self, held: Reservation) -> str:
        """In a word."""
        return ("low", "normal", "high")[held.priority]


class NodeDetailSerializer(NodeSerializer):
    """A machine of the fleet, its devices, and everything that is held there."""

    is_emulated = serializers.BooleanField(help_text="Declared by the operator; there is no such machine.")
    drained_why = serializers.CharField()
    labels = serializers.DictField(child=serializers.CharField())
    taints = serializers.DictField(child=serializers.CharField())
    devices = DeviceSerializer(many=True)
    reservations = ReservationSerializer(many=True)


class MarksFields(Fields):
    """Labels and taints; what is left out stays as it is."""

    labels = serializers.DictField(child=serializers.CharField(), default=None, allow_null=True)
    taints = serializers.DictField(child=serializers.CharField(), default=None, allow_null=True)


class DrainFields(Fields):
    """Why."""

    why = serializers.CharField(default="", allow_blank=True, max_length=300)


class NodeView(AdministratorView):
    """One node."""

    @operation(
        id="adminGetNode",
        tag=TAG,
        summary="Read one node",
        path=["name"],
        answers={200: Answer(description="The node.", kind=NodeDetailSerializer, example=EXAMPLE)},
        raises=[NodeNotFound],
    )
    def get(self, _request: Request, name: str) -> Response:
        """What it has, free and held, by device; what holds it, and why that came there."""
        return Response(NodeDetailSerializer(nodes.named(name)).data)

    @operation(
        id="adminMarkNode",
        tag=TAG,
        summary="Set a node's labels and taints",
        path=["name"],
        body=MarksFields,
        body_example={"labels": {"zone": "a"}, "taints": {}},
        answers={200: Answer(description="The node.", kind=NodeDetailSerializer, example=EXAMPLE)},
        raises=[NodeNotFound, NotForThisNode],
    )
    def put(self, _request: Request, name: str) -> Response:
        """A model asks for labels; a taint keeps out all models that do not ask for it. What runs there stays."""
        nodes.mark(node=nodes.named(name), labels=self.body["labels"], taints=self.body["taints"], by=self.actor)
        return Response(NodeDetailSerializer(nodes.named(name)).data)


class DrainNodeView(AdministratorView):
    """Nothing new there."""

    @operation(
        id="adminDrainNode",
        tag=TAG,
        summary="Drain a node",
        path=["name"],
        body=DrainFields,
        body_example={"why": "A fan is replaced."},
        answers={200: Answer(description="The node.", kind=NodeDetailSerializer, example=EXAMPLE)},
        raises=[NodeNotFound],
    )
    def post(self, _request: Request, name: str) -> Response:
        """Nothing new starts there. What runs there is brought up elsewhere first and leaves then."""
        nodes.drain(node=nodes.named(name), why=self.body["why"], by=self.actor)
        return Response(NodeDetailSerializer(nodes.named(name)).data)


class UndrainNodeView(AdministratorView):
    """Taken back."""

    @operation(
        id="adminUndrainNode",
        tag=TAG,
        summary="Take a drained node back",
        path=["name"],
        answers={200: Answer(description="The node.", kind=NodeDetailSerializer, example=EXAMPLE)},
        raises=[NodeNotFound],
    )
    def post(self, _request: Request, name: str) -> Response:
        """It takes replicas again; nothing moves back by itself."""
        nodes.undrain(node=nodes.named(name), by=self.actor)
        return Response(NodeDetailSerializer(nodes.named(name)).data)
