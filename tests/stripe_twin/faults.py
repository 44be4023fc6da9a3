"""What goes wrong, by script: so many calls to an address in one way, or a share of all calls by chance with a seed.

``500``: fails before any effect, and the answer is kept for its key. ``drop``: works, but the answer is lost.
``429``: too many requests, with Retry-After. ``truncated``: works, but the answer is cut off. ``latency``: works after
``seconds``.
"""

import random
import typing

from tests.stripe_twin.account import Json

KINDS = ("500", "drop", "429", "truncated", "latency")


class Faults:
    """The script of one account."""

    def __init__(self) -> None:
        self._scripted: list[Json] = []
        self._chaos: Json | None = None
        self._chance = random.Random(0)

    def script(self, given: Json) -> None:
        """The next ``times`` calls to paths that begin with ``path`` and end with ``suffix``."""
        assert given["kind"] in KINDS, given["kind"]
        self._scripted.append({"times": 1, "suffix": "", "method": "", **given})

    def chaos(self, given: Json) -> None:
        """From now on ``shares`` (kind to per cent) of all POSTs to paths that begin with ``path``; none ends it."""
        self._chaos = given if given.get("shares") else None
        self._chance = random.Random(given.get("seed", 0))

    def next(self, method: str, path: str) -> Json | None:
        """What happens to this call."""
        for one in self._scripted:
            is_meant = path.startswith(one["path"]) and path.endswith(one["suffix"])
            if one["times"] > 0 and is_meant and one["method"] in {"", method}:
                one["times"] -= 1
                return one
        if self._chaos is not None and method == "POST" and path.startswith(self._chaos["path"]):
            drawn = self._chance.randrange(100)
            for kind, share in typing.cast(dict[str, int], self._chaos["shares"]).items():
                if drawn < share:
                    return {"kind": kind, "seconds": 0.05}
                drawn -= share
        return None
