"""A whole answer out of server-sent events, for browsers without JavaScript. Pure."""

import dataclasses
import json
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What the model said, what it counted, and what went wrong, if anything."""

    text: str
    input_tokens: int | None = None
    output_tokens: int | None = None
    error: str = ""


def collected(events: Iterable[bytes]) -> Answer:
    """Reads ``events`` to the end."""
    pieces: list[str] = []
    usage: dict[str, int] = {}
    error = ""
    for line in b"".join(events).decode(errors="replace").splitlines():
        if not line.startswith("data: ") or line == "data: [DONE]":
            continue
        document = json.loads(line.removeprefix("data: "))
        error = error or str(document.get("error", {}).get("message", ""))
        usage = document.get("usage") or usage
        pieces += [choice["delta"].get("content") or "" for choice in document.get("choices", ())]
    return Answer(
        text="".join(pieces),
        input_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        error=error,
    )
