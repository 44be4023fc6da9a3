"""Input of an operation, read strictly: what is not known is refused with a sentence, never ignored."""

from collections.abc import Mapping
from typing import Any

from rest_framework import serializers
from rest_framework.request import Request

from moorage.kernel.errors import InvalidInput


class Fields(serializers.Serializer):
    """A JSON body, or the query parameters, of one operation."""

    def to_internal_value(self, data: Any) -> Any:
        """As DRF does it, once every name is known."""
        if isinstance(data, Mapping):
            unknown = [str(name) for name in data if name not in self.fields]
            if unknown:
                raise serializers.ValidationError({name[:80]: [self._sentence()] for name in unknown[:10]})
        return super().to_internal_value(data)

    def _sentence(self) -> str:
        known = ", ".join(f"`{name}`" for name in self.fields)
        return f"This is not known here. Known are {known}." if known else "Nothing of this kind is known here."


class NoFields(Fields):
    """For operations that take no parameters."""


def read_query(kind: type[Fields], request: Request, *, prefix: str = "") -> dict[str, Any]:
    """The query parameters as ``kind`` says; those that begin with ``prefix`` (if given) are left to the view.

    Raises ValidationError, and InvalidInput for a parameter that is sent twice: which one counts would be a guess.
    """
    found: dict[str, str] = {}
    for name, values in request.query_params.lists():
        if len(values) > 1:
            raise InvalidInput(
                f"The parameter {name[:80]} was sent {len(values)} times. Send it once.", param=name[:80]
            )
        if not (prefix and name.startswith(prefix)):
            found[name] = values[0]
    return read(kind, found)


def read(kind: type[Fields], content: Any) -> dict[str, Any]:
    """``content`` as ``kind`` says. Raises ValidationError."""
    fields = kind(data=content)
    fields.is_valid(raise_exception=True)
    validated: dict[str, Any] = fields.validated_data
    return validated
