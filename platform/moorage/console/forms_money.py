"""What every form with amounts has: the currency in its words, that of the organization it is about."""

from typing import Any, Final

from django import forms

#: Stands in labels and help texts where the currency goes.
_PLACE: Final = "{currency}"


class MoneyForm(forms.Form):
    """A form whose labels and help texts name ``currency`` where they say ``{currency}``."""

    def __init__(self, *args: Any, currency: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            for name in ("label", "help_text"):
                words = str(getattr(field, name) or "")
                if _PLACE in words:
                    assert currency, "amounts are in a currency"
                    setattr(field, name, words.replace(_PLACE, currency))
