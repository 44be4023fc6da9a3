"""Forms about nodes and how far organizations are trusted. What is allowed is decided by the fleet."""

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from moorage.fleet import runtime_classes
from moorage.fleet.models import Node


class _PairsField(forms.CharField):
    """``name=value``, one a line, as a mapping."""

    widget = forms.Textarea(attrs={"rows": 4, "spellcheck": "false", "class": "code", "placeholder": "name=value"})

    def clean(self, value: Any) -> Any:
        """Each name once."""
        pairs: dict[str, str] = {}
        for line in filter(None, (line.strip() for line in str(super().clean(value)).splitlines())):
            name, equals, text = (part.strip() for part in line.partition("="))
            if not equals or name in pairs:
                trouble = _("stands there twice") if equals else _("is not name=value")
                raise forms.ValidationError(f"{line[:80]} {trouble}.")
            pairs[name] = text
        return pairs


class MarksForm(forms.Form):
    """All labels and taints of a node."""

    labels = _PairsField(
        label=_("Labels"),
        required=False,
        max_length=8000,
        help_text=_("One a line, such as zone=a. A model may ask for them."),
    )
    taints = _PairsField(
        label=_("Taints"),
        required=False,
        max_length=8000,
        help_text=_(
            "One a line. Each keeps out every model that does not ask for it; organization=org_… keeps out all others."
        ),
    )


class TrustForm(forms.Form):
    """Which class of the operator's policy an organization is in."""

    trust_class = forms.ChoiceField(label=_("Trust class"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = [(name, f"{name} ({runtime})") for name, runtime in runtime_classes.policy().items()]
        self.fields["trust_class"].choices = choices  # type: ignore[attr-defined]


def shown(node: Node) -> dict[str, Any]:
    """The node's labels and taints as the form's first values."""
    return {
        kind: "\n".join(f"{name}={value}" for name, value in sorted(pairs.items()))
        for kind, pairs in (("labels", node.labels), ("taints", node.taints))
    }
