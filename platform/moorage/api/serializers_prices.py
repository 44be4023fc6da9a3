"""Prices, costs, minimums and dry runs, as an administrator reads and sends them."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from moorage.api.fields import Fields
from moorage.api.serializers_keys import OrganizationSerializer
from moorage.api.serializers_money import CurrencyField, MoneyField, PriceSerializer
from moorage.billing import prices
from moorage.billing.dry_run import Difference, DryRun, Total
from moorage.billing.models import Meter, MinimumCommitment, ReplicaState, UnitCost
from moorage.billing.price_list import PriceEntry
from moorage.kernel.clock import Period

_MOST_TEXT = 1_000_000


class NewTierFields(Fields):
    """A step of a graduated price."""

    begins = serializers.IntegerField(min_value=0, help_text="From this quantity of a calendar month on; first 0.")
    price = serializers.CharField(max_length=40, help_text="A decimal number, as `price`.")


class NewPriceFields(Fields):
    """A price that begins at a moment: `price`, or `tiers`, or `cost_id` with `margin_basis_points`."""

    meter = serializers.ChoiceField(choices=Meter.choices, default=None, help_text="Needed unless a cost says it.")
    model = serializers.CharField(
        max_length=170, default="*", help_text="A served name, or a pattern with `*`. With a cost: the cost's."
    )
    price = serializers.CharField(
        max_length=40,
        default="",
        help_text="A decimal number per 1M tokens, per request or per replica second. A string, not a number.",
    )
    currency = CurrencyField(
        default="",
        allow_blank=True,
        help_text="Empty: what the organization pays in; of everybody's price, what new organizations do.",
    )
    tiers = NewTierFields(many=True, default=list, help_text="By the quantity of an organization's calendar month.")
    organization = serializers.CharField(
        max_length=60, default="", allow_blank=True, help_text="The short name of whom it is for alone; empty: all."
    )
    state = serializers.ChoiceField(
        choices=ReplicaState.choices,
        default="",
        allow_blank=True,
        help_text="Of replica seconds; empty: idle and busy.",
    )
    device_class = serializers.CharField(
        max_length=80, default="", allow_blank=True, help_text="Of replica seconds: a name or pattern; empty: any."
    )
    cost_id = serializers.CharField(max_length=40, default="", help_text="Makes the price of a cost, with a margin.")
    margin_basis_points = serializers.IntegerField(
        default=None, allow_null=True, help_text="Hundredths of a percent over the cost: 2500 is 25 %."
    )
    valid_from = serializers.DateTimeField(
        default=None, allow_null=True, help_text="Null: now. Not before rated usage."
    )
    valid_to = serializers.DateTimeField(
        default=None, allow_null=True, help_text="Null: until the next price of the same scope."
    )
    note = serializers.CharField(default="", allow_blank=True, max_length=200)


class EndPriceFields(Fields):
    """When a price ends."""

    at = serializers.DateTimeField(default=None, allow_null=True, help_text="Null: now. Not before rated usage.")
    note = serializers.CharField(default="", allow_blank=True, max_length=200)


class NewCostFields(Fields):
    """What a unit costs us from a moment on."""

    meter = serializers.ChoiceField(choices=Meter.choices)
    model = serializers.CharField(max_length=170, default="*", help_text="A served name, or a pattern with `*`.")
    device_class = serializers.CharField(max_length=80, default="", allow_blank=True, help_text="Empty: any.")
    cost = serializers.CharField(max_length=40, help_text="A decimal number, as a price is written.")
    currency = CurrencyField(default="", allow_blank=True, help_text="Empty: what new organizations pay in.")
    valid_from = serializers.DateTimeField(default=None, allow_null=True, help_text="Null: now.")
    note = serializers.CharField(default="", allow_blank=True, max_length=200)


class NewMinimumFields(Fields):
    """The least that an organization pays a month."""

    organization = serializers.CharField(max_length=60, help_text="Its short name.")
    amount = serializers.CharField(max_length=40, help_text="A decimal number of what it pays in; 0 ends it.")
    period = serializers.CharField(max_length=7, help_text="`YYYY-MM`: the first month that it holds for.")
    note = serializers.CharField(default="", allow_blank=True, max_length=200)


class DryRunFields(Fields):
    """A candidate, and the month to try it on."""

    period = serializers.CharField(max_length=7, help_text="`YYYY-MM`.")
    rows = serializers.CharField(
        max_length=_MOST_TEXT,
        trim_whitespace=False,
        help_text="CSV with a head, or a JSON list, as a text: `meter`, `price` or `tiers`, and where wanted `model`, "
        "`organization`, `state`, `device_class`, `currency`, `valid_from`, `valid_to`.",
    )
    is_whole = serializers.BooleanField(
        default=False, help_text="The candidate is the whole list; else it is laid over the present one."
    )


class PriceEntrySerializer(serializers.Serializer[PriceEntry]):
    """The prices of one scope over time."""

    meter = serializers.ChoiceField(choices=Meter.choices)
    model = serializers.CharField()
    organization = serializers.SerializerMethodField(help_text="Whose negotiated prices they are; null: everybody's.")
    state = serializers.CharField(allow_blank=True)
    device_class = serializers.CharField(allow_blank=True)
    currency = serializers.CharField()
    in_force = PriceSerializer(allow_null=True, help_text="Null where the only prices begin later, or have ended.")
    upcoming = PriceSerializer(many=True, help_text="The next first.")
    history = PriceSerializer(many=True, help_text="The last first.")

    def get_organization(self, entry: PriceEntry) -> str | None:
        """The short name."""
        return entry.organization.slug if entry.organization else None


class CostSerializer(serializers.Serializer[UnitCost]):
    """What a unit costs us from a moment on."""

    id = serializers.CharField()
    meter = serializers.ChoiceField(choices=Meter.choices)
    model = serializers.CharField()
    device_class = serializers.CharField(allow_blank=True)
    cost = serializers.SerializerMethodField(help_text="A decimal number of the currency, for what `per` says.")
    per = serializers.SerializerMethodField()
    currency = serializers.CharField()
    pico_per_unit = serializers.CharField()
    valid_from = serializers.DateTimeField()
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    note = serializers.CharField(allow_blank=True)

    def get_cost(self, cost: UnitCost) -> str:
        """As people write it."""
        return prices.text(cost.meter, cost.pico_per_unit)

    def get_per(self, cost: UnitCost) -> str:
        """What it is the cost of."""
        return prices.unit(cost.meter)


class MinimumSerializer(serializers.Serializer[MinimumCommitment]):
    """From a month on, an organization pays at least so much a month."""

    id = serializers.CharField()
    organization = OrganizationSerializer()
    amount = MoneyField(source="pico", currency="organization.currency")
    period = serializers.SerializerMethodField(help_text="The first month that it holds for.")
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField()
    note = serializers.CharField(allow_blank=True)

    def get_period(self, minimum: MinimumCommitment) -> str:
        """``2026-11``."""
        return str(Period.containing(minimum.period_start))


class UnpricedPairSerializer(serializers.Serializer):
    """What has no price in the candidate."""

    meter = serializers.CharField()
    served_name = serializers.CharField()


class DifferenceSerializer(serializers.Serializer[Difference]):
    """One organization's month, as it was rated and by the candidate."""

    organization = OrganizationSerializer()
    rated = MoneyField(source="rated_pico")
    candidate = MoneyField(source="candidate_pico")
    difference = MoneyField(source="difference_pico", help_text="Negative: the candidate is cheaper.")
    waiting = serializers.IntegerField(help_text="Measured facts that are not rated yet: in the candidate alone.")
    unpriced = serializers.SerializerMethodField(help_text="Without a price in the candidate, in no amount.")

    @extend_schema_field(UnpricedPairSerializer(many=True))
    def get_unpriced(self, difference: Difference) -> list[dict[str, Any]]:
        """By meter and served name."""
        return [{"meter": meter, "served_name": name} for meter, name in difference.unpriced]


class DryRunTotalSerializer(serializers.Serializer[Total]):
    """All who pay in one currency."""

    rated = MoneyField(source="rated_pico")
    candidate = MoneyField(source="candidate_pico")
    difference = MoneyField(source="difference_pico")


class DryRunSerializer(serializers.Serializer[DryRun]):
    """A month re-rated with a candidate: nothing of it was written."""

    period = serializers.CharField()
    totals = DryRunTotalSerializer(many=True, help_text="By currency: nothing is converted or added across.")
    organizations = serializers.SerializerMethodField(help_text="The greatest difference first.")

    @extend_schema_field(DifferenceSerializer(many=True))
    def get_organizations(self, found: DryRun) -> list[dict[str, Any]]:
        """By organization."""
        return [dict(DifferenceSerializer(one).data) for one in found.differences]
