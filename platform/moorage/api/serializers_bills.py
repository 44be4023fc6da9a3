"""An invoice in full, credit notes and billing details as the API shows them."""

from rest_framework import serializers

from moorage.api.fields import Fields
from moorage.api.serializers_money import MoneyField
from moorage.api.serializers_statements import InvoiceSerializer
from moorage.billing import credit_notes, invoices
from moorage.billing.models import BillingDetails, CreditNote
from moorage.kernel.money import PICO_PER_CENT


class BillLineSerializer(serializers.Serializer):
    """A line as it is printed: exactly, and its share of the whole cents."""

    position = serializers.IntegerField()
    description = serializers.CharField()
    exactly = MoneyField(source="amount_pico")
    amount = MoneyField(source="amount_cents", unit_pico=PICO_PER_CENT)


class TaxLineSerializer(serializers.Serializer):
    """A tax as it is printed."""

    name = serializers.CharField()
    basis_points = serializers.IntegerField(help_text="Hundredths of a percent.")
    amount = MoneyField(source="amount_cents", unit_pico=PICO_PER_CENT)


class InvoiceDetailSerializer(InvoiceSerializer):
    """An invoice with its lines."""

    owed = MoneyField(source="owed_cents", unit_pico=PICO_PER_CENT, help_text="What is still to be paid of it.")
    statement_sha256 = serializers.CharField(source="statement.sha256")
    lines = BillLineSerializer(source="ordered_lines", many=True)
    tax_lines = TaxLineSerializer(source="ordered_tax", many=True)
    credit_note_ids = serializers.ListField(child=serializers.CharField())


class CreditNoteSerializer(serializers.Serializer[CreditNote]):
    """What is taken back of an invoice. Amounts are those credited."""

    id = serializers.CharField()
    number = serializers.SerializerMethodField(help_text="As it is printed.")
    invoice_id = serializers.CharField()
    invoice_number = serializers.SerializerMethodField()
    subtotal = MoneyField(source="subtotal_cents", unit_pico=PICO_PER_CENT)
    tax = MoneyField(source="tax_cents", unit_pico=PICO_PER_CENT)
    total = MoneyField(source="total_cents", unit_pico=PICO_PER_CENT)
    owed = MoneyField(
        source="owed_cents", unit_pico=PICO_PER_CENT, help_text="What it took off what was still to be paid."
    )
    refund = MoneyField(
        source="refund_cents", unit_pico=PICO_PER_CENT, help_text="What was paid already and is given back."
    )
    is_to_wallet = serializers.BooleanField(help_text="Whether the refund became credit in the wallet.")
    reason = serializers.CharField()
    issued_at = serializers.DateTimeField()
    lines = BillLineSerializer(source="ordered_lines", many=True)
    tax_lines = TaxLineSerializer(source="ordered_tax", many=True)

    def get_number(self, note: CreditNote) -> str:
        """``C-000042``."""
        return credit_notes.number_text(note)

    def get_invoice_number(self, note: CreditNote) -> str:
        """``M-000042``."""
        return invoices.number_text(note.invoice)


class BillingDetailsSerializer(serializers.Serializer[BillingDetails]):
    """What stands on the next invoices."""

    legal_name = serializers.CharField(allow_blank=True)
    address = serializers.CharField(allow_blank=True, help_text="Lines.")
    country = serializers.CharField(allow_blank=True, help_text="Two letters.")
    tax_id = serializers.CharField(allow_blank=True)
    email = serializers.CharField(allow_blank=True)


class BillingDetailsFields(Fields):
    """Billing details, all of them: what is left out is emptied."""

    legal_name = serializers.CharField(allow_blank=True, default="", max_length=160)
    address = serializers.CharField(allow_blank=True, default="", max_length=700, help_text="At most six lines.")
    country = serializers.CharField(allow_blank=True, default="", max_length=2, help_text="Two letters, such as DE.")
    tax_id = serializers.CharField(allow_blank=True, default="", max_length=40)
    email = serializers.CharField(
        allow_blank=True, default="", max_length=254, help_text="Where invoices go; empty: to the first owner."
    )
