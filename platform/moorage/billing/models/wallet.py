"""What an organization may spend: its mode, and its prepaid credit as grants that are drawn on.

The ledger is the truth. What a wallet and a grant say is left are projections of it (``wallets.prove``): a trigger on
ledger_entry keeps a wallet's, wallets.py a grant's.
"""

from typing import Self

from django.db import models

from moorage.accounts.models import Organization
from moorage.billing.models.books import LedgerTransaction
from moorage.billing.pico_field import PicoField
from moorage.kernel import clock, ids


def new_grant_id() -> str:
    """An id for a grant of credit."""
    return ids.new("gra")


class BillingMode(models.TextChoices):
    """Whether usage is paid before it happens or after."""

    PREPAID = "prepaid", "Prepaid"
    POSTPAID = "postpaid", "Postpaid"


class GrantKind(models.TextChoices):
    """Where credit comes from."""

    PAID = "paid", "Paid"
    PROMOTIONAL = "promotional", "Promotional"


class Wallet(models.Model):
    """How an organization pays, and how its money stands. A trigger makes one with each organization.

    The amounts are kept from the moment it is opened: when there is first credit, or something to hold to.
    """

    organization = models.OneToOneField(Organization, on_delete=models.CASCADE, primary_key=True, related_name="wallet")
    mode = models.CharField(
        max_length=16, choices=BillingMode, default=BillingMode.POSTPAID, db_default=BillingMode.POSTPAID
    )
    #: How far a postpaid organization may go beyond its credit; None: as far as it likes.
    credit_limit_pico = PicoField(null=True, blank=True)
    opened_at = models.DateTimeField(null=True)
    #: Credit that is left (the account customer_wallet), what is owed and unpaid (customer_receivable), and all usage
    #: that was ever charged (revenue_usage). A trigger on ledger_entry keeps them.
    credit_pico = PicoField(default=0, db_default=0)
    owed_pico = PicoField(default=0, db_default=0)
    settled_pico = PicoField(default=0, db_default=0)
    #: When there began to be an end to what may be spent: the gateways counted nothing before.
    limited_at = models.DateTimeField(null=True)
    #: A moment whose usage is compared with what the gateways had said by then: see wallet_allowance.py.
    cut_at = models.DateTimeField(null=True)
    cut_used_pico = PicoField(null=True)
    cut_boots = models.JSONField(null=True)
    compared_used_pico = PicoField(null=True)
    compared_settled_pico = PicoField(null=True)
    #: Since when nothing is left to spend: serving.py.
    empty_since = models.DateTimeField(null=True)
    #: Tell the owners when less than this is left; None: never. ``alerted_at`` is set while less is left.
    alert_below_pico = PicoField(null=True, blank=True)
    alerted_at = models.DateTimeField(null=True)
    #: Top up by itself when less than ``below_pico`` is left.
    is_automatic = models.BooleanField(default=False, db_default=False)
    below_pico = PicoField(default=0, db_default=0)
    top_up_cents = models.BigIntegerField(default=0, db_default=0)
    monthly_most_cents = models.BigIntegerField(default=0, db_default=0)

    class Meta:
        db_table = "wallet"
        constraints = [
            models.CheckConstraint(condition=models.Q(credit_pico__gte=0), name="wallet_is_not_overdrawn"),
            models.CheckConstraint(
                condition=models.Q(credit_limit_pico__isnull=True)
                | models.Q(mode=BillingMode.POSTPAID, credit_limit_pico__gte=0),
                name="wallet_limit_is_postpaid",
            ),
            models.CheckConstraint(
                condition=models.Q(is_automatic=False)
                | models.Q(top_up_cents__gt=0, below_pico__gte=0, monthly_most_cents__gte=models.F("top_up_cents")),
                name="wallet_top_up_is_sane",
            ),
        ]

    @property
    def is_limited(self) -> bool:
        """Whether there is an end to what may be spent."""
        return self.mode == BillingMode.PREPAID or self.credit_limit_pico is not None

    @property
    def spendable_pico(self) -> int:
        """What may be spent beyond all usage that is charged. Below zero where more is owed than the limit allows.

        A prepaid organization spends what it has; a debt of earlier days is paid from it first, as far as no request
        holds it (settlement.py).
        """
        if self.mode == BillingMode.PREPAID:
            return self.credit_pico
        assert self.credit_limit_pico is not None, "there is no end to it"
        return self.credit_pico + self.credit_limit_pico - self.owed_pico


class GrantQuerySet(models.QuerySet["Grant"]):
    """Questions about grants."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class Grant(models.Model):
    """Credit that was paid for or given. Only ``remaining_pico`` ever changes, with a draw beside it."""

    id = models.CharField(primary_key=True, max_length=40, default=new_grant_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="grants")
    kind = models.CharField(max_length=16, choices=GrantKind)
    amount_pico = PicoField()
    remaining_pico = PicoField()
    #: The lowest is used first.
    priority = models.PositiveSmallIntegerField(default=50)
    expires_at = models.DateTimeField(null=True)
    #: The caller's idempotency key: a payment, a decision.
    source = models.CharField(max_length=180, unique=True)
    transaction = models.OneToOneField(LedgerTransaction, on_delete=models.PROTECT, related_name="grant")
    created_at = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=80)

    objects = GrantQuerySet.as_manager()

    class Meta:
        db_table = "credit_grant"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(remaining_pico__gte=0, remaining_pico__lte=models.F("amount_pico")),
                name="credit_grant_is_not_overdrawn",
            ),
        ]
        indexes = [
            models.Index(
                fields=["organization"], condition=models.Q(remaining_pico__gt=0), name="credit_grant_with_something"
            ),
            models.Index(
                fields=["expires_at"], condition=models.Q(remaining_pico__gt=0), name="credit_grant_by_expiry"
            ),
        ]


class GrantDraw(models.Model):
    """What one ledger transaction took from one grant. Append-only."""

    id = models.BigAutoField(primary_key=True)
    grant = models.ForeignKey(Grant, on_delete=models.PROTECT, related_name="draws")
    transaction = models.ForeignKey(LedgerTransaction, on_delete=models.PROTECT, related_name="draws")
    pico = PicoField()

    class Meta:
        db_table = "credit_draw"
        constraints = [
            models.CheckConstraint(condition=models.Q(pico__gt=0), name="credit_draw_takes_something"),
            models.UniqueConstraint(fields=["transaction", "grant"], name="credit_draw_once"),
        ]


class TakingKind(models.TextChoices):
    """Why credit was taken."""

    CAPTURE = "capture", "Used"
    INVOICE = "invoice", "Invoice paid"
    REVOKE = "revoke", "Taken back"


class Taking(models.Model):
    """One demand on a wallet's credit and what it got, so that a repeated demand gets nothing more. Append-only."""

    idempotency_key = models.CharField(primary_key=True, max_length=220)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="takings")
    kind = models.CharField(max_length=16, choices=TakingKind)
    asked_pico = PicoField()
    taken_pico = PicoField()
    #: The month whose usage it paid.
    period_start = models.DateTimeField(null=True)
    at = models.DateTimeField(default=clock.now)

    class Meta:
        db_table = "credit_taking"
        constraints = [
            models.CheckConstraint(
                condition=models.Q(taken_pico__gte=0, taken_pico__lte=models.F("asked_pico")),
                name="credit_taking_is_not_more_than_asked",
            ),
        ]
        indexes = [
            models.Index(
                fields=["organization", "period_start"],
                include=["taken_pico"],
                condition=models.Q(kind="capture"),
                name="credit_taking_by_period",
            ),
        ]
