"""Usage as the API shows it: sums of a month, and single requests with what they cost."""

from rest_framework import serializers

from moorage.api.fields import Fields
from moorage.api.paging import PageFields
from moorage.api.serializers_money import MoneyField, PriceSerializer, money
from moorage.billing.models import Meter
from moorage.billing.queries import RatedRequest
from moorage.metering.models import UsageEvent
from moorage.metering.queries import Grouping


class PeriodFields(Fields):
    """Which month."""

    period = serializers.CharField(
        required=False, max_length=7, help_text="`YYYY-MM` in UTC; the present one if left out."
    )


class UsageFields(PageFields, PeriodFields):
    """Which month, summed by what."""

    group = serializers.ChoiceField(
        choices=[(grouping.value, grouping.value) for grouping in Grouping],
        default=Grouping.DEPLOYMENT.value,
        help_text="What usage is summed by.",
    )


class RequestsFields(PageFields, PeriodFields):
    """Which requests."""

    deployment_id = serializers.CharField(required=False, max_length=40, help_text="Of this deployment alone.")
    revision_id = serializers.CharField(required=False, max_length=40, help_text="Of this revision alone.")
    key_id = serializers.CharField(required=False, max_length=40, help_text="With this key alone.")
    served_name = serializers.CharField(required=False, max_length=170, help_text="To this model alone.")


class ReplicaStatesSerializer(serializers.Serializer):
    """Replica seconds by what the replica did; the price list says what of it costs money."""

    pull = serializers.IntegerField(default=0, help_text="Pulled its weights.")
    load = serializers.IntegerField(default=0, help_text="Loaded them.")
    frozen = serializers.IntegerField(default=0, help_text="Slept with its memory kept.")
    idle = serializers.IntegerField(default=0, help_text="Could answer, and was not asked.")
    busy = serializers.IntegerField(default=0, help_text="Had a request in flight.")


class UsageRowSerializer(serializers.Serializer):
    """Sums of one group."""

    group = serializers.CharField(allow_blank=True, help_text="An id, a served name, or a day; empty for a total.")
    label = serializers.CharField(  # type: ignore[assignment]
        allow_blank=True, help_text="The group as people know it."
    )
    requests = serializers.IntegerField()
    input_tokens = serializers.IntegerField(help_text="All prompt tokens, the cached ones among them.")
    cached_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    replica_seconds = serializers.IntegerField(help_text="In which a replica could answer: idle or busy.")
    replica_states = ReplicaStatesSerializer()


class UsageSerializer(serializers.Serializer):
    """A month's usage by group."""

    period = serializers.CharField()
    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField(help_text="Not in it any more.")
    grouped_by = serializers.ChoiceField(choices=[(grouping.value, grouping.value) for grouping in Grouping])
    total = UsageRowSerializer()
    data = UsageRowSerializer(many=True)  # type: ignore[assignment]
    next_cursor = serializers.CharField(allow_null=True)


class RequestSerializer(serializers.Serializer[UsageEvent]):
    """One request, however it ended. What was asked and answered is stored nowhere."""

    id = serializers.CharField(source="request_id")
    organization_id = serializers.CharField()
    deployment_id = serializers.CharField()
    revision_id = serializers.CharField()
    replica_id = serializers.CharField(allow_blank=True)
    key_id = serializers.CharField()
    served_name = serializers.CharField()
    path = serializers.CharField()
    is_stream = serializers.BooleanField()
    outcome = serializers.CharField(help_text="`completed`, `client_gone`, `engine_failed`, `gateway_lost`, `refused`.")
    status = serializers.IntegerField(help_text="The HTTP status that the client saw.")
    input_tokens = serializers.IntegerField(help_text="All prompt tokens, the cached ones among them.")
    cached_tokens = serializers.IntegerField()
    output_tokens = serializers.IntegerField()
    source = serializers.CharField(  # type: ignore[assignment]
        help_text="Who counted: `engine`, `engine_running`, `gateway`, `none`."
    )
    is_disputed = serializers.BooleanField(
        help_text="The engine claimed another count than the gateway saw; the lower one is charged."
    )
    started_at = serializers.DateTimeField()
    first_token_at = serializers.DateTimeField(allow_null=True)
    ended_at = serializers.DateTimeField(help_text="Decides the month.")
    held_seconds = serializers.DecimalField(max_digits=12, decimal_places=6, help_text="Waited for a cold start.")


class ChargeSerializer(serializers.Serializer):
    """One meter of a request at the price that was in force."""

    meter = serializers.ChoiceField(choices=Meter.choices)
    quantity = serializers.IntegerField()
    price = PriceSerializer()
    amount = MoneyField(source="amount_pico")


class RatedRequestSerializer(RequestSerializer):
    """A request with what it costs."""

    is_rated = serializers.BooleanField(help_text="False for some seconds, or while there is no price.")
    unpriced_meter = serializers.CharField(allow_blank=True, help_text="The meter without a price, where that is why.")
    charges = ChargeSerializer(many=True)
    amount = MoneyField()


def rated_document(rated: RatedRequest) -> dict[str, object]:
    """The document of one rated request."""
    return {
        **RequestSerializer(rated.event).data,
        "is_rated": rated.is_rated,
        "unpriced_meter": rated.unpriced_meter,
        "charges": ChargeSerializer(rated.lines, many=True).data,
        "amount": money(rated.amount_pico, rated.currency),
    }
