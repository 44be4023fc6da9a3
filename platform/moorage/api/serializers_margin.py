"""A month's margin as the API shows it: each currency for itself."""

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from moorage.api.serializers_money import CurrencyField, MoneyField, money
from moorage.api.serializers_review import FormatFields
from moorage.api.serializers_usage import PeriodFields
from moorage.billing.margin import Row


class MarginFields(PeriodFields, FormatFields):
    """Which month, and in what."""

    currency = CurrencyField(required=False, help_text="Left out: what new organizations pay in.")


class MarginRowSerializer(serializers.Serializer):
    """One line; names that it does not tell apart are empty."""

    organization_id = serializers.CharField(allow_blank=True)
    served_name = serializers.CharField(allow_blank=True)
    device_class = serializers.CharField(allow_blank=True)
    seconds = serializers.IntegerField(help_text="Replica seconds; of idle devices device seconds.")
    revenue = MoneyField(source="revenue_pico")
    cost = serializers.SerializerMethodField(
        help_text="Null where the devices' cost is declared in other currencies alone; `cost_unknown` says so."
    )
    margin = serializers.SerializerMethodField(help_text="Null where the cost is.")
    cost_unknown = serializers.SerializerMethodField(help_text="Why the cost is not known, as a sentence; or empty.")

    @extend_schema_field(MoneyField(allow_null=True))
    def get_cost(self, row: Row) -> dict[str, str] | None:
        """What its devices cost."""
        return money(row.cost_pico, row.currency) if row.is_cost_known else None

    @extend_schema_field(MoneyField(allow_null=True))
    def get_margin(self, row: Row) -> dict[str, str] | None:
        """What is left."""
        return money(row.margin_pico, row.currency) if row.is_cost_known else None

    def get_cost_unknown(self, row: Row) -> str:
        """The reason."""
        return "" if row.is_cost_known else f"Its devices have no cost in {row.currency}, only in another currency."


class MarginSerializer(serializers.Serializer):
    """A month's revenue, cost of devices and margin. Each table and the idle lines together come to the total."""

    period = serializers.CharField()
    currency = serializers.CharField()
    currencies = serializers.ListField(child=serializers.CharField(), help_text="Those that have a margin.")
    total = MarginRowSerializer()
    by_organization = MarginRowSerializer(many=True)
    by_model = MarginRowSerializer(many=True)
    by_device_class = MarginRowSerializer(many=True)
    rows = MarginRowSerializer(many=True, help_text="Every combination.")
    idle = MarginRowSerializer(many=True, help_text="Devices on which nothing ran: charged to nobody.")
