"""Forms of the administrator: prices, deeds on invoices, keys. What is allowed is decided by the rooms."""

from collections.abc import Iterable
from typing import Any, Final

from django import forms
from django.utils.translation import gettext_lazy as _

from moorage.accounts.models import Organization
from moorage.billing import prices
from moorage.billing.models import Meter

#: The one meter that people also price by the hour.
_BY_THE_HOUR: Final = "replica_seconds/hour"
_UNITS: Final = (
    (Meter.INPUT_TOKENS.value, _("Input tokens, USD per 1M tokens")),
    (Meter.CACHED_INPUT_TOKENS.value, _("Cached input tokens, USD per 1M tokens")),
    (Meter.OUTPUT_TOKENS.value, _("Output tokens, USD per 1M tokens")),
    (_BY_THE_HOUR, _("Replica time, USD per replica hour")),
    (Meter.REPLICA_SECONDS.value, _("Replica time, USD per replica second")),
)


class PriceForm(forms.Form):
    """A new price from a moment on."""

    meter = forms.ChoiceField(label=_("What is priced"), choices=_UNITS)
    model = forms.CharField(
        label=_("Model"),
        max_length=170,
        initial="*",
        help_text=_("A served name such as demo/llm, or a pattern such as demo/* or *. The most specific one wins."),
    )
    price = forms.CharField(
        label=_("Price in USD"),
        max_length=30,
        help_text=_("A decimal number such as 0.25. It is kept exactly; what cannot be kept exactly is refused."),
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
    )
    valid_from = forms.DateTimeField(
        label=_("Valid from (UTC)"),
        required=False,
        help_text=_("Empty: from now on."),
        input_formats=["%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d"],
        widget=forms.DateTimeInput(attrs={"type": "datetime-local"}, format="%Y-%m-%dT%H:%M"),
    )
    note = forms.CharField(label=_("Note"), max_length=200, required=False, help_text=_("Why, for the history."))

    def meter_and_pico(self) -> tuple[Meter, int]:
        """What is priced, and at how many pico-units of one unit. Raises InvalidPrice."""
        unit, text = self.cleaned_data["meter"], self.cleaned_data["price"]
        if unit == _BY_THE_HOUR:
            return Meter.REPLICA_SECONDS, prices.parse_hour(text)
        return Meter(unit), prices.parse(unit, text)


class ReasonForm(forms.Form):
    """Why an administrator does something to an invoice."""

    reason = forms.CharField(
        label=_("Reason"), max_length=2000, widget=forms.Textarea(attrs={"rows": 2}), help_text=_("Kept for good.")
    )


class AdministratorKeyForm(forms.Form):
    """A key of the administrator's REST. It is kept with an organization, as every key is."""

    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("Who or what will use it, such as month-end."))
    organization = forms.ChoiceField(label=_("Kept with"))
    days = forms.TypedChoiceField(
        label=_("Expires"),
        choices=[("30", _("in 30 days")), ("90", _("in 90 days")), ("365", _("in a year")), ("", _("never"))],
        coerce=int,
        empty_value=None,
        required=False,
        initial="90",
    )

    def __init__(self, *args: Any, organizations: Iterable[Organization], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["organization"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [(organization.slug, organization.name) for organization in organizations]
