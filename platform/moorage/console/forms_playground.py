"""The form of the playground: one question to one model. Nothing of it is stored."""

from collections.abc import Sequence

from django import forms
from django.utils.translation import gettext_lazy as _


class QuestionForm(forms.Form):
    """What is asked."""

    model = forms.ChoiceField(label=_("Model"))
    system = forms.CharField(
        label=_("System message"), required=False, max_length=20_000, widget=forms.Textarea(attrs={"rows": 2})
    )
    message = forms.CharField(label=_("Message"), max_length=100_000, widget=forms.Textarea(attrs={"rows": 4}))
    max_tokens = forms.IntegerField(label=_("Tokens at most"), min_value=1, max_value=8192, initial=256)
    temperature = forms.DecimalField(
        label=_("Temperature"), min_value=0, max_value=2, decimal_places=2, initial="0.7", localize=False
    )

    def __init__(self, *args: object, served_names: Sequence[str], **kwargs: object) -> None:
        super().__init__(*args, **kwargs)  # type: ignore[arg-type]
        self.fields["model"].choices = [(name, name) for name in served_names]  # type: ignore[attr-defined]

    def body(self) -> dict[str, object]:
        """The request for the gateway."""
        asked = self.cleaned_data
        roles = [("system", asked["system"]), ("user", asked["message"])]
        return {
            "model": asked["model"],
            "messages": [{"role": role, "content": text} for role, text in roles if text],
            "max_tokens": asked["max_tokens"],
            "temperature": float(asked["temperature"]),
            "stream": True,
            "stream_options": {"include_usage": True},
        }
