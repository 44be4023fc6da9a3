"""Refunds of credit and stuck usage pushes, as an administrator reads and decides them."""

import decimal
from typing import Final

from rest_framework import serializers

from moorage.api.paging import PageFields
from moorage.api.serializers_administrator import ReasonFields
from moorage.api.serializers_keys import OrganizationSerializer
from moorage.api.serializers_money import MoneyField
from moorage.billing.invoice_refunds import BookedAs
from moorage.billing.meter_export import PICO_PER_MICRO
from moorage.billing.models import PushStatus, Refund, RefundStatus, UsagePush
from moorage.kernel.money import PICO_PER_CENT

_STUCK: Final = [(str(one), one.label) for one in (PushStatus.UNCERTAIN, PushStatus.REJECTED)]


class RefundFields(ReasonFields):
    """How much is paid back, and why."""

    amount = serializers.DecimalField(
        min_value=decimal.Decimal("0.01"),
        max_digits=14,
        decimal_places=2,
        help_text="At most so much of what the organization pays in, in whole cents, such as `12.50`.",
    )
    key = serializers.CharField(max_length=80, help_text="Yours, for this refund: a repeated call pays back once.")


class BookRefundFields(ReasonFields):
    """What the refund was."""

    booked_as = serializers.ChoiceField(
        choices=[str(one) for one in BookedAs],
        help_text="`credit_note`: the charge is taken back, with its tax. `loss`: the bill stands.",
    )


class RefundSerializer(serializers.Serializer[Refund]):
    """Credit of one top-up that is paid back."""

    id = serializers.CharField()
    top_up_id = serializers.CharField()
    status = serializers.ChoiceField(choices=RefundStatus.choices, help_text="Failed: the credit is there again.")
    amount = MoneyField(source="cents", unit_pico=PICO_PER_CENT)
    reason = serializers.CharField()
    created_by = serializers.CharField()
    created_at = serializers.DateTimeField()


class RefundsSerializer(serializers.Serializer):
    """All that one request pays back."""

    amount = MoneyField(unit_pico=PICO_PER_CENT, help_text="Together; less than was asked for where less is unused.")
    refunds = RefundSerializer(many=True)


class PushesFields(PageFields):
    """Which pushes."""

    state = serializers.ChoiceField(choices=_STUCK, required=False, help_text="Both if left out.")


class ResolveFields(ReasonFields):
    """What the provider's sums say."""

    is_received = serializers.BooleanField(help_text="Whether the push is in the sums of the provider's meter.")


class UsagePushSerializer(serializers.Serializer[UsagePush]):
    """Usage of one organization that may not be with the provider's meter."""

    id = serializers.CharField()
    identifier = serializers.CharField(help_text="What the provider knows it by.")
    organization = OrganizationSerializer()
    state = serializers.ChoiceField(choices=_STUCK, source="status")
    amount = MoneyField(source="value_micro", unit_pico=PICO_PER_MICRO, currency="organization.currency")
    window_start = serializers.DateTimeField()
    window_end = serializers.DateTimeField()
    attempts = serializers.IntegerField()
    first_sent_at = serializers.DateTimeField(allow_null=True)
    last_error = serializers.CharField(allow_blank=True)
