"""What went wrong with the payment provider, as an administrator reads it."""

from rest_framework import serializers

from moorage.api.serializers_keys import OrganizationSerializer
from moorage.api.serializers_money import MoneyField
from moorage.billing import credit_notes
from moorage.billing.models import CreditNote, OutboxMessage, Refund, WebhookEvent
from moorage.kernel.money import PICO_PER_CENT


class MessageSerializer(serializers.Serializer[OutboxMessage]):
    """What the payment provider refused for good."""

    id = serializers.CharField()
    topic = serializers.CharField()
    subject_id = serializers.CharField()
    attempts = serializers.IntegerField()
    last_error = serializers.CharField(allow_blank=True)
    created_at = serializers.DateTimeField()
    parked_at = serializers.DateTimeField(allow_null=True)


class EventSerializer(serializers.Serializer[WebhookEvent]):
    """An event of the payment provider that could not be applied."""

    id = serializers.CharField()
    provider = serializers.CharField()
    kind = serializers.CharField()
    object_id = serializers.CharField(allow_blank=True)
    attempts = serializers.IntegerField()
    last_error = serializers.CharField(allow_blank=True)
    received_at = serializers.DateTimeField()
    next_attempt_at = serializers.DateTimeField()


class UncoveredRefundSerializer(serializers.Serializer[Refund]):
    """A refund that somebody made at the provider, with the part that no credit was left for."""

    id = serializers.CharField()
    organization = OrganizationSerializer()
    top_up_id = serializers.CharField()
    reference = serializers.CharField(help_text="What the provider knows it by.")
    amount = MoneyField(source="cents", unit_pico=PICO_PER_CENT)
    uncovered = MoneyField(source="uncovered_cents", unit_pico=PICO_PER_CENT, help_text="Used, and paid back.")
    created_at = serializers.DateTimeField()


class PayoutSerializer(serializers.Serializer[CreditNote]):
    """A credit note whose money goes back by bank transfer."""

    id = serializers.CharField()
    number = serializers.SerializerMethodField()
    organization = OrganizationSerializer()
    invoice_id = serializers.CharField()
    amount = MoneyField(source="refund_cents", unit_pico=PICO_PER_CENT)
    issued_at = serializers.DateTimeField()
    reason = serializers.CharField()

    def get_number(self, note: CreditNote) -> str:
        """As it is printed."""
        return credit_notes.number_text(note)
