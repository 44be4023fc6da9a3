"""What an administrator reads and sends."""

from rest_framework import serializers

from moorage.api.fields import Fields
from moorage.api.paging import PageFields
from moorage.api.serializers_keys import OrganizationSerializer
from moorage.api.serializers_money import MoneyField
from moorage.api.serializers_statements import InvoiceSerializer
from moorage.api.serializers_usage import PeriodFields
from moorage.billing.models import InvoiceStatus
from moorage.billing.review import OrganizationMonth
from moorage.fleet.models import Node


class OrganizationsFields(PageFields, PeriodFields):
    """Which month."""


class InvoicesFields(PageFields, PeriodFields):
    """Which invoices."""

    period = serializers.CharField(required=False, max_length=7, help_text="`YYYY-MM`; all of them if left out.")
    status = serializers.ChoiceField(choices=InvoiceStatus.choices, required=False, help_text="In this status alone.")


class ApproveFields(Fields):
    """Why, if there is something to say."""

    reason = serializers.CharField(default="", allow_blank=True, max_length=2000)


class ReasonFields(Fields):
    """Why."""

    reason = serializers.CharField(max_length=2000, help_text="Kept with the invoice and in the audit log.")


class PaidFields(ReasonFields):
    """Where the payment can be seen, and when it came."""

    received_at = serializers.DateTimeField(default=None, allow_null=True, help_text="Null: now.")


class OrganizationMonthSerializer(serializers.Serializer[OrganizationMonth]):
    """One organization in one month."""

    organization = OrganizationSerializer()
    requests = serializers.IntegerField(source="usage.requests")
    input_tokens = serializers.IntegerField(source="usage.input_tokens")
    cached_tokens = serializers.IntegerField(source="usage.cached_tokens")
    output_tokens = serializers.IntegerField(source="usage.output_tokens")
    replica_seconds = serializers.IntegerField(source="usage.replica_seconds")
    amount = MoneyField(
        source="amount_pico", currency="organization.currency", help_text="What is charged in the month."
    )
    unpriced = serializers.IntegerField(help_text="Measured facts without a price, in no amount.")
    invoice_id = serializers.SerializerMethodField()
    invoice_status = serializers.SerializerMethodField()
    held_reason = serializers.CharField(allow_blank=True, help_text="Why the month is not closed although it is due.")

    def get_invoice_id(self, month: OrganizationMonth) -> str | None:
        """Of the month's invoice."""
        return month.invoice.id if month.invoice else None

    def get_invoice_status(self, month: OrganizationMonth) -> str | None:
        """Of the month's invoice."""
        return month.invoice.status if month.invoice else None


class OrganizationInvoiceSerializer(InvoiceSerializer):
    """An invoice with whose it is."""

    organization = OrganizationSerializer()
    reviewed_by = serializers.CharField(allow_blank=True)


class NodeSerializer(serializers.Serializer[Node]):
    """A machine of the fleet and what is reserved on it."""

    id = serializers.CharField()
    name = serializers.CharField()
    runtime = serializers.CharField()
    memory_bytes = serializers.IntegerField()
    used_memory_bytes = serializers.IntegerField()
    cpu_millis = serializers.IntegerField()
    used_cpu_millis = serializers.IntegerField()
    replica_count = serializers.IntegerField()
    is_drained = serializers.BooleanField()
    seen_at = serializers.DateTimeField()
