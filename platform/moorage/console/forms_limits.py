"""The form of limits: of the organization, a key, a deployment. What they may be is decided by accounts.limits."""

import decimal
from collections.abc import Mapping
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from moorage.accounts.limits import MOST, MOST_MONEY
from moorage.accounts.models import Priority
from moorage.console.forms_money import MoneyForm
from moorage.kernel.money import Money, amount_text
from moorage.wire.limits import NAMES, Limits, Measure

_MONEY_HELP: Final = _("{currency}, such as 12.50. Empty: no limit.")


def _count(label: Any) -> forms.IntegerField:
    return forms.IntegerField(label=label, required=False, min_value=0, max_value=MOST, help_text=_("Empty: no limit."))


def _money(label: Any) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        required=False,
        min_value=decimal.Decimal(0),
        max_value=Money(MOST_MONEY).to_decimal(),
        max_digits=24,
        decimal_places=12,
        help_text=_MONEY_HELP,
        widget=forms.TextInput(attrs={"inputmode": "decimal"}),
    )


class LimitForm(MoneyForm):
    """All limits of something; what is left empty is not limited."""

    money_per_month = _money(_("Budget a calendar month"))
    money_per_day = _money(_("Budget a day"))
    tokens_per_month = _count(_("Tokens a calendar month"))
    tokens_per_day = _count(_("Tokens a day"))
    tokens_per_minute = _count(_("Tokens a minute"))
    requests_per_minute = _count(_("Requests a minute"))
    concurrent_requests = _count(_("Requests at the same time"))

    def limits(self) -> Limits:
        """What was asked for; only of a valid form."""
        found: dict[str, int] = {}
        for name, (measure, _window) in NAMES.items():
            amount = self.cleaned_data[name]
            if amount is not None:
                found[name] = Money.from_decimal(amount).pico if measure is Measure.MONEY else amount
        return Limits(**found)


class KeyLimitForm(LimitForm):
    """The same of a key, where it may be used from, and its share of the turns."""

    networks = forms.CharField(
        label=_("Networks"),
        required=False,
        max_length=4000,
        help_text=_("One a line, such as 192.0.2.0/24. Calls from elsewhere are refused. Empty: from anywhere."),
        widget=forms.Textarea(attrs={"rows": 3, "spellcheck": "false"}),
    )

    priority = forms.ChoiceField(
        label=_("Priority"),
        choices=Priority.choices,
        required=False,
        help_text=_("Its share of the turns among your keys while requests wait for a busy model."),
    )

    def network_list(self) -> list[str]:
        """What was asked for; only of a valid form."""
        return [line.strip() for line in self.cleaned_data["networks"].splitlines() if line.strip()]


def shown(limits: Limits) -> Mapping[str, object]:
    """``limits`` as the form's first values."""
    return {
        name: amount_text(amount) if measure is Measure.MONEY else amount
        for name, (measure, _window) in NAMES.items()
        if (amount := getattr(limits, name)) is not None
    }
