"""Limits as the API reads and shows them: counts are numbers, money is a decimal string of what the organization
pays in."""

import decimal
from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers

from moorage.accounts.limits import MOST, MOST_MONEY, MOST_NETWORKS, Use
from moorage.accounts.models import Priority
from moorage.api.fields import Fields
from moorage.kernel import window
from moorage.kernel.money import Money
from moorage.wire.limits import NAMES, Limits, Measure

_TWELVE: Final = 12


def _count(text: str) -> serializers.IntegerField:
    return serializers.IntegerField(
        default=None, allow_null=True, min_value=0, max_value=MOST, help_text=f"{text} Null: no limit."
    )


def _money(text: str) -> serializers.DecimalField:
    return serializers.DecimalField(
        default=None,
        allow_null=True,
        min_value=decimal.Decimal(0),
        max_value=Money(MOST_MONEY).to_decimal(),
        max_digits=24,
        decimal_places=_TWELVE,
        help_text=f"{text} A decimal string of what the organization pays in, such as `12.50`. Null: no limit.",
    )


class LimitFields(Fields):
    """All limits of a subject; what is left out is not limited. They hold whatever a token costs."""

    requests_per_minute = _count("Requests in a minute of the clock.")
    tokens_per_minute = _count("Input and output tokens of requests that begin in a minute of the clock.")
    concurrent_requests = _count("Requests that are answered at the same time.")
    tokens_per_day = _count("Tokens in a day, UTC.")
    tokens_per_month = _count("Tokens in a calendar month, UTC.")
    money_per_day = _money("What requests may cost in a day, UTC.")
    money_per_month = _money("What requests may cost in a calendar month, UTC.")


class NetworkFields(Fields):
    """Where a key may be used from."""

    networks = serializers.ListField(
        child=serializers.CharField(max_length=50),
        default=list,
        max_length=MOST_NETWORKS,
        help_text="CIDR networks or addresses that the key may be used from at the gateway; empty: anywhere.",
    )


class KeyLimitFields(LimitFields, NetworkFields):
    """All limits of a key, where it may be used from, and its share of the turns."""

    priority = serializers.ChoiceField(
        choices=Priority.choices,
        default=None,
        allow_null=True,
        help_text="Its share of the turns among your keys while requests wait for a busy model. Null: as it is.",
    )


class LimitsSerializer(serializers.Serializer):
    """Limits that are set; null where there is none."""

    requests_per_minute = serializers.IntegerField(allow_null=True)
    tokens_per_minute = serializers.IntegerField(allow_null=True)
    concurrent_requests = serializers.IntegerField(allow_null=True)
    tokens_per_day = serializers.IntegerField(allow_null=True)
    tokens_per_month = serializers.IntegerField(allow_null=True)
    money_per_day = serializers.CharField(allow_null=True, help_text="In what the organization pays in.")
    money_per_month = serializers.CharField(allow_null=True, help_text="In what the organization pays in.")


class UseSerializer(serializers.Serializer):
    """How one limit stands in the window that is running."""

    name = serializers.ChoiceField(choices=[(name, name) for name in NAMES])
    limit = serializers.CharField(help_text="A number, or an amount of what the organization pays in.")
    used = serializers.CharField()
    set_aside = serializers.CharField(
        help_text="Taken by requests being answered, or kept at hand by a gateway; what is not used comes back."
    )
    remaining = serializers.CharField(help_text="What is neither used nor set aside.")
    resets_at = serializers.CharField(allow_null=True, help_text="When the window ends. Null: it has no end.")


class LimitsAndUseSerializer(serializers.Serializer):
    """Limits and how they stand."""

    limits = LimitsSerializer()
    uses = UseSerializer(many=True)


class KeyLimitsAndUseSerializer(LimitsAndUseSerializer):
    """The same of a key."""

    networks = serializers.ListField(child=serializers.CharField())
    priority = serializers.ChoiceField(choices=Priority.choices)


def limits_from(fields: Mapping[str, Any]) -> Limits:
    """The limits among validated ``fields``."""
    found: dict[str, int] = {}
    for name, (measure, _) in NAMES.items():
        amount = fields.get(name)
        if amount is not None:
            found[name] = Money.from_decimal(amount).pico if measure is Measure.MONEY else int(amount)
    return Limits(**found)


def limits_document(limits: Limits) -> dict[str, int | str | None]:
    """``limits`` as LimitsSerializer says."""
    return {name: _shown(name, getattr(limits, name)) for name in NAMES}


def use_document(use: Use) -> dict[str, str | None]:
    """``use`` as UseSerializer says."""
    amounts = {"limit": use.limit, "used": use.used, "set_aside": use.leased, "remaining": use.remaining}
    return {
        "name": use.name,
        **{key: str(_shown(use.name, amount)) for key, amount in amounts.items()},
        "resets_at": None if use.resets_at is None else window.text(use.resets_at),
    }


def _shown(name: str, amount: int | None) -> int | str | None:
    if amount is None or NAMES[name][0] is not Measure.MONEY:
        return amount
    return str(Money(amount)).partition(" ")[0]
