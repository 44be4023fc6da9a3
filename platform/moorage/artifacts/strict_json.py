"""JSON from strangers: no duplicate names, no NaN, no endless numbers, no bottomless nesting, bounded objects."""

import json

from moorage.artifacts.errors import HeaderRefused

MAX_DIGITS = 20
MAX_OBJECTS = 131_072


class _Rules:
    """The hooks of one parse; it counts what it builds so that a small text cannot become gigabytes."""

    def __init__(self, what: str) -> None:
        self.what = what
        self.objects = 0

    def pairs(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        self.objects += 1
        if self.objects > MAX_OBJECTS:
            raise HeaderRefused(f"{self.what} has more than {MAX_OBJECTS} objects.")
        found = dict(pairs)
        if len(found) != len(pairs):
            raise HeaderRefused(f"{self.what} names something twice.")
        return found

    def integer(self, digits: str) -> int:
        if len(digits) > MAX_DIGITS:
            raise HeaderRefused(f"{self.what} has a number of {len(digits)} digits.")
        return int(digits)

    def constant(self, name: str) -> object:
        raise HeaderRefused(f"{self.what} contains {name}, which is no JSON number.")


def parse(text: bytes, *, what: str) -> dict[str, object]:
    """Read one JSON object; `what` begins the sentence of a refusal. The caller has bounded the text's length."""
    rules = _Rules(what)
    try:
        found = json.loads(
            text.decode("utf-8"),
            object_pairs_hook=rules.pairs,
            parse_int=rules.integer,
            parse_constant=rules.constant,
        )
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise HeaderRefused(f"{what} is not valid JSON.") from error
    if not isinstance(found, dict):
        raise HeaderRefused(f"{what} is not a JSON object.")
    return found


def whole(value: object) -> int | None:
    """The value if it is a whole number (and not a truth value), else None."""
    return value if isinstance(value, int) and not isinstance(value, bool) else None
