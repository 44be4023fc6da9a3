"""Amounts and prices as the API writes them: never a JSON number, which would pass through floats."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.fields import get_attribute

from moorage.billing import prices, tiers
from moorage.billing.models import Meter, Price
from moorage.billing.tiers import Tier
from moorage.kernel import currencies
from moorage.kernel.money import amount_text


def money(pico: int, currency: str) -> dict[str, str]:
    """Whole pico-units, and the same as an exact decimal."""
    return {"pico": str(pico), "amount": amount_text(pico), "currency": currency}


@extend_schema_field(
    {
        "type": "object",
        "description": "An exact amount: 10¹² pico are one unit of the currency.",
        "properties": {
            "pico": {"type": "string", "pattern": "^-?[0-9]+$"},
            "amount": {"type": "string", "description": "The same as a decimal, every digit that is there."},
            "currency": {"type": "string"},
        },
        "required": ["pico", "amount", "currency"],
    },
    component_name="Money",
)
class MoneyField(serializers.Field):
    """An integer amount, in pico-units, or in units of ``unit_pico`` such as cents, in the currency that ``currency``
    leads to from the same instance, such as ``organization.currency``. There is none to fall back on."""

    def __init__(self, *, unit_pico: int = 1, currency: str = "currency", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._unit_pico = unit_pico
        self._currency = currency.split(".")

    def get_attribute(self, instance: Any) -> tuple[Any, str] | None:
        """The amount with its currency; None for none."""
        found = super().get_attribute(instance)
        return None if found is None else (found, str(get_attribute(instance, self._currency)))

    def to_representation(self, value: tuple[Any, str]) -> dict[str, str]:
        """See money()."""
        amount, currency = value
        return money(int(amount) * self._unit_pico, currency)


class CurrencyField(serializers.CharField):
    """An ISO 4217 code that organizations may pay in."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{"max_length": 8, "help_text": "ISO 4217, such as `EUR`.", **kwargs})

    def to_internal_value(self, data: Any) -> str:
        """In capitals, or a sentence why not."""
        if self.allow_blank and data == "":
            return ""
        try:
            return currencies.parse(super().to_internal_value(data))
        except currencies.CurrencyRefused as refused:
            raise serializers.ValidationError(refused.message) from refused


class TierSerializer(serializers.Serializer[Tier]):
    """A step of a graduated price."""

    begins = serializers.IntegerField(help_text="From this quantity of an organization's calendar month on.")
    price = serializers.CharField(help_text="A decimal number of the currency, for what `per` of the price says.")
    pico_per_unit = serializers.CharField(help_text="The same for one unit, in 10⁻¹² of the currency.")


class PriceSerializer(serializers.Serializer[Price]):
    """A price: immutable, in force from a moment on."""

    id = serializers.CharField()
    meter = serializers.ChoiceField(choices=Meter.choices)
    model = serializers.CharField(help_text="A served name, or a pattern with `*`; the most specific wins.")
    organization = serializers.SerializerMethodField(
        help_text="The short name of the organization whose negotiated price it is; null: everybody's."
    )
    state = serializers.CharField(
        allow_blank=True, help_text="Of replica seconds: in which state; empty: idle and busy."
    )
    device_class = serializers.CharField(allow_blank=True, help_text="Of replica seconds: on which; empty: any.")
    price = serializers.SerializerMethodField(
        help_text="A decimal number of the currency, for what `per` says; of a graduated price the highest."
    )
    per = serializers.SerializerMethodField(help_text="`1M tokens`, `request` or `replica second`.")
    currency = serializers.CharField()
    pico_per_unit = serializers.CharField(help_text="For one unit, in 10⁻¹² of the currency.")
    tiers = serializers.SerializerMethodField(help_text="The steps of a graduated price; empty: one price for all.")
    valid_from = serializers.DateTimeField()
    valid_to = serializers.DateTimeField(
        allow_null=True, help_text="When it ceases to be in force, as far as that is known."
    )
    cost_id = serializers.CharField(allow_null=True, help_text="The cost that it was made of.")
    margin_basis_points = serializers.IntegerField(allow_null=True, help_text="Hundredths of a percent over it.")
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    note = serializers.CharField(allow_blank=True)

    def get_organization(self, price: Price) -> str | None:
        """Whose it is."""
        return price.organization.slug if price.organization else None

    def get_price(self, price: Price) -> str:
        """As people write it."""
        return prices.text(price.meter, price.pico_per_unit)

    def get_per(self, price: Price) -> str:
        """What it is the price of."""
        return prices.unit(price.meter)

    @extend_schema_field(TierSerializer(many=True))
    def get_tiers(self, price: Price) -> list[dict[str, Any]]:
        """The steps."""
        return [
            {
                "begins": tier.begins,
                "price": prices.text(price.meter, tier.pico),
                "pico_per_unit": str(tier.pico),
            }
            for tier in tiers.of_json(price.tiers)
        ]
