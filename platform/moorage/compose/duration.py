"""Durations as Compose writes them: `90`, `45s`, `5m`, `1h30m`. Whole seconds only."""

import re

_DURATION = re.compile(r"(?:([0-9]{1,5})h)?(?:([0-9]{1,6})m)?(?:([0-9]{1,7})s)?")
_SECONDS = re.compile(r"[0-9]{1,7}")

EXAMPLES = "seconds or a duration such as 45s, 5m or 1h30m"


def seconds(text: str) -> int | None:
    """The duration in seconds, or None if the text is not one."""
    if _SECONDS.fullmatch(text):
        return int(text)
    found = _DURATION.fullmatch(text)
    if not text or not found:
        return None
    hours, minutes, rest = (int(part or 0) for part in found.groups())
    return hours * 3600 + minutes * 60 + rest
