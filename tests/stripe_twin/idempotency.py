"""Idempotency keys as v1 has them: an answer, a 500 too, is kept for a day and given again for the same key; other
parameters under a known key are an error; a call with a key whose first call still runs is a 409; nothing is kept of a
validation failure."""

import copy
import hashlib
import json

from tests.stripe_twin.account import Json

_DAY = 24 * 3600


class Keys:
    """The kept answers of one account."""

    def __init__(self) -> None:
        self._kept: dict[str, tuple[str, int, int, Json]] = {}
        self._running: set[str] = set()

    def known(self, key: str, content: str, now: int) -> tuple[int, Json] | None:
        """The answer that this key has already; None: begin."""
        if key in self._running:
            message = f"There is currently another in-progress request using this Idempotent Key ({key})."
            return 409, {"error": {"type": "idempotency_error", "code": "idempotency_key_in_use", "message": message}}
        kept = self._kept.get(key)
        if kept is None or now - kept[1] >= _DAY:
            return None
        if kept[0] != content:
            message = (
                "Keys for idempotent requests can only be used with the same parameters they were first used with."
            )
            return 400, {"error": {"type": "idempotency_error", "message": message}}
        return kept[2], copy.deepcopy(kept[3])

    def begin(self, key: str) -> None:
        """Its first call runs."""
        self._running.add(key)

    def end(self, key: str, content: str, now: int, answer: tuple[int, Json] | None) -> None:
        """Its first call is over, with an answer to keep or none."""
        self._running.discard(key)
        if answer is not None:
            self._kept[key] = (content, now, answer[0], copy.deepcopy(answer[1]))


def content_of(method: str, path: str, given: Json) -> str:
    """What must be the same when a key comes again."""
    return hashlib.sha256(json.dumps([method, path, given], sort_keys=True).encode()).hexdigest()
