"""The form of billing details. What they may be is decided by billing."""

from django import forms
from django.utils.translation import gettext_lazy as _


class BillingDetailsForm(forms.Form):
    """To whom invoices are made out."""

    legal_name = forms.CharField(
        label=_("Legal name"), max_length=160, required=False, help_text=_("Empty: the organization's name.")
    )
    address = forms.CharField(
        label=_("Address"),
        max_length=700,
        required=False,
        help_text=_("At most six lines."),
        widget=forms.Textarea(attrs={"rows": 4, "autocomplete": "street-address"}),
    )
    country = forms.CharField(
        label=_("Country"),
        max_length=2,
        required=False,
        help_text=_("Two letters, such as DE."),
        widget=forms.TextInput(attrs={"autocomplete": "country"}),
    )
    tax_id = forms.CharField(label=_("Tax id"), max_length=40, required=False)
    email = forms.CharField(
        label=_("E-mail for invoices"),
        max_length=254,
        required=False,
        help_text=_("Empty: the first owner's."),
        widget=forms.EmailInput(attrs={"autocomplete": "email"}),
    )
