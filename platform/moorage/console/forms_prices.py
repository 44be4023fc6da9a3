"""Forms of the administrator's price pages. What is allowed is decided by billing."""

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _

from moorage.accounts.models import Organization
from moorage.billing import candidates, prices
from moorage.billing.errors import InvalidPrice
from moorage.billing.models import Meter, ReplicaState, UnitCost
from moorage.billing.tiers import Tier
from moorage.kernel import currencies

#: The one meter that people also price by the hour.
_BY_THE_HOUR: Final = "replica_seconds/hour"
_UNITS: Final = (
    (Meter.INPUT_TOKENS.value, _("Input tokens, per 1M tokens")),
    (Meter.CACHED_INPUT_TOKENS.value, _("Cached input tokens, per 1M tokens")),
    (Meter.OUTPUT_TOKENS.value, _("Output tokens, per 1M tokens")),
    (Meter.REQUESTS.value, _("Requests that used a token, per request")),
    (_BY_THE_HOUR, _("Replica time, per replica hour")),
    (Meter.REPLICA_SECONDS.value, _("Replica time, per replica second")),
)
_WHOLE: Final = "whole"
_STATES: Final = (("", _("idle and busy")), *ReplicaState.choices)


def _moment(label: Any, help_text: Any) -> forms.DateTimeField:
    return forms.DateTimeField(
        label=label,
        required=False,
        help_text=help_text,
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )


def _decimal(label: Any, help_text: Any, *, required: bool = True) -> forms.CharField:
    return forms.CharField(
        label=label,
        max_length=30,
        required=required,
        help_text=help_text,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )


def _currency(help_text: Any) -> forms.ChoiceField:
    """Empty: what the organization pays in, else what new organizations do."""
    return forms.ChoiceField(label=_("Currency"), required=False, help_text=help_text)


def _offer_currencies(form: forms.Form) -> None:
    field = form.fields.get("currency")
    if isinstance(field, forms.ChoiceField):
        default = settings.MOORAGE_CURRENCY
        field.choices = [("", f"{_('as usual')} ({default})"), *((one, one) for one in currencies.CENTS)]


class _OrganizationForm(forms.Form):
    """A form with a choice of organizations, or everybody."""

    def __init__(self, *args: Any, organizations: Iterable[Organization], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer_currencies(self)
        field = self.fields["organization"]
        assert isinstance(field, forms.ChoiceField)
        listed = [
            (organization.slug, f"{organization.name} ({organization.currency})") for organization in organizations
        ]
        field.choices = listed if field.required else [("", _("everybody")), *listed]


class PriceForm(_OrganizationForm):
    """A new price from a moment on."""

    meter = forms.ChoiceField(label=_("What is priced"), choices=_UNITS)
    model = forms.CharField(
        label=_("Model"),
        max_length=170,
        initial="*",
        help_text=_("A served name such as demo/llm, or a pattern such as demo/* or *. The most specific one wins."),
    )
    organization = forms.ChoiceField(
        label=_("For"), required=False, help_text=_("A negotiated price counts before everybody's.")
    )
    currency = _currency(_("Of a negotiated price it is what the organization pays in."))
    price = _decimal(
        _("Price"),
        _("A decimal number such as 0.25. It is kept exactly; what cannot be kept exactly is refused."),
        required=False,
    )
    tiers = forms.CharField(
        label=_("Or by quantity"),
        required=False,
        max_length=1000,
        help_text=_(
            "Instead of one price, a line each: from which quantity of the month on, and the price, such as 0: 0 for a"
            " free allowance and 1000000: 0.25 after it."
        ),
        widget=forms.Textarea(attrs={"rows": 3}),
    )
    state = forms.ChoiceField(
        label=_("Replica state"), choices=_STATES, required=False, help_text=_("Of replica time alone.")
    )
    device_class = forms.CharField(
        label=_("Device class"),
        max_length=80,
        required=False,
        help_text=_("Of replica time alone: a name or a pattern such as h200*. Empty: any."),
    )
    valid_from = _moment(_("Valid from (UTC)"), _("Empty: from now on."))
    valid_to = _moment(_("Valid to (UTC)"), _("Empty: until the next price of the same."))
    note = forms.CharField(label=_("Note"), max_length=200, required=False, help_text=_("Why, for the history."))

    def meter_and_rates(self) -> tuple[Meter, int, tuple[Tier, ...]]:
        """What is priced, and at how many pico-units of one unit, or by which tiers. Raises InvalidPrice."""
        unit, text, steps = (self.cleaned_data[name] for name in ("meter", "price", "tiers"))
        if bool(text) == bool(steps):
            raise InvalidPrice("Give either one price or prices by quantity.", param="price")
        if unit == _BY_THE_HOUR:
            if steps:
                raise InvalidPrice("Prices by quantity are written for a replica second.", param="tiers")
            return Meter.REPLICA_SECONDS, prices.parse_hour(text), ()
        if steps:
            return Meter(unit), 0, candidates.parse_tiers(unit, steps)
        return Meter(unit), prices.parse(unit, text), ()


class EndPriceForm(forms.Form):
    """When a price ends."""

    at = _moment(_("Ends at (UTC)"), _("Empty: now."))
    note = forms.CharField(label=_("Note"), max_length=200, required=False, help_text=_("Why, for the history."))


class CostForm(forms.Form):
    """What a unit costs us from a moment on."""

    meter = forms.ChoiceField(label=_("What costs"), choices=[unit for unit in _UNITS if unit[0] != _BY_THE_HOUR])
    model = forms.CharField(label=_("Model"), max_length=170, initial="*", help_text=_("A served name or a pattern."))
    device_class = forms.CharField(
        label=_("Device class"), max_length=80, required=False, help_text=_("Of replica time alone. Empty: any.")
    )
    cost = _decimal(_("Cost"), _("A decimal number such as 0.0005."))
    currency = _currency(_("Margins are shown to whoever pays in it."))
    valid_from = _moment(_("Valid from (UTC)"), _("Empty: from now on."))
    note = forms.CharField(label=_("Note"), max_length=200, required=False, help_text=_("Why, for the history."))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        _offer_currencies(self)


class MarginForm(_OrganizationForm):
    """A price made of a cost."""

    cost_id = forms.ChoiceField(label=_("Cost"))
    margin_basis_points = forms.IntegerField(
        label=_("Margin in basis points"),
        help_text=_("Hundredths of a percent over the cost: 2500 is 25 %. A price that is not exact is refused."),
    )
    organization = forms.ChoiceField(label=_("For"), required=False)
    valid_from = _moment(_("Valid from (UTC)"), _("Empty: from now on."))
    note = forms.CharField(label=_("Note"), max_length=200, required=False, help_text=_("Why, for the history."))

    def __init__(self, *args: Any, costs: Iterable[UnitCost], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["cost_id"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(cost.pk, _cost_words(cost)) for cost in costs]


class MinimumForm(_OrganizationForm):
    """The least that an organization pays a month."""

    organization = forms.ChoiceField(label=_("Organization"))
    amount = _decimal(
        _("At least, a month"), _("A decimal number of what it pays in, such as 500.00; 0 ends the commitment.")
    )
    period = forms.CharField(label=_("From the month"), max_length=7, help_text=_("Written YYYY-MM."))
    note = forms.CharField(label=_("Note"), max_length=200, required=False, help_text=_("Why, for the history."))


class DryRunForm(forms.Form):
    """A candidate price list and the month to try it on."""

    period = forms.CharField(label=_("Month"), max_length=7, help_text=_("Written YYYY-MM."))
    laid = forms.ChoiceField(
        label=_("The candidate is"),
        choices=[("over", _("laid over the present price list")), (_WHOLE, _("the whole price list"))],
        required=False,
        help_text=_("A row that does not say since when it holds, holds from the beginning of the month on."),
    )
    rows = forms.CharField(
        label=_("Candidate prices"),
        max_length=1_000_000,
        strip=False,
        help_text=_(
            "CSV with a head, or a JSON list: meter, price or tiers, and where wanted model, organization, state,"
            " device_class, currency, valid_from, valid_to."
        ),
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false"}),
        initial="meter,model,price\noutput_tokens,*,0.60\n",
    )

    @property
    def is_whole(self) -> bool:
        """Whether nothing of the present list counts."""
        return bool(self.cleaned_data["laid"] == _WHOLE)


def _cost_words(cost: UnitCost) -> str:
    words = f"{prices.text(cost.meter, cost.pico_per_unit)} {cost.currency} per {prices.unit(cost.meter)}"
    of = " ".join(part for part in (cost.model, cost.device_class) if part)
    return f"{Meter(cost.meter).label}, {of}: {words}, {cost.valid_from.astimezone(dt.UTC):%Y-%m-%d}"
