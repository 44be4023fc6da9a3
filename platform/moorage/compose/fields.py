"""Typed reading of nodes: each function gives a value or reports what the key has to look like."""

import difflib
import re
from collections.abc import Iterable
from collections.abc import Mapping as Table

from moorage.compose import duration
from moorage.compose.problems import Position, Report, join, shown
from moorage.compose.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence

_REMOVE = "There is no key {} here. Remove it."
_DIGITS = re.compile(r"-?[0-9]{1,12}")


def mapping(node: Node, path: str, report: Report) -> Mapping | None:
    """A mapping; an empty value counts as an empty one."""
    if isinstance(node, Mapping):
        return node
    if is_null(node):
        return Mapping(at=node.at, entries={})
    report.error(path, node.at, "This must be a mapping of keys to values.")
    return None


def text(node: Node, path: str, report: Report) -> str | None:
    """Text. Numbers and booleans are not text: they lose their spelling on the way."""
    if isinstance(node, Scalar) and node.kind == "string":
        return node.text
    hint = f" Put it in quotes: {shown(node.text)}." if isinstance(node, Scalar) and node.text else ""
    report.error(path, node.at, f"This must be text.{hint}")
    return None


def integer(node: Node, path: str, report: Report, *, low: int, high: int) -> int | None:
    """A whole number within bounds, written in decimal digits, with or without quotes."""
    if isinstance(node, Scalar) and node.kind in ("integer", "string") and _DIGITS.fullmatch(node.text):
        value = int(node.text)
        if low <= value <= high:
            return value
    written = f", not {shown(node.text)}" if isinstance(node, Scalar) and node.text else ""
    report.error(path, node.at, f"This must be a whole number from {low} to {high}{written}.")
    return None


def seconds(node: Node, path: str, report: Report, *, low: int, high: int) -> int | None:
    """A duration within bounds, in seconds."""
    value = duration.seconds(node.text) if isinstance(node, Scalar) and node.kind in ("integer", "string") else None
    if value is not None and low <= value <= high:
        return value
    report.error(path, node.at, f"This must be {duration.EXAMPLES}, from {low} to {high} seconds.")
    return None


def sequence(node: Node, path: str, report: Report) -> tuple[Node, ...]:
    """The items of a list; an empty value counts as an empty one."""
    if isinstance(node, Sequence):
        return node.items
    if not is_null(node):
        report.error(path, node.at, "This must be a list. Start each item with a dash.")
    return ()


def pairs(node: Node, path: str, report: Report) -> dict[str, tuple[str, Position]]:
    """Names and values, written as a mapping or as a list of `NAME=value`. Scalars keep their spelling."""
    found: dict[str, tuple[str, Position]] = {}
    if isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            name, equals, value = item.text.partition("=") if isinstance(item, Scalar) else ("", "", "")
            if not equals or not name:
                report.error(join(path, index), item.at, "Write this item as name=value.")
            elif name in found:
                report.error(join(path, index), item.at, f"{shown(name)} is given twice. Keep one.")
            else:
                found[name] = (value, item.at)
        return found
    table = mapping(node, path, report)
    for name, entry in (table.entries if table else {}).items():
        if isinstance(entry.value, Scalar) and entry.value.kind != "null":
            found[name] = (entry.value.text, entry.value.at)
        else:
            report.error(join(path, name), entry.key_at, "This needs a value of text, a number, true or false.")
    return found


def is_null(node: Node) -> bool:
    """Whether the key was written without a value."""
    return isinstance(node, Scalar) and node.kind == "null"


def refuse_unknown(
    entries: Table[str, Entry], known: Iterable[str], path: str, report: Report, hints: Table[str, str]
) -> None:
    """Report every key that is not known; `x-*` keys are somebody else's extensions and only warned about."""
    names = tuple(known)
    for key, entry in entries.items():
        if key in names:
            continue
        if key.startswith("x-") and key != "x-moorage":
            report.warning(join(path, key), entry.key_at, "Moorage does not know this extension and ignores it.")
        else:
            refuse(key, entry, names, path, report, hints)


def refuse(
    key: str, entry: Entry, known: Iterable[str], path: str, report: Report, hints: Table[str, str] | None = None
) -> None:
    """Report one key that is not known here."""
    message = _REMOVE.format(shown(key)) if report.is_long else _unknown_key(key, known, hints or {})
    report.error(join(path, key), entry.key_at, message)


def _unknown_key(key: str, known: Iterable[str], hints: Table[str, str]) -> str:
    """The sentence for a key that is not known: a hint, the nearest spelling, or the list of keys."""
    if key in hints:
        return hints[key]
    names = sorted(known)
    near = difflib.get_close_matches(key[:60], names, n=1)
    if near:
        return f"There is no key {shown(key)} here. Did you mean {near[0]}?"
    if len(names) > 12:
        return _REMOVE.format(shown(key))
    return f"There is no key {shown(key)} here. Remove it; the keys are {', '.join(names)}."
