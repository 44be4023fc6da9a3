"""The form of a new API key. What a key may be is decided by accounts.services."""

import datetime as dt
from typing import Final

from django import forms
from django.utils.translation import gettext_lazy as _

from moorage.accounts.models import Priority, Scope

#: A key of the administrator is made with `./manage.py`, not here.
SCOPES: Final = [
    (Scope.INFERENCE.value, _("inference: call endpoints")),
    (Scope.MANAGE.value, _("manage: deploy, keys and usage over REST")),
]
LIFETIMES: Final = [("", _("Never")), ("30", _("In 30 days")), ("90", _("In 90 days")), ("365", _("In a year"))]


class KeyForm(forms.Form):
    """A new key."""

    name = forms.CharField(label=_("Name"), max_length=80, help_text=_("Where it is used, for example checkout."))
    scopes = forms.MultipleChoiceField(
        label=_("Opens"),
        choices=SCOPES,
        initial=[Scope.INFERENCE.value],
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": _("Choose at least one.")},
    )
    lifetime = forms.ChoiceField(label=_("Expires"), choices=LIFETIMES, required=False)
    priority = forms.ChoiceField(
        label=_("Priority"),
        choices=Priority.choices,
        initial=Priority.NORMAL.value,
        required=False,
        help_text=_("Its share of the turns among your keys while requests wait for a busy model."),
    )

    def expires_at(self, now: dt.datetime) -> dt.datetime | None:
        """When the key ends, None for never."""
        days = self.cleaned_data["lifetime"]
        return now + dt.timedelta(days=int(days)) if days else None
