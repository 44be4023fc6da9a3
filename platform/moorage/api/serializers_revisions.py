"""Revisions as the API shows them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from moorage.api.serializers_deployments import DeployedModelSerializer
from moorage.deployments import queries as deployments
from moorage.deployments.models import Revision


class RevisionSummarySerializer(serializers.Serializer[Revision]):
    """A revision in a list. The context has the deployment's ``target_id``."""

    id = serializers.CharField()
    number = serializers.IntegerField()
    is_target = serializers.SerializerMethodField(help_text="Whether this is the revision that is wanted now.")
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    models = serializers.SerializerMethodField()

    def get_is_target(self, revision: Revision) -> bool:
        """At most one is."""
        return bool(self.context["target_id"] == revision.pk)

    @extend_schema_field(DeployedModelSerializer(many=True))
    def get_models(self, revision: Revision) -> Any:
        """By key."""
        return DeployedModelSerializer(deployments.pins_of(revision), many=True).data


class RevisionSerializer(RevisionSummarySerializer):
    """A revision with the file it was made from."""

    compose = serializers.CharField(help_text="The Compose file as it was sent.")
    variables = serializers.DictField(child=serializers.CharField(), help_text="What was sent along with it.")
    content_hash = serializers.CharField(help_text="SHA-256 of its meaning: the same content is the same revision.")
