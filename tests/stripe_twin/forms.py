"""``a[b][0][c]=d`` and back: how Stripe's clients write nested parameters."""

import re
import typing
from urllib.parse import parse_qsl

from tests.stripe_twin.account import Json

_PART = re.compile(r"[^\[\]]+")


def decoded(text: str) -> Json:
    """The nested parameters in a query or a body. Whole numbers as keys make a list."""
    found: Json = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        parts = _PART.findall(name)
        if name.endswith("[]"):
            parts.append(str(len(_at(found, parts))))
        into = _at(found, parts[:-1])
        into[parts[-1]] = value
    return typing.cast(Json, _lists(found))


def _at(found: Json, parts: list[str]) -> Json:
    for part in parts:
        found = found.setdefault(part, {})
    return found


def _lists(value: typing.Any) -> typing.Any:
    if not isinstance(value, dict):
        return value
    inner = {name: _lists(one) for name, one in value.items()}
    if inner and all(name.isdecimal() for name in inner):
        return [inner[name] for name in sorted(inner, key=int)]
    return inner
