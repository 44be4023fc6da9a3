"""Amounts and prices as the API writes them: never a JSON number, which would pass through floats."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from moorage.billing import prices
from moorage.billing.models import Meter, Price
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


class PriceSerializer(serializers.Serializer[Price]):
    """A price: immutable, in force from a moment on."""

    id = serializers.CharField()
    meter = serializers.ChoiceField(choices=Meter.choices)
    model = serializers.CharField(help_text="A served name, or a pattern with `*`; the most specific wins.")
    price = serializers.SerializerMethodField(help_text="A decimal number of the currency, for what `per` says.")
    per = serializers.SerializerMethodField(help_text="`1M tokens` or `replica second`.")
    currency = serializers.CharField()
    pico_per_unit = serializers.CharField(help_text="For one token or one second, in 10⁻¹² of the currency.")
    valid_from = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    note = serializers.CharField(allow_blank=True)

    def get_price(self, price: Price) -> str:
        """As people write it."""
        return prices.text(price.meter, price.pico_per_unit)

    def get_per(self, price: Price) -> str:
        """What it is the price of."""
        return prices.unit(price.meter)
