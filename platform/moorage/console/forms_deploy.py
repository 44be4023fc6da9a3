"""The form of a Compose file: pasted or uploaded, with the values of its variables."""

import re
from typing import Any, Final

from django import forms
from django.core.files.uploadedfile import UploadedFile
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from moorage.compose.source_text import MAX_BYTES

_VARIABLE: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)=(.*)")


class ComposeField(forms.CharField):
    """The text as it was sent: YAML's white space means something. Browsers send CRLF; the file has LF."""

    def to_python(self, value: Any) -> Any:
        """Line ends as in a file."""
        return str(super().to_python(value)).replace("\r\n", "\n")


class EditForm(forms.Form):
    """What a deployment runs."""

    compose = ComposeField(
        label=_("Compose file"),
        required=False,
        strip=False,
        widget=forms.Textarea(
            attrs={"class": "code", "spellcheck": "false", "autocapitalize": "off", "wrap": "off", "rows": 16}
        ),
    )
    file = forms.FileField(
        label=_("Or upload it"),
        required=False,
        help_text=_("Takes the place of the text above. At most 64 KiB."),
        widget=forms.FileInput(attrs={"accept": ".yaml,.yml"}),
    )
    variables = forms.CharField(
        label=_("Variables"),
        required=False,
        strip=False,
        help_text=_("One NAME=value a line, for ${NAME} in the file."),
        widget=forms.Textarea(attrs={"class": "code", "spellcheck": "false", "autocapitalize": "off", "rows": 3}),
    )

    def clean_variables(self) -> dict[str, str]:
        """The values by name."""
        found: dict[str, str] = {}
        for number, line in enumerate(self.cleaned_data["variables"].splitlines(), start=1):
            if not line.strip():
                continue
            match = _VARIABLE.fullmatch(line.strip())
            if match is None:
                raise forms.ValidationError(
                    _("Line %(number)s: write NAME=value; a name has letters, digits and _."), params={"number": number}
                )
            if match[1] in found:
                raise forms.ValidationError(
                    _("Line %(number)s: %(name)s is there twice. Keep one."),
                    params={"number": number, "name": match[1]},
                )
            found[match[1]] = match[2]
        return found

    def clean(self) -> dict[str, Any]:
        """An uploaded file becomes the text, so that it is shown and kept."""
        cleaned = super().clean() or self.cleaned_data
        file: UploadedFile | None = cleaned.get("file")
        if file:
            try:
                cleaned["compose"] = _text_of(file)
            except ValueError as error:
                self.add_error("file", str(error))
            else:
                assert isinstance(self.data, QueryDict)
                sent = self.data.copy()
                sent["compose"] = cleaned["compose"]
                self.data = sent
        if not self.errors and not cleaned.get("compose", "").strip():
            self.add_error("compose", _("Paste a Compose file, or upload one."))
        return cleaned


class NewForm(EditForm):
    """The same, with the name that the deployment will have."""

    field_order = ["name"]
    name = forms.CharField(
        label=_("Name"),
        max_length=40,
        help_text=_("a–z, 0–9 and hyphens. It stands in the model's name: name/model."),
        widget=forms.TextInput(attrs={"autocapitalize": "off", "spellcheck": "false", "autocomplete": "off"}),
    )


def written(variables: dict[str, str]) -> str:
    """The inverse of clean_variables."""
    return "".join(f"{name}={value}\n" for name, value in variables.items())


def _text_of(file: UploadedFile) -> str:
    content = file.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise ValueError("The file is larger than 64 KiB. Upload the Compose file alone.")
    try:
        return content.decode().replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        raise ValueError("The file is not text in UTF-8. Save it as UTF-8.") from error
