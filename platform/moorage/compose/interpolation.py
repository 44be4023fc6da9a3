"""`$V`, `${V}`, `${V:-default}` and their kin, filled only from the variables sent along with the file.

The rules are Compose's: values only, never keys; `-` asks for unset, `:-` for unset or empty; `?` demands, `+`
replaces; defaults may nest; `$$` is a dollar. The process environment is never looked at, so a file
cannot read the platform's.
"""

import re
from collections.abc import Callable, Mapping

from moorage.compose.problems import START, Report, join, shown
from moorage.compose.source_text import forbidden_character
from moorage.compose.yaml_nodes import Entry, Node, Scalar, Sequence
from moorage.compose.yaml_nodes import Mapping as MappingNode

MAX_VARIABLES = 200
MAX_VALUE = 4_096
# What variables may add to one file in all: 16,000 times "$V" must not become a gigabyte.
MAX_EXPANDED = 64 * 1024
MAX_NESTING = 8

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OPERATORS = (":-", ":?", ":+", "-", "?", "+")


class BadTemplate(Exception):
    """The text has a dollar that starts nothing, or a variable that must be set is not."""


class Interpolation:
    """Fills variables into nodes, under one budget for the whole file."""

    def __init__(self, variables: Mapping[str, str], report: Report) -> None:
        self._variables = variables
        self._report = report
        self._budget = MAX_EXPANDED
        self._told: set[str] = set()

    def fill(self, node: Node, path: str) -> Node:
        """The same node with every value's variables filled in; problems go to the report."""
        if isinstance(node, Scalar):
            return self._fill_scalar(node, path)
        if isinstance(node, Sequence):
            items = tuple(self.fill(item, join(path, index)) for index, item in enumerate(node.items))
            return Sequence(at=node.at, items=items, size=node.size, height=node.height)
        entries = {
            key: Entry(key_at=entry.key_at, value=self.fill(entry.value, join(path, key)))
            for key, entry in node.entries.items()
        }
        return MappingNode(at=node.at, entries=entries, size=node.size, height=node.height)

    def _fill_scalar(self, node: Scalar, path: str) -> Scalar:
        if "$" not in node.text:
            return node

        def unset(name: str) -> None:
            if name not in self._told:
                self._told.add(name)
                self._report.warning(
                    path,
                    node.at,
                    f"The variable {name} was not sent along, so it is empty here. Send it or give a default.",
                )

        try:
            text, spent = expand(node.text, self._variables, unset=unset, budget=self._budget)
        except BadTemplate as error:
            self._report.spoil(path, node.at, str(error))
            return Scalar(at=node.at, kind="string", text="")
        self._budget -= spent
        return Scalar(at=node.at, kind="string", text=text)


def expand(
    text: str, variables: Mapping[str, str], *, unset: Callable[[str], None], budget: int = MAX_EXPANDED
) -> tuple[str, int]:
    """The text with variables filled in, and how many characters they added. Raises BadTemplate."""
    template = _Template(text, variables, unset, budget)
    filled = template.read(nested=0, live=True)
    return filled, budget - template.budget


def check_variables(variables: Mapping[str, str], report: Report) -> None:
    """Names must be names, values short text without control characters."""
    if len(variables) > MAX_VARIABLES:
        report.error("variables", START, f"More than {MAX_VARIABLES} variables were sent. Send those the file uses.")
        return
    for name, value in variables.items():
        path = join("variables", name)
        if not _NAME.fullmatch(name) or len(name) > 128:
            report.error(path, START, "A variable's name has letters, digits and _, not a digit first. Rename it.")
        elif len(value) > MAX_VALUE:
            report.error(path, START, f"A variable's value has at most {MAX_VALUE} characters. Shorten it.")
        elif forbidden_character(value):
            report.error(path, START, "The variable's value holds a control or invisible character. Remove it.")


class _Template:
    """One recursive descent over one text; branches not taken are read but neither told nor demanded."""

    def __init__(self, text: str, variables: Mapping[str, str], unset: Callable[[str], None], budget: int) -> None:
        self._text = text
        self._variables = variables
        self._unset = unset
        self._index = 0
        self.budget = budget

    def read(self, *, nested: int, live: bool) -> str:
        parts: list[str] = []
        while self._index < len(self._text):
            stop = self._next_mark(nested)
            parts.append(self._text[self._index : stop])
            self._index = stop
            if stop == len(self._text):
                break
            if self._text[stop] == "}":
                return "".join(parts)
            parts.append(self._dollar(nested, live))
        if nested:
            raise BadTemplate(f"A ${{ in {shown(self._text)} is not closed. Add the missing }}.")
        return "".join(parts)

    def _next_mark(self, nested: int) -> int:
        dollar = self._text.find("$", self._index)
        brace = self._text.find("}", self._index) if nested else -1
        found = [index for index in (dollar, brace) if index >= 0]
        return min(found, default=len(self._text))

    def _dollar(self, nested: int, live: bool) -> str:
        self._index += 1
        if self._text.startswith("$", self._index):
            self._index += 1
            return "$"
        braced = self._text.startswith("{", self._index)
        found = _NAME.match(self._text, self._index + braced)
        if not found:
            raise BadTemplate(f"The $ in {shown(self._text)} starts no variable. Write $$ for a dollar sign.")
        self._index = found.end()
        return self._braced(found[0], nested, live) if braced else self._value(found[0], live)

    def _braced(self, name: str, nested: int, live: bool) -> str:
        operator = next((each for each in _OPERATORS if self._text.startswith(each, self._index)), "")
        self._index += len(operator)
        value = self._variables.get(name)
        present = bool(value) if operator.startswith(":") else value is not None
        if operator:
            if nested >= MAX_NESTING:
                raise BadTemplate(f"Defaults nest deeper than {MAX_NESTING} in {shown(self._text)}. Simplify them.")
            # The right-hand side speaks only where it is used.
            word = self.read(nested=nested + 1, live=live and present == operator.endswith("+"))
        if not self._text.startswith("}", self._index):
            raise BadTemplate(f"The ${{{name} in {shown(self._text)} is not closed or has an unknown operator.")
        self._index += 1
        if not operator:
            return self._value(name, live)
        if operator.endswith("+"):
            return word if present else ""
        if present:
            return self._value(name, live)
        if operator.endswith("?"):
            if live:
                raise BadTemplate(f"The variable {name} must be sent along: {shown(word or 'it is required')}.")
            return ""
        return word

    def _value(self, name: str, live: bool) -> str:
        value = self._variables.get(name)
        if value is None:
            if live:
                self._unset(name)
            return ""
        self.budget -= len(value) if live else 0
        if self.budget < 0:
            raise BadTemplate(f"Variables make this file longer than {MAX_EXPANDED // 1024} KiB more. Use fewer.")
        return value
