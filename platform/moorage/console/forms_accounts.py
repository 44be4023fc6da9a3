"""Forms of signing up, signing in, organizations and members. What is allowed is decided by accounts.services."""

from typing import Final

from django import forms
from django.utils.translation import gettext_lazy as _

from moorage.accounts.models import Role

#: First words of the console's own addresses, which an organization may not take.
RESERVED_SLUGS: Final = frozenset(
    {"admin", "api", "healthz", "new", "organizations", "readyz", "sign-in", "sign-out", "sign-up"}
    | {"static", "ui", "v1", "webhooks"}
)


class SignUpForm(forms.Form):
    """An address and a password."""

    email = forms.EmailField(label=_("E-mail"), widget=forms.EmailInput(attrs={"autocomplete": "email"}))
    password = forms.CharField(
        label=_("Password"),
        help_text=_("At least 10 characters."),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


class SignInForm(forms.Form):
    """The same, for somebody who is known."""

    email = forms.EmailField(
        label=_("E-mail"), widget=forms.EmailInput(attrs={"autocomplete": "username", "autofocus": True})
    )
    password = forms.CharField(
        label=_("Password"), strip=False, widget=forms.PasswordInput(attrs={"autocomplete": "current-password"})
    )


class OrganizationForm(forms.Form):
    """A new organization."""

    name = forms.CharField(label=_("Name"), max_length=80)
    slug = forms.CharField(
        label=_("Short name"), max_length=40, help_text=_("In addresses: a–z, 0–9 and hyphens, for example harbour.")
    )

    def clean_slug(self) -> str:
        """The console's own first words are taken."""
        slug = str(self.cleaned_data["slug"]).strip().lower()
        if slug in RESERVED_SLUGS:
            raise forms.ValidationError(_("This short name is used by Moorage itself. Choose another."))
        return slug


class MemberForm(forms.Form):
    """Somebody joins, or changes role."""

    email = forms.EmailField(label=_("E-mail"))
    role = forms.ChoiceField(label=_("Role"), choices=Role.choices, initial=Role.DEVELOPER)
