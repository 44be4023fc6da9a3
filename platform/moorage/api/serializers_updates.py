"""Updates as the API shows them: what one will do, and how one that is under way stands."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from moorage.api.serializers_money import MoneyField, money
from moorage.billing.update_cost import extra_cost
from moorage.deployments.forecast import Forecast
from moorage.deployments.models import Update, UpdateState
from moorage.kernel import clock

_CHANGES = ["start", "replace", "stop"]
_STRATEGIES = ["surge", "hold", "recreate"]
_VERDICTS = ["continue", "promote", "roll back"]


class ForecastSerializer(serializers.Serializer[Forecast]):
    """What an update will do to one model: a forecast, made of the last start's time and the room that is free now."""

    key = serializers.CharField(source="model_key", help_text="Its key under `models`.")
    served_name = serializers.CharField()
    change = serializers.ChoiceField(choices=_CHANGES)
    sentence = serializers.CharField(help_text="What will happen, for people.")
    strategy = serializers.ChoiceField(choices=_STRATEGIES)
    canary_weight = serializers.IntegerField(help_text="Per cent of the requests while on trial; 0: no trial.")
    differences = serializers.ListField(child=serializers.CharField(), help_text="Such as `context_size: 512 -> 640`.")
    replicas = serializers.IntegerField(help_text="Wanted of the new revision.")
    has_room = serializers.BooleanField(
        allow_null=True, help_text="Whether both fit at once now; null where none serves yet."
    )
    gap_seconds = serializers.FloatField(
        allow_null=True, help_text="How long requests wait in the gateway; 0: not at all; null: it never started."
    )
    extra_replicas = serializers.IntegerField(help_text="More than before, while both run.")
    extra_seconds = serializers.FloatField(allow_null=True, help_text="How long both run; null: it never started.")
    device_classes = serializers.ListField(
        child=serializers.CharField(),
        help_text="What each of those more would hold, as prices name it; `cpu`: no device.",
    )
    extra_cost = serializers.SerializerMethodField(help_text="Of both running, at the price in force; null: unknown.")

    @extend_schema_field(MoneyField(allow_null=True))
    def get_extra_cost(self, forecast: Forecast) -> dict[str, str] | None:
        """In money."""
        found = extra_cost(forecast, organization=self.context["organization"], now=clock.now())
        return None if found is None else money(found.pico, found.currency)


class SideSerializer(serializers.Serializer):
    """What one revision has answered since the trial began."""

    requests = serializers.IntegerField()
    errors = serializers.IntegerField(  # type: ignore[assignment]  # its errors are those of the engine
        help_text="The engine broke, answered 5xx, or refused."
    )
    error_share = serializers.FloatField(help_text="From 0 to 1.")
    first_token_seconds = serializers.FloatField(allow_null=True, help_text="The median of its streams.")
    tokens_per_second = serializers.FloatField(allow_null=True)


class TriedModelSerializer(serializers.Serializer):
    """One model on trial."""

    key = serializers.CharField()
    baseline = SideSerializer()
    canary = SideSerializer()
    verdict = serializers.ChoiceField(choices=_VERDICTS)
    why = serializers.CharField()


class UpdateSerializer(serializers.Serializer[Update]):
    """One revision takes over from another."""

    id = serializers.CharField()
    revision = serializers.IntegerField(source="revision.number", help_text="The one that takes over.")
    baseline = serializers.SerializerMethodField(help_text="The one that serves again if it fails; null: none.")
    state = serializers.ChoiceField(choices=UpdateState.choices, help_text="Branch on this.")
    why = serializers.CharField(allow_blank=True, help_text="Why it stands there, for people.")
    by = serializers.CharField()
    created_at = serializers.DateTimeField()
    trial_since = serializers.DateTimeField(allow_null=True, help_text="Its first replica was ready.")
    judged_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(allow_null=True)
    models = serializers.SerializerMethodField(help_text="Of a trial: both sides as they were judged last.")

    def get_baseline(self, update: Update) -> int | None:
        """Its number."""
        return update.baseline.number if update.baseline is not None else None

    @extend_schema_field(TriedModelSerializer(many=True))
    def get_models(self, update: Update) -> Any:
        """By key."""
        rows = [{"key": key, **figures} for key, figures in sorted(update.figures.items())]
        return TriedModelSerializer(rows, many=True).data


class RollbackPlanSerializer(serializers.Serializer):
    """What a rollback would do. Nothing was written."""

    revision = serializers.IntegerField()
    updates = ForecastSerializer(many=True)
