"""Replicas, their logs and the timeline as the API shows them."""

from rest_framework import serializers

from moorage.api.paging import PageFields
from moorage.deployments.models import Replica, ReplicaStatus, TimelineEvent


class ReplicasFields(PageFields):
    """Which replicas."""

    with_gone = serializers.BooleanField(default=False, help_text="Those that are gone too.")


class PullSerializer(serializers.Serializer):
    """A pull: its speed over the last seconds and what is left."""

    here_bytes = serializers.IntegerField(default=0, help_text="Were on the node before it began.")
    files = serializers.IntegerField(default=0)
    files_done = serializers.IntegerField(default=0)
    file = serializers.CharField(default="", allow_blank=True, help_text="The one that is on its way.")
    bytes_per_second = serializers.IntegerField(default=None, allow_null=True)
    seconds_left = serializers.IntegerField(default=None, allow_null=True)


class ReplicaSerializer(serializers.Serializer[Replica]):
    """One running copy of one model: where it stands, why, since when, and exactly how it was started."""

    id = serializers.CharField()
    model_key = serializers.CharField()
    revision = serializers.IntegerField(source="revision.number")
    status = serializers.ChoiceField(choices=ReplicaStatus.choices, help_text="Branch on this.")
    reason = serializers.CharField(help_text="Why, for people.")
    reason_code = serializers.CharField(help_text="Why, for programs.")
    status_changed_at = serializers.DateTimeField()
    engine = serializers.CharField(allow_blank=True)
    engine_version = serializers.CharField(allow_blank=True, help_text="The engine's version or its image's digest.")
    runtime = serializers.CharField(allow_blank=True, help_text="`docker`, `process` or `memory`.")
    node_id = serializers.CharField(allow_blank=True)
    argv = serializers.ListField(child=serializers.CharField(), help_text="The exact argument list of the runner.")
    pulled_bytes = serializers.IntegerField(help_text="Of `total_bytes`, while it is pulling.")
    total_bytes = serializers.IntegerField()
    pull = PullSerializer(help_text="How the pull goes, while it is pulling.")
    peak_memory_bytes = serializers.IntegerField(
        allow_null=True, help_text="The most memory that its container was seen with; small models are up before."
    )
    exit_code = serializers.IntegerField(allow_null=True)
    created_at = serializers.DateTimeField()
    ready_at = serializers.DateTimeField(allow_null=True)
    failed_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True, help_text="When it stopped being able to answer.")


class ReplicaLogSerializer(serializers.Serializer):
    """A runner's last lines."""

    replica_id = serializers.CharField()
    text = serializers.CharField(allow_blank=True, help_text="At most 200 lines.")


class TimelineEventSerializer(serializers.Serializer[TimelineEvent]):
    """What happened to a deployment, when, why and by whom."""

    id = serializers.CharField()
    code = serializers.CharField()
    message = serializers.CharField()
    by = serializers.CharField()
    at = serializers.DateTimeField()
    replica_id = serializers.CharField(allow_null=True)
