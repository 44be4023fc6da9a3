"""The wallet as the API shows and reads it: money is exact, settings are decimal strings of what the
organization pays in."""

import decimal
from collections.abc import Mapping
from typing import Any, Final

from rest_framework import serializers

from moorage.api.fields import Fields
from moorage.api.serializers_money import MoneyField, money
from moorage.billing.models import BillingMode, GrantKind, LedgerEntry, TopUp
from moorage.billing.wallet_queries import View
from moorage.billing.wallet_settings import MOST_PICO, Preferences
from moorage.kernel.money import PICO_PER_CENT, Money, amount_text

_TWELVE: Final = 12


def _amount(text: str, *, decimals: int, **options: Any) -> serializers.DecimalField:
    return serializers.DecimalField(
        min_value=decimal.Decimal(0),
        max_value=Money(MOST_PICO).to_decimal(),
        max_digits=24,
        decimal_places=decimals,
        help_text=f"{text} A decimal string of what the organization pays in, such as `12.50`.",
        **options,
    )


class GrantSerializer(serializers.Serializer):
    """Credit with something left."""

    id = serializers.CharField()
    kind = serializers.ChoiceField(choices=GrantKind.choices)
    amount = MoneyField(source="amount_pico", currency="organization.currency", help_text="What was granted.")
    remaining = MoneyField(source="remaining_pico", currency="organization.currency", help_text="What is left of it.")
    priority = serializers.IntegerField(help_text="The lowest is used first.")
    expires_at = serializers.DateTimeField(allow_null=True, help_text="Null: never.")
    created_at = serializers.DateTimeField()


class AutomaticSerializer(serializers.Serializer):
    """Topping up by itself."""

    is_on = serializers.BooleanField()
    below = serializers.CharField(help_text="Topped up when less can be spent.")
    top_up = serializers.CharField(help_text="How much each time.")
    monthly_most = serializers.CharField(help_text="No more in a calendar month, UTC.")
    saved_method = serializers.CharField(allow_blank=True, help_text="What is charged; empty: nothing is saved.")


class WalletSerializer(serializers.Serializer):
    """How an organization pays, and how its money stands."""

    mode = serializers.ChoiceField(choices=BillingMode.choices, help_text="Set by an administrator.")
    currency = serializers.CharField(help_text="What the organization pays in: of every amount here.")
    credit_limit = MoneyField(allow_null=True, help_text="Postpaid: how far beyond its credit. Null: no end.")
    balance = MoneyField(help_text="Credit that is left.")
    owed = MoneyField(help_text="Usage charged and not paid.")
    spendable = MoneyField(allow_null=True, help_text="What the gateways may still spend. Null: no end.")
    grants = GrantSerializer(many=True, help_text="With something left, in the order in which they are used.")
    alert_below = serializers.CharField(allow_null=True, help_text="Owners are mailed when less is left.")
    automatic = AutomaticSerializer()


class WalletFields(Fields):
    """What the owners decide; what is left out is off."""

    alert_below = _amount(
        "Mail the owners when less is left. Null: never.", decimals=_TWELVE, default=None, allow_null=True
    )
    is_automatic = serializers.BooleanField(default=False, help_text="Top up by itself from the saved method.")
    below = _amount("Top up when less can be spent.", decimals=_TWELVE, default=decimal.Decimal(0))
    top_up = _amount("How much each time, 1 to 10,000 in whole cents.", decimals=2, default=decimal.Decimal(0))
    monthly_most = _amount("No more in a calendar month, whole cents.", decimals=2, default=decimal.Decimal(0))


class TopUpFields(Fields):
    """Credit to buy."""

    amount = _amount("1 to 10,000 in whole cents.", decimals=2)


class StartedTopUpSerializer(serializers.Serializer[TopUp]):
    """A top-up that waits to be paid."""

    id = serializers.CharField()
    amount = MoneyField(source="cents", unit_pico=PICO_PER_CENT)
    checkout_url = serializers.CharField(help_text="Where a person pays it.")


class MovementSerializer(serializers.Serializer[LedgerEntry]):
    """One movement of credit, as the ledger has it."""

    id = serializers.IntegerField()
    transaction_id = serializers.CharField()
    kind = serializers.CharField(
        source="transaction.kind", help_text="`credit_granted`, `credit_used`, `credit_expired`, `credit_revoked`."
    )
    amount = serializers.SerializerMethodField(help_text="Above zero where credit was added.")
    at = serializers.DateTimeField(source="transaction.effective_at")
    grant_id = serializers.CharField(source="transaction.grant.id", default=None, allow_null=True)

    def get_amount(self, entry: LedgerEntry) -> dict[str, str]:
        """As the customer sees it: the ledger's credit is an addition."""
        return money(-entry.amount_pico, entry.account.currency)


class ModeFields(Fields):
    """How an organization pays from now on."""

    mode = serializers.ChoiceField(choices=BillingMode.choices, help_text="`prepaid`: served while there is credit.")
    credit_limit = _amount(
        "Postpaid: how far beyond its credit. Null: no end.", decimals=_TWELVE, default=None, allow_null=True
    )
    reason = serializers.CharField(max_length=2000, help_text="Kept in the audit log.")


def pico_of(amount: decimal.Decimal | None) -> int | None:
    """Pico-units of the organization's currency."""
    return None if amount is None else Money.from_decimal(amount).pico


def preferences_from(fields: Mapping[str, Any]) -> Preferences:
    """What validated ``fields`` of WalletFields say."""
    return Preferences(
        alert_below_pico=pico_of(fields["alert_below"]),
        is_automatic=fields["is_automatic"],
        below_pico=Money.from_decimal(fields["below"]).pico,
        top_up_cents=cents_of(fields["top_up"]),
        monthly_most_cents=cents_of(fields["monthly_most"]),
    )


def cents_of(amount: decimal.Decimal) -> int:
    """Whole cents; the field allows no more digits."""
    return Money.from_decimal(amount).pico // PICO_PER_CENT


def wallet_document(view: View) -> dict[str, Any]:
    """``view`` as WalletSerializer says."""
    wallet, currency = view.wallet, view.currency

    def text(pico: int | None) -> str | None:
        return None if pico is None else amount_text(pico)

    return {
        "mode": wallet.mode,
        "currency": currency,
        "credit_limit": None if wallet.credit_limit_pico is None else money(wallet.credit_limit_pico, currency),
        "balance": money(view.credit_pico, currency),
        "owed": money(view.owed_pico, currency),
        "spendable": None if view.left_pico is None else money(view.left_pico, currency),
        "grants": GrantSerializer(view.grants, many=True).data,
        "alert_below": text(wallet.alert_below_pico),
        "automatic": {
            "is_on": wallet.is_automatic,
            "below": text(wallet.below_pico),
            "top_up": text(wallet.top_up_cents * PICO_PER_CENT),
            "monthly_most": text(wallet.monthly_most_cents * PICO_PER_CENT),
            "saved_method": view.saved_method,
        },
    }
