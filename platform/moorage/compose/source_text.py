"""The bytes that are let in: a bounded UTF-8 text without characters that hide, reorder or end things.

Refused before any parsing, because a NUL, a byte order mark or a bidirectional override makes a person and a parser
see two different files.
"""

import re

from moorage.compose.problems import START, Position

MAX_BYTES = 64 * 1024

# C0 and C1 controls apart from tab, line feed and carriage return; line and paragraph separators, which older YAML
# counts as line ends; bidirectional marks and overrides; byte order marks; non-characters; lone surrogates.
_FORBIDDEN = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)


class Unreadable(Exception):
    """The text has no structure that could be read, or is over a limit: the only problem that ends reading."""

    def __init__(self, at: Position, message: str) -> None:
        self.at = at
        self.message = message
        super().__init__(message)


def admit(text: str | bytes) -> str:
    """The text itself, once it is known to be short, UTF-8 and free of forbidden characters. Raises Unreadable."""
    # A str is measured in characters first: encoding a gigabyte to count it would be the attack.
    if len(text) > MAX_BYTES:
        raise _too_long()
    text = _decoded(text) if isinstance(text, bytes) else text
    if len(text.encode("utf-8", "surrogatepass")) > MAX_BYTES:
        raise _too_long()
    if text.startswith("\ufeff"):
        raise Unreadable(START, "The file starts with a byte order mark. Save it as UTF-8 without one.")
    found = _FORBIDDEN.search(text)
    if found:
        raise Unreadable(
            position_at(text, found.start()),
            f"There is an invisible or control character here (U+{ord(found[0]):04X}). Remove it.",
        )
    return text


def forbidden_character(text: str) -> str | None:
    """The code point, as `U+202E`, of the first forbidden character that escapes brought into a value."""
    found = _FORBIDDEN.search(text)
    return f"U+{ord(found[0]):04X}" if found else None


def position_at(text: str, index: int) -> Position:
    """Line and column of a character index; an index past the end is the end."""
    before = text[:index].replace("\r\n", "\n").replace("\r", "\n")
    return Position(line=before.count("\n") + 1, column=len(before) - (before.rfind("\n") + 1) + 1)


def _decoded(octets: bytes) -> str:
    if octets.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable(START, "The file is UTF-16. Save it as UTF-8.")
    try:
        return octets.decode("utf-8")
    except UnicodeDecodeError as error:
        at = position_at(octets[: error.start].decode("utf-8"), error.start)
        raise Unreadable(at, "The file is not UTF-8. Save it as UTF-8.") from None


def _too_long() -> Unreadable:
    return Unreadable(START, f"The file is longer than {MAX_BYTES // 1024} KiB. Make it shorter.")
