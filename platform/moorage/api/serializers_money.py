"""Amounts and prices as the API writes them: never a JSON number, which would pass through floats."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from moorage.billing import prices, tiers
from moorage.billing.models import Meter, Price
from moorage.billing.tiers import Tier
from moorage.kernel.money import Money


def money(pico: int, currency: str = prices.CURRENCY) -> dict[str, str]:
    """Whole pico-units, and the same as an exact decimal."""
    return {"pico": str(pico), "amount": str(Money(pico)).partition(" ")[0], "currency": currency}


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
    """An integer amount, in pico-units, or in units of ``unit_pico`` such as cents."""

    def __init__(self, *, unit_pico: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._unit_pico = unit_pico

    def to_representation(self, value: Any) -> dict[str, str]:
        """See money()."""
        return money(int(value) * self._unit_pico)


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
