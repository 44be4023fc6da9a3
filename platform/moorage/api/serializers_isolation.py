"""Isolation as the API shows it."""

from rest_framework import serializers

from moorage.api.fields import Fields
from moorage.fleet.isolation_rows import HostWalls


class WallSerializer(serializers.Serializer):
    """One wall, and whether it holds."""

    code = serializers.CharField(help_text="Branch on this.")
    name = serializers.CharField()
    found = serializers.CharField(help_text="What was found, for people.")
    holds = serializers.BooleanField(allow_null=True, help_text="null: this machine has no such wall.")


class IsolationSerializer(serializers.Serializer):
    """What stands around a replica's runner."""

    replica_id = serializers.CharField()
    level = serializers.ChoiceField(
        choices=["none", "container", "sandbox", "unknown"],
        help_text="`none`: a process of the machine; `sandbox`: a kernel of its own.",
    )
    sentence = serializers.CharField(help_text="The same for people.")
    runtime = serializers.CharField(allow_blank=True, help_text="`docker`, `process` or `memory`.")
    container_runtime = serializers.CharField(
        allow_blank=True, help_text="`runc` or `runsc`, by the operator's policy."
    )
    walls = WallSerializer(many=True)
    read_at = serializers.DateTimeField(allow_null=True)


class ProbeFindingSerializer(serializers.Serializer):
    """One try to get out of a runner."""

    code = serializers.CharField()
    claim = serializers.CharField()
    is_closed = serializers.BooleanField()
    found = serializers.CharField()


class RunnerProbeSerializer(serializers.Serializer):
    """What a probe found, the last time."""

    engine = serializers.CharField()
    container_runtime = serializers.CharField()
    is_closed = serializers.BooleanField(help_text="Every door was tried, and every one was closed.")
    trouble = serializers.CharField(source="document.trouble", allow_blank=True)
    findings = ProbeFindingSerializer(many=True, source="document.findings")
    taken_at = serializers.DateTimeField()


class HostWallsSerializer(serializers.Serializer[HostWalls]):
    """A node's walls."""

    node_id = serializers.CharField(source="node.id")
    name = serializers.CharField(source="node.name")
    host = serializers.DictField(help_text="Empty before the first replica has started there.")
    probes = RunnerProbeSerializer(many=True)


class TrustClassFields(Fields):
    """A class of the operator's policy."""

    trust_class = serializers.CharField(max_length=40)


class TrustClassSerializer(serializers.Serializer):
    """An organization's class, and what each class is started with."""

    trust_class = serializers.CharField()
    classes = serializers.DictField(child=serializers.CharField())
