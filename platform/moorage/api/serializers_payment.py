"""Ways to pay as the API shows them."""

from rest_framework import serializers

from moorage.api.fields import Fields
from moorage.api.serializers_money import MoneyField
from moorage.billing.models import TopUpKind, TopUpStatus
from moorage.billing.payments import Capability
from moorage.kernel.money import PICO_PER_CENT


class SavedMethodSerializer(serializers.Serializer):
    """A payment method that the provider keeps; the number is nowhere here."""

    brand = serializers.CharField()
    last4 = serializers.CharField()
    expires = serializers.CharField(allow_blank=True, help_text="`YYYY-MM`; empty for what does not expire.")


class PaymentSerializer(serializers.Serializer):
    """How an organization can pay, and does."""

    provider = serializers.CharField(help_text="`stripe`, or `transfer` for bank transfer.")
    capabilities = serializers.ListField(
        child=serializers.ChoiceField(choices=[str(one) for one in Capability]),
        help_text="What the provider can do; what is not here is refused with `not_offered`.",
    )
    method = SavedMethodSerializer(allow_null=True, help_text="Null: nothing is saved.")
    is_charged_automatically = serializers.BooleanField(help_text="Invoices are taken from the saved method.")
    bank_details = serializers.CharField(allow_blank=True, help_text="Where a bank transfer goes.")


class PaymentFields(Fields):
    """What the owners decide."""

    is_charged_automatically = serializers.BooleanField(help_text="Take invoices from the saved method.")


class PageSerializer(serializers.Serializer):
    """A page for a person."""

    url = serializers.CharField(help_text="A person opens it; it is good for a while.")


class TopUpSerializer(serializers.Serializer):
    """Credit that was asked for."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=TopUpKind.choices)
    status = serializers.ChoiceField(choices=TopUpStatus.choices, help_text="Branch on this.")
    reason = serializers.CharField(allow_blank=True, help_text="Why it was not paid, for people.")
    amount = MoneyField(source="cents", unit_pico=PICO_PER_CENT)
    payment_url = serializers.CharField(allow_blank=True, help_text="Where a person pays it, while it waits.")
    transfer_reference = serializers.SerializerMethodField(
        help_text="What to write on a bank transfer; empty for other ways to pay."
    )
    is_disputed = serializers.SerializerMethodField(help_text="Somebody's bank takes the payment back.")
    created_at = serializers.DateTimeField()
    paid_at = serializers.DateTimeField(allow_null=True)

    def get_transfer_reference(self, top_up: object) -> str:
        """Of a transfer."""
        is_transfer = getattr(top_up, "provider", "") == "transfer"
        return str(getattr(top_up, "checkout_reference", "")) if is_transfer else ""

    def get_is_disputed(self, top_up: object) -> bool:
        """Whether it is flagged."""
        return getattr(top_up, "disputed_at", None) is not None
