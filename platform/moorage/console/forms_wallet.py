"""Forms of the wallet: buying credit, alerts and automatic top-ups; for an administrator, how an organization pays."""

import decimal
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from moorage.billing.models import BillingMode, Wallet
from moorage.billing.wallet_settings import MOST_PICO, Preferences
from moorage.console.forms_money import MoneyForm
from moorage.kernel.money import PICO_PER_CENT, Money, amount_text

_MOST: Final = Money(MOST_PICO).to_decimal()


def _money(
    label: Any, help_text: Any, *, decimals: int = 2, required: bool = False, **options: Any
) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        required=required,
        min_value=decimal.Decimal(0),
        max_value=_MOST,
        max_digits=24,
        decimal_places=decimals,
        help_text=help_text,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        **options,
    )


class TopUpForm(MoneyForm):
    """Credit to buy."""

    amount = _money(_("Amount in {currency}"), "", required=True, initial="25.00")

    def cents(self) -> int:
        """What was asked for; only of a valid form."""
        return _cents(self.cleaned_data["amount"])


class AlertForm(MoneyForm):
    """When the owners are told, and whether the wallet tops up by itself."""

    alert_below = _money(_("Mail the owners when less is left than"), _("{currency}. Empty: never."), decimals=12)
    is_automatic = forms.BooleanField(label=_("Top up by itself from the saved payment method"), required=False)
    below = _money(_("Top up when less is left than"), _("{currency}."), decimals=12)
    top_up = _money(_("Each top-up"), _("{currency}, 1 to 10,000."))
    monthly_most = _money(_("No more in a month than"), _("{currency} in a calendar month, UTC."))

    def preferences(self) -> Preferences:
        """What was asked for; only of a valid form."""
        found = self.cleaned_data
        alert = found["alert_below"]
        return Preferences(
            alert_below_pico=None if alert is None else Money.from_decimal(alert).pico,
            is_automatic=found["is_automatic"],
            below_pico=Money.from_decimal(found["below"] or decimal.Decimal(0)).pico,
            top_up_cents=_cents(found["top_up"]),
            monthly_most_cents=_cents(found["monthly_most"]),
        )


class ModeForm(MoneyForm):
    """How an organization pays."""

    mode = forms.ChoiceField(
        label=_("Mode"),
        choices=[
            (BillingMode.PREPAID.value, _("Prepaid: served while there is credit")),
            (BillingMode.POSTPAID.value, _("Postpaid: billed by the month")),
        ],
    )
    credit_limit = _money(
        _("Credit limit"), _("{currency}, for postpaid. Empty: no end to what may be owed."), decimals=12
    )
    reason = forms.CharField(
        label=_("Reason"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}), help_text=_("Kept for good.")
    )

    def limit_pico(self) -> int | None:
        """What was asked for; only of a valid form."""
        limit = self.cleaned_data["credit_limit"]
        return None if limit is None else Money.from_decimal(limit).pico


def shown(wallet: Wallet) -> dict[str, object]:
    """The settings of ``wallet`` as the form's first values."""

    def text(pico: int | None) -> str:
        return amount_text(pico) if pico else ""

    return {
        "alert_below": text(wallet.alert_below_pico),
        "is_automatic": wallet.is_automatic,
        "below": text(wallet.below_pico),
        "top_up": text(wallet.top_up_cents * PICO_PER_CENT),
        "monthly_most": text(wallet.monthly_most_cents * PICO_PER_CENT),
    }


def shown_mode(wallet: Wallet) -> dict[str, object]:
    """How ``wallet`` pays as the form's first values."""
    limit = wallet.credit_limit_pico
    return {"mode": wallet.mode, "credit_limit": "" if limit is None else amount_text(limit)}


def _cents(amount: decimal.Decimal | None) -> int:
    return 0 if amount is None else Money.from_decimal(amount).pico // PICO_PER_CENT
