"""Statements and invoices as the API shows them."""

from typing import Any

from rest_framework import serializers

from moorage.api.serializers_money import MoneyField
from moorage.api.serializers_usage import PeriodFields
from moorage.billing import invoices as billing_invoices
from moorage.billing.models import Invoice, InvoiceStatus, Meter
from moorage.billing.queries import StatementView
from moorage.billing.statement import MINIMUM
from moorage.kernel.money import PICO_PER_CENT


class StatementFields(PeriodFields):
    """Which month, in which format."""

    format = serializers.ChoiceField(
        choices=["json", "csv"], required=False, help_text="`csv` is the same as `Accept: text/csv`."
    )


class NamedSerializer(serializers.Serializer):
    """An id and a name, as they were."""

    id = serializers.CharField()
    name = serializers.CharField()


class LinePriceSerializer(serializers.Serializer):
    """The price of a line."""

    id = serializers.CharField()
    price = serializers.CharField(help_text="A decimal number of the currency, for what `per` says.")
    per = serializers.CharField(help_text="`1M tokens` or `replica second`.")
    pico_per_unit = serializers.CharField(help_text="For one token or one second, in 10⁻¹² of the currency.")
    tier = serializers.IntegerField(help_text="Which rate of a graduated price, counted from 0.")
    scope = serializers.CharField(
        allow_blank=True, help_text="What else it is the price of, such as a replica's state and device class."
    )


class StatementLineSerializer(serializers.Serializer):
    """One meter of one model at one price: quantity × price = amount, exactly."""

    id = serializers.CharField()
    deployment = NamedSerializer()
    served_name = serializers.CharField()
    meter = serializers.ChoiceField(choices=[*Meter.choices, (MINIMUM, "Minimum commitment")])
    usage_month = serializers.CharField(help_text="When it was used.")
    is_late = serializers.BooleanField(help_text="Used in an earlier month, found after its closing.")
    late_of = serializers.CharField(
        allow_blank=True, help_text="The statement of the month it was used in; empty where it is not late."
    )
    quantity = serializers.IntegerField()
    sources = serializers.IntegerField(help_text="Requests, or intervals of replica time, in it.")
    price = LinePriceSerializer()
    amount = MoneyField()


class UnpricedSerializer(serializers.Serializer):
    """Usage without a price, in no line and no total."""

    meter = serializers.CharField()
    served_name = serializers.CharField()
    sources = serializers.IntegerField()


class StatementSummarySerializer(serializers.Serializer):
    """A month."""

    period = serializers.CharField()
    period_start = serializers.DateTimeField()
    period_end = serializers.DateTimeField(help_text="Not in it any more.")
    is_frozen = serializers.BooleanField(help_text="A frozen statement never changes; a running one grows.")
    statement_id = serializers.CharField(allow_blank=True, help_text="Empty while it is running.")
    sha256 = serializers.CharField(allow_blank=True, help_text="Of the frozen document; empty while it is running.")
    invoice_id = serializers.CharField(allow_null=True)
    total = MoneyField()
    credit_applied = MoneyField(help_text="What the organization's credit has paid of it.")
    due = MoneyField(help_text="The rest, which is invoiced.")


class StatementSerializer(StatementSummarySerializer):
    """A month of an organization, line by line."""

    organization = NamedSerializer()
    lines = StatementLineSerializer(many=True)
    unpriced = UnpricedSerializer(many=True)


class InvoiceSerializer(serializers.Serializer[Invoice]):
    """What is owed for a frozen statement, in whole cents."""

    id = serializers.CharField()
    number = serializers.SerializerMethodField(help_text="Empty before it is finalized.")
    status = serializers.ChoiceField(choices=InvoiceStatus.choices, help_text="Branch on this.")
    reason = serializers.CharField(allow_blank=True, help_text="Why, for people.")
    period = serializers.SerializerMethodField()
    statement_id = serializers.CharField()
    subtotal = MoneyField(
        source="subtotal_cents", unit_pico=PICO_PER_CENT, help_text="What the statement leaves due, in whole cents."
    )
    tax = MoneyField(source="tax_cents", unit_pico=PICO_PER_CENT)
    total = MoneyField(source="total_cents", unit_pico=PICO_PER_CENT)
    provider = serializers.CharField(help_text="Who collects it.")
    payment_url = serializers.CharField(allow_blank=True, help_text="Where to pay it, if it is paid online.")
    created_at = serializers.DateTimeField()
    finalized_at = serializers.DateTimeField(allow_null=True)
    due_at = serializers.DateTimeField(allow_null=True)
    paid_at = serializers.DateTimeField(allow_null=True)

    def get_number(self, invoice: Invoice) -> str:
        """As it is printed."""
        return billing_invoices.number_text(invoice)

    def get_period(self, invoice: Invoice) -> str:
        """Of its statement."""
        return f"{invoice.statement.period_start:%Y-%m}"


def summary_document(view: StatementView) -> dict[str, Any]:
    """What StatementSummarySerializer shows."""
    statement = view.statement
    return {
        "period": str(statement.period),
        "period_start": statement.period.start,
        "period_end": statement.period.end,
        "is_frozen": view.is_frozen,
        "statement_id": view.statement_id,
        "sha256": view.sha256,
        "invoice_id": view.invoice.id if view.invoice and view.invoice.status != InvoiceStatus.DRAFT else None,
        "currency": statement.currency,
        "total": statement.total_pico,
        "credit_applied": statement.credit_applied_pico,
        "due": statement.due_pico,
    }


def statement_document(view: StatementView) -> dict[str, Any]:
    """What StatementSerializer shows."""
    statement = view.statement
    return {
        **summary_document(view),
        "organization": {"id": statement.organization_id, "name": statement.organization_name},
        "lines": [
            {
                "id": line.id,
                "deployment": {"id": line.deployment_id, "name": line.deployment_name},
                "served_name": line.served_name,
                "meter": line.meter,
                "usage_month": line.usage_month,
                "is_late": line.usage_month != str(statement.period),
                "late_of": line.late_of,
                "quantity": line.quantity,
                "sources": line.sources,
                "price": {
                    "id": line.price_id,
                    "price": line.price_text,
                    "per": line.price_unit,
                    "pico_per_unit": str(line.pico_per_unit),
                    "tier": line.tier,
                    "scope": line.scope,
                },
                "amount": line.amount_pico,
                "currency": statement.currency,
            }
            for line in statement.lines
        ],
        "unpriced": [
            {"meter": one.meter, "served_name": one.served_name, "sources": one.sources} for one in statement.unpriced
        ],
    }
