"""Where a body breaks the rules of JSON, or ours: found by a slow second reading, after the fast one has refused it.

The fast parsers say at best that something is wrong. This one walks the text with the path in hand, so that the caller
reads ``messages[3].content: appears twice in one object.``. It gives up after some thousand values: whoever sends
megabytes of nonsense gets the short answer.
"""

import json
import math
import re
from typing import Final

from moorage.gateway.errors import BadRequest
from moorage.gateway.request_fields import shown, wrong

DEPTH_MAX: Final = 64
_STEPS_MAX: Final = 10_000
_PATH_MAX: Final = 128
_INTEGER_MAX: Final = 2**64
_SPACE: Final = re.compile(r"[ \t\n\r]*")
_NUMBER: Final = re.compile(r"-?(?:0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_CONSTANT: Final = re.compile(r"-?Infinity|NaN")
_WORD: Final = re.compile(r"true|false|null")
_SYNTAX: Final = "The body is not valid JSON in UTF-8."
_read_string: Final = json.decoder.scanstring  # type: ignore[attr-defined]  # documented only by its use in the module


class _NotJson(Exception):
    """The text is no JSON at all."""


def find(content: bytes) -> BadRequest:
    """The error for ``content``, which a strict parser refused: with the path where there is one."""
    try:
        text = content.decode("utf-8")
        return _Walk(text).fault() or BadRequest(_SYNTAX)
    except (UnicodeDecodeError, ValueError, _NotJson):
        return BadRequest(_SYNTAX)


class _Walk:
    """One reading. Open objects and lists are on a stack of our own: the text decides how deep it is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        #: One of each open object (its names so far, the present name) or list (its present index).
        self._open: list[_Object | _List] = []

    def fault(self) -> BadRequest | None:
        """What is wrong first; None where nothing with a path is."""
        for _ in range(_STEPS_MAX):
            found = self._value()
            if found is not None:
                return found
            if not self._open:
                return None
        return None

    def _value(self) -> BadRequest | None:
        """Read one value, or what opens one; then go on to where the next begins."""
        self._skip()
        mark = self._text[self._at : self._at + 1]
        if mark in ("{", "["):
            if len(self._open) >= DEPTH_MAX:
                return wrong(self._path(), f"nests more than {DEPTH_MAX} deep")
            self._at += 1
            self._skip()
            if self._text[self._at : self._at + 1] not in ("}", "]"):
                self._open.append(_Object() if mark == "{" else _List())
                return self._name()
            self._at += 1
        elif mark == '"':
            self._string()
        elif (found := self._plain()) is not None:
            return found
        return self._next()

    def _plain(self) -> BadRequest | None:
        constant = _CONSTANT.match(self._text, self._at)
        if constant is not None:
            return wrong(self._path(), f"is {constant[0]}, which is not JSON")
        number = _NUMBER.match(self._text, self._at)
        if number is not None:
            self._at = number.end()
            if number[1] or number[2]:
                is_too_large = not math.isfinite(float(number[0]))
            else:
                is_too_large = len(number[0]) > 21 or abs(int(number[0])) > _INTEGER_MAX
            return wrong(self._path(), "is too large a number") if is_too_large else None
        word = _WORD.match(self._text, self._at)
        if word is None:
            raise _NotJson
        self._at = word.end()
        return None

    def _next(self) -> BadRequest | None:
        """Behind a value: a comma, or the end of what is open."""
        while self._open:
            self._skip()
            mark = self._text[self._at : self._at + 1]
            self._at += 1
            top = self._open[-1]
            if mark == ",":
                if isinstance(top, _List):
                    top.index += 1
                return self._name()
            if mark != ("}" if isinstance(top, _Object) else "]"):
                raise _NotJson
            self._open.pop()
        self._skip()
        if self._at < len(self._text):
            raise _NotJson
        return None

    def _name(self) -> BadRequest | None:
        """In an object: the name of the next member, and the colon."""
        top = self._open[-1]
        if isinstance(top, _List):
            return None
        self._skip()
        if self._text[self._at : self._at + 1] != '"':
            raise _NotJson
        top.name = self._string()
        self._skip()
        if self._text[self._at : self._at + 1] != ":":
            raise _NotJson
        self._at += 1
        if top.name in top.names:
            return wrong(self._path(), "appears twice in one object")
        top.names.add(top.name)
        return None

    def _string(self) -> str:
        read, self._at = _read_string(self._text, self._at + 1, True)
        return str(read)

    def _skip(self) -> None:
        space = _SPACE.match(self._text, self._at)
        assert space is not None
        self._at = space.end()

    def _path(self) -> str:
        path = ""
        for each in self._open:
            if isinstance(each, _List):
                path += f"[{each.index}]"
            else:
                path += f".{each.name}" if path else each.name
        return shown(path[:_PATH_MAX] or "body")


class _Object:
    __slots__ = ("name", "names")

    def __init__(self) -> None:
        self.name = ""
        self.names: set[str] = set()


class _List:
    __slots__ = ("index",)

    def __init__(self) -> None:
        self.index = 0
