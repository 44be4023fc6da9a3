"""What is taken back from an invoice: a numbered note of its own, since the invoice never changes."""

from typing import Self

from django.db import models

from moorage.accounts.models import Organization
from moorage.billing.models.bill import Invoice
from moorage.billing.pico_field import PicoField
from moorage.kernel import clock, ids


def new_credit_note_id() -> str:
    """An id for a credit note."""
    return ids.new("cn")


class CreditNoteQuerySet(models.QuerySet["CreditNote"]):
    """Questions about credit notes."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class CreditNote(models.Model):
    """What an organization need not pay after all of one invoice, or gets back. Amounts are those credited, above zero.

    All of its rows are append-only but for where the payment provider keeps it.
    """

    id = models.CharField(primary_key=True, max_length=40, default=new_credit_note_id, editable=False)
    number = models.PositiveIntegerField(unique=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="credit_notes")
    invoice = models.ForeignKey(Invoice, on_delete=models.PROTECT, related_name="credit_notes")
    currency = models.CharField(max_length=3)
    subtotal_cents = models.BigIntegerField()
    tax_cents = models.BigIntegerField()
    total_cents = models.BigIntegerField()
    #: The part of the statement's due amount that it takes back, exactly; notes of a whole mirror come to all of it.
    exact_pico = PicoField()
    #: How much of the total was still owed, and how much was paid and is to be given back.
    owed_cents = models.BigIntegerField()
    refund_cents = models.BigIntegerField()
    #: Whether what was paid became credit of the organization, instead of going back to where it came from.
    is_to_wallet = models.BooleanField(default=False)
    reason = models.TextField()
    issued_by = models.CharField(max_length=80)
    issued_at = models.DateTimeField(default=clock.now)
    provider_reference = models.CharField(max_length=120, blank=True, default="")

    objects = CreditNoteQuerySet.as_manager()

    class Meta:
        db_table = "credit_note"
        indexes = [models.Index(fields=["organization", "-issued_at"], name="credit_note_by_organization")]
        constraints = [
            models.CheckConstraint(condition=models.Q(total_cents__gt=0), name="credit_note_credits_something"),
            models.CheckConstraint(
                condition=models.Q(total_cents=models.F("subtotal_cents") + models.F("tax_cents"))
                & models.Q(total_cents=models.F("owed_cents") + models.F("refund_cents")),
                name="credit_note_adds_up",
            ),
        ]


class CreditNoteLine(models.Model):
    """What is credited of one line of the invoice, with the line's own sign."""

    id = models.BigAutoField(primary_key=True)
    credit_note = models.ForeignKey(CreditNote, on_delete=models.PROTECT, related_name="lines")
    #: That of the invoice's line.
    position = models.PositiveIntegerField()
    description = models.CharField(max_length=300)
    amount_pico = PicoField()
    amount_cents = models.BigIntegerField()

    class Meta:
        db_table = "credit_note_line"
        constraints = [models.UniqueConstraint(fields=["credit_note", "position"], name="credit_note_line_once")]


class CreditNoteTaxLine(models.Model):
    """The tax that goes back with it, for one tax line of the invoice."""

    id = models.BigAutoField(primary_key=True)
    credit_note = models.ForeignKey(CreditNote, on_delete=models.PROTECT, related_name="tax_lines")
    position = models.PositiveIntegerField()
    name = models.CharField(max_length=80)
    basis_points = models.PositiveIntegerField()
    amount_cents = models.BigIntegerField()

    class Meta:
        db_table = "credit_note_tax_line"
        constraints = [models.UniqueConstraint(fields=["credit_note", "position"], name="credit_note_tax_line_once")]
