"""Deployments as the API reads and shows them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from moorage import compose
from moorage.accounts.addresses import gateway_url
from moorage.accounts.models import Organization
from moorage.api import waiting
from moorage.api.fields import Fields
from moorage.api.operation import ErrorProblemSerializer
from moorage.api.serializers_updates import ForecastSerializer, UpdateSerializer
from moorage.compose.environment import EnvVar, as_env_file
from moorage.compose.problems import Problem, SpecInvalid
from moorage.deployments import queries as deployments
from moorage.deployments import updates
from moorage.deployments.models import Deployment, DeploymentStatus, Revision
from moorage.deployments.preview import Preview

_VARIABLES_SCHEMA: Final = {
    "type": "object",
    "description": "For each service of the Compose file that binds a model: the variables it needs.",
    "additionalProperties": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"name": {"type": "string"}, "value": {"type": "string"}},
            "required": ["name", "value"],
        },
    },
}
_FILES_SCHEMA: Final = {
    "type": "object",
    "description": "The same as the text of an env file, by service.",
    "additionalProperties": {"type": "string"},
}


class TimeoutFields(Fields):
    """How long to wait."""

    timeout = serializers.IntegerField(
        min_value=1,
        max_value=waiting.SECONDS_MOST,
        default=waiting.SECONDS,
        help_text="With `wait`: seconds to wait at most.",
    )


class PutFields(TimeoutFields):
    """What a PUT takes besides the file."""

    dry_run = serializers.BooleanField(default=False, help_text="Answer the plan and write nothing.")
    wait = serializers.ChoiceField(
        choices=["ready"], required=False, help_text="Answer only when one real token has come back, or it has failed."
    )

    def validate(self, attrs: dict[str, Any]) -> dict[str, Any]:
        """A plan is there at once."""
        if attrs["dry_run"] and "wait" in attrs:
            raise serializers.ValidationError({"wait": ["A dry run starts nothing to wait for. Send one of the two."]})
        return attrs


class PutBodyFields(Fields):
    """A Compose file and its variables, as JSON."""

    compose = serializers.CharField(
        allow_blank=True, trim_whitespace=False, help_text="The Compose file, at most 64 KiB."
    )
    variables = serializers.DictField(
        child=serializers.CharField(allow_blank=True, trim_whitespace=False),
        default=dict,
        help_text="What `${NAME}` in the file stands for. Nothing else is ever filled in.",
    )


class DeleteFields(TimeoutFields):
    """What a DELETE takes."""

    wait = serializers.ChoiceField(
        choices=["gone"], required=False, help_text="Answer only when no container, socket or reservation is left."
    )


class RollbackFields(Fields):
    """Which revision to run again."""

    revision = serializers.IntegerField(
        min_value=1, max_value=2**31 - 1, help_text="The number of any revision of the deployment."
    )
    dry_run = serializers.BooleanField(default=False, help_text="Answer what it would do and write nothing.")


class EnvironmentFields(Fields):
    """Which service's environment."""

    service = serializers.CharField(required=False, max_length=200, help_text="One service alone; else all of them.")


class DeployedModelSerializer(serializers.Serializer):
    """One model of a revision, as it was decided when the revision was made."""

    key = serializers.CharField(source="model_key", help_text="Its key under `models`.")
    served_name = serializers.CharField(help_text="What clients send as `model`.")
    reference = serializers.CharField(help_text="The artifact as the file names it.")
    digest = serializers.CharField(help_text="The manifest digest that the tag meant; these bytes are served.")
    format = serializers.CharField(help_text="`gguf` or `safetensors`.")
    quantization = serializers.CharField(allow_blank=True, help_text="Read from the tensors, not from the tag.")
    engine = serializers.CharField(help_text="`llamacpp` or `vllm`.")
    kind = serializers.CharField(help_text="`chat` or `embedding`.")
    context_size = serializers.IntegerField(help_text="Tokens of prompt and answer together.")
    memory_bytes = serializers.IntegerField(help_text="Reserved for each replica.")
    gpus = serializers.IntegerField(help_text="Devices of each replica.")
    size_bytes = serializers.IntegerField(help_text="All files of the model.")


class DeploymentSummarySerializer(serializers.Serializer[Deployment]):
    """A deployment in a list."""

    id = serializers.CharField()
    name = serializers.CharField()
    status = serializers.ChoiceField(choices=DeploymentStatus.choices, help_text="Branch on this.")
    reason = serializers.CharField(help_text="Why, for people.")
    reason_code = serializers.CharField(help_text="Why, for programs.")
    status_changed_at = serializers.DateTimeField()
    is_paused = serializers.BooleanField()
    revision = serializers.SerializerMethodField(help_text="The number of the revision that is wanted.")
    served_names = serializers.SerializerMethodField(help_text="What clients may send as `model`.")
    replicas_ready = serializers.IntegerField()
    replicas_live = serializers.IntegerField(help_text="Those on their way and those that drain included.")
    created_at = serializers.DateTimeField()

    def get_revision(self, deployment: Deployment) -> int | None:
        """Of the target."""
        return deployment.target.number if deployment.target else None

    def get_served_names(self, deployment: Deployment) -> list[str]:
        """Of the target's models."""
        return [pin.served_name for pin in deployments.pins_of(deployment.target)] if deployment.target else []


class DeploymentSerializer(DeploymentSummarySerializer):
    """A deployment with everything that a caller needs to use it."""

    endpoint = serializers.SerializerMethodField(help_text="The base URL for OpenAI's clients.")
    models = serializers.SerializerMethodField()
    environment = serializers.SerializerMethodField()
    env_file = serializers.SerializerMethodField()
    update_under_way = serializers.SerializerMethodField(help_text="One revision takes over; null: none does.")
    warnings = serializers.SerializerMethodField(help_text="What the file says and Moorage ignores.")

    def get_endpoint(self, deployment: Deployment) -> str:
        """The gateway's."""
        return endpoint(deployment.organization)

    @extend_schema_field(DeployedModelSerializer(many=True))
    def get_models(self, deployment: Deployment) -> Any:
        """By key."""
        return (
            DeployedModelSerializer(deployments.pins_of(deployment.target), many=True).data if deployment.target else []
        )

    @extend_schema_field(_VARIABLES_SCHEMA)
    def get_environment(self, deployment: Deployment) -> dict[str, list[dict[str, str]]]:
        """By service."""
        return variables_document(environment_of(deployment))

    @extend_schema_field(_FILES_SCHEMA)
    def get_env_file(self, deployment: Deployment) -> dict[str, str]:
        """By service."""
        return {service: as_env_file(found) for service, found in environment_of(deployment).items()}

    @extend_schema_field(UpdateSerializer(allow_null=True))
    def get_update_under_way(self, deployment: Deployment) -> Any:
        """Which revision takes over from which."""
        found = updates.open_of(deployment)
        return UpdateSerializer(found).data if found is not None else None

    @extend_schema_field(ErrorProblemSerializer(many=True))
    def get_warnings(self, deployment: Deployment) -> Any:
        """Those of the file just sent, else those of the revision's own file."""
        sent: Iterable[Problem] | None = self.context.get("warnings")
        found = warnings_of(deployment.target) if sent is None and deployment.target else (sent or ())
        return ErrorProblemSerializer(found, many=True).data


class PlanSerializer(serializers.Serializer[Preview]):
    """What a PUT of this file would do. Nothing was written."""

    name = serializers.CharField(source="draft.name")
    is_new = serializers.BooleanField(help_text="Whether the deployment would be made.")
    is_changed = serializers.BooleanField(help_text="Whether anything would change.")
    revision = serializers.IntegerField(source="revision_number", help_text="The revision it would be.")
    steps = serializers.ListField(child=serializers.CharField(), help_text="In sentences, in order.")
    updates = ForecastSerializer(many=True, source="forecasts", help_text="Of each model: gap, room, extra cost.")
    endpoint = serializers.SerializerMethodField(help_text="The base URL for OpenAI's clients.")
    models = DeployedModelSerializer(many=True, source="draft.pins")
    environment = serializers.SerializerMethodField()
    env_file = serializers.SerializerMethodField()
    warnings = ErrorProblemSerializer(many=True, source="draft.warnings")

    def get_endpoint(self, _preview: Preview) -> str:
        """The gateway's."""
        return endpoint(self.context["organization"])

    @extend_schema_field(_VARIABLES_SCHEMA)
    def get_environment(self, preview: Preview) -> dict[str, list[dict[str, str]]]:
        """By service."""
        return variables_document(self._environment(preview))

    @extend_schema_field(_FILES_SCHEMA)
    def get_env_file(self, preview: Preview) -> dict[str, str]:
        """By service."""
        return {service: as_env_file(found) for service, found in self._environment(preview).items()}

    def _environment(self, preview: Preview) -> Mapping[str, Sequence[EnvVar]]:
        names = {pin.model_key: pin.served_name for pin in preview.draft.pins}
        return compose.environment(
            preview.draft.spec, endpoint_url=endpoint(self.context["organization"]), served_names=names
        )


def endpoint(organization: Organization) -> str:
    """The base URL that OpenAI's clients are given."""
    return f"{gateway_url(organization)}/v1"


def environment_of(deployment: Deployment) -> Mapping[str, Sequence[EnvVar]]:
    """By service; empty while there is no revision."""
    if deployment.target is None:
        return {}
    return deployments.service_environment(deployment.target, gateway_url=gateway_url(deployment.organization))


def variables_document(found: Mapping[str, Sequence[EnvVar]]) -> dict[str, list[dict[str, str]]]:
    """Names and values by service, as JSON."""
    return {
        service: [{"name": variable.name, "value": variable.value} for variable in variables]
        for service, variables in found.items()
    }


def warnings_of(revision: Revision) -> tuple[Problem, ...]:
    """What the revision's file says and Moorage ignores. A file that a newer Moorage refuses has none to show."""
    try:
        return compose.parse(revision.compose, variables=revision.variables).warnings
    except SpecInvalid:
        return ()


@extend_schema_field(_VARIABLES_SCHEMA)
class VariablesField(serializers.Field):
    """Names and values by service."""

    def to_representation(self, value: Any) -> Any:
        """As it is."""
        return value


class ServiceEnvironmentSerializer(serializers.Serializer):
    """The environment of one or all services."""

    environment = VariablesField()
