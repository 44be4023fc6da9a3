"""Forms of the administrator's review: reasons, amounts, filters. What is allowed is decided by the rooms."""

from decimal import Decimal
from typing import Final

from django import forms
from django.utils.translation import gettext_lazy as _

from moorage.console.forms_money import MoneyForm
from moorage.kernel.money import PICO_PER_CENT

_CENT: Final = Decimal("0.01")
_AMOUNT: Final = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})


class ReasonForm(MoneyForm):
    """Why an administrator does something."""

    reason = forms.CharField(
        label=_("Reason"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}), help_text=_("Kept for good.")
    )


class AdjustForm(ReasonForm):
    """How much of an invoice is taken back."""

    amount = forms.DecimalField(
        label=_("Amount before tax, in {currency}"),
        max_digits=14,
        decimal_places=2,
        min_value=_CENT,
        required=False,
        widget=_AMOUNT,
        help_text=_("Such as 12.50. Empty: all that is left of the invoice."),
    )
    is_to_wallet = forms.BooleanField(
        label=_("What was paid already becomes credit instead of a refund"), required=False
    )
    field_order = ["amount", "is_to_wallet", "reason"]

    def cents(self) -> int | None:
        """The amount, None for all of it."""
        amount: Decimal | None = self.cleaned_data["amount"]
        return None if amount is None else int(amount * 100)


class RefundForm(ReasonForm):
    """Credit that is paid back."""

    amount = forms.DecimalField(
        label=_("Amount in {currency}, at most"),
        max_digits=14,
        decimal_places=2,
        min_value=_CENT,
        widget=_AMOUNT,
        help_text=_("Such as 12.50. Where less is unused, less is paid back."),
    )
    #: Made with the page: a form that is sent twice pays once.
    key = forms.CharField(max_length=80, widget=forms.HiddenInput)
    field_order = ["amount", "reason", "key"]

    def cents(self) -> int:
        """The amount."""
        return int(self.cleaned_data["amount"] * 100)


class CreditForm(ReasonForm):
    """Credit that we give."""

    amount = forms.DecimalField(
        label=_("Amount in {currency}"), max_digits=14, decimal_places=2, min_value=_CENT, widget=_AMOUNT
    )
    expires_at = forms.DateTimeField(
        label=_("Expires (UTC)"),
        required=False,
        help_text=_("Empty: never."),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    #: Made with the page: a form that is sent twice gives once.
    key = forms.CharField(max_length=80, widget=forms.HiddenInput)
    field_order = ["amount", "expires_at", "reason", "key"]

    def pico(self) -> int:
        """The amount."""
        return int(self.cleaned_data["amount"] * 100) * PICO_PER_CENT


class AuditForm(forms.Form):
    """What to look for in the audit log."""

    organization = forms.CharField(label=_("Organization"), max_length=40, required=False)
    actor = forms.CharField(label=_("Who"), max_length=80, required=False)
    action = forms.CharField(label=_("Action"), max_length=80, required=False)
    subject = forms.CharField(label=_("About (an id)"), max_length=120, required=False)
    since = forms.DateField(label=_("From"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
    until = forms.DateField(label=_("Until"), required=False, widget=forms.DateInput(attrs={"type": "date"}))
