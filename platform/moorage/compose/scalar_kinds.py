"""What a plain YAML scalar means under the YAML 1.2 core schema, where `on`, `yes` and `22:22` are text."""

import re
from typing import Literal

Kind = Literal["string", "integer", "float", "boolean", "null"]

_INTEGER = re.compile(r"[-+]?[0-9]{1,20}|0o[0-7]{1,20}|0x[0-9a-fA-F]{1,20}")
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]{1,40}|[0-9]{1,40}(?:\.[0-9]{0,40})?)(?:[eE][-+]?[0-9]{1,9})?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)"
)
_BOOLEANS = frozenset({"true", "True", "TRUE", "false", "False", "FALSE"})
_NULLS = frozenset({"", "~", "null", "Null", "NULL"})


def kind_of(text: str) -> Kind:
    """What the YAML 1.2 core schema takes a plain scalar for. Numbers too long to mean anything are text."""
    if text in _NULLS:
        return "null"
    if text in _BOOLEANS:
        return "boolean"
    if _INTEGER.fullmatch(text):
        return "integer"
    return "float" if _FLOAT.fullmatch(text) else "string"
