"""Forms of the administrator: deeds on invoices, keys. What is allowed is decided by the rooms."""

from collections.abc import Iterable
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from moorage.accounts.models import Organization


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
