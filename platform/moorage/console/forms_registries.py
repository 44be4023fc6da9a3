"""The form of a registry's credential. The secret goes in and never comes out."""

from django import forms
from django.utils.translation import gettext_lazy as _


class CredentialForm(forms.Form):
    """Who logs in where."""

    host = forms.CharField(label=_("Registry"), max_length=255, help_text=_("Its host, for example ghcr.io."))
    username = forms.CharField(
        label=_("User name"), max_length=255, widget=forms.TextInput(attrs={"autocomplete": "off"})
    )
    secret = forms.CharField(
        label=_("Secret"),
        help_text=_("A token that may pull. It is stored encrypted and never shown again."),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "off"}),
    )


class ForgetForm(forms.Form):
    """Which registry to forget."""

    host = forms.CharField(max_length=255)
