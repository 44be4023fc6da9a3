"""The ledger: accounts, transactions and their signed entries. Triggers make them append-only and balanced."""

from django.db import models

from moorage.accounts.models import Organization
from moorage.billing.pico_field import PicoField
from moorage.kernel import clock, ids


def new_transaction_id() -> str:
    """An id for a ledger transaction."""
    return ids.new("txn")


class OrganizationCurrency(models.Model):
    """The one currency of an organization, fixed by a trigger when its first account is made."""

    organization = models.OneToOneField(
        Organization, on_delete=models.PROTECT, primary_key=True, related_name="book_currency"
    )
    currency = models.CharField(max_length=3)

    class Meta:
        db_table = "organization_currency"
        constraints = [
            models.UniqueConstraint(fields=["organization", "currency"], name="organization_currency_is_referred_to"),
        ]


class LedgerAccount(models.Model):
    """Where value is: one row an organization and kind (receivable, revenue, clearing, …)."""

    id = models.BigAutoField(primary_key=True)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, null=True, related_name="ledger_accounts")
    kind = models.CharField(max_length=40)
    currency = models.CharField(max_length=3)

    class Meta:
        db_table = "ledger_account"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "kind", "currency"], name="ledger_account_once", nulls_distinct=False
            ),
        ]


class LedgerTransaction(models.Model):
    """A balanced set of entries. ``idempotency_key`` makes a repeated post a no-op."""

    id = models.CharField(primary_key=True, max_length=40, default=new_transaction_id, editable=False)
    kind = models.CharField(max_length=40)
    idempotency_key = models.CharField(max_length=200, unique=True)
    reverses = models.OneToOneField("self", on_delete=models.PROTECT, null=True, related_name="reversed_by")
    effective_at = models.DateTimeField()
    created_at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "ledger_transaction"


class LedgerEntry(models.Model):
    """One signed line of a transaction; positive is debit."""

    id = models.BigAutoField(primary_key=True)
    transaction = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="entries")
    account = models.ForeignKey(LedgerAccount, on_delete=models.PROTECT, related_name="entries")
    amount_pico = PicoField()

    class Meta:
        db_table = "ledger_entry"
        constraints = [
            models.CheckConstraint(condition=~models.Q(amount_pico=0), name="ledger_entry_moves_something"),
        ]
