"""What may be used of something, and for how long: the limits of a key, an organization or a deployment.

A limit counts a *measure* (requests, tokens, money in pico-dollars, places for concurrent requests) in a *window*. Its
name here, in the database's documents and in REST is the same. None is no limit; zero lets nothing through. What
anything costs has no say in whether a limit holds.
"""

import enum
from collections.abc import Iterator
from typing import Final

import msgspec

from moorage.kernel.window import Window


class Measure(enum.StrEnum):
    """What is counted."""

    REQUESTS = "requests"
    TOKENS = "tokens"
    MONEY = "money"
    CONCURRENT = "concurrent"

    # Enum's own is written in Python, and the gateway looks up many.
    __hash__ = str.__hash__


class Limits(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The limits of one subject."""

    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    concurrent_requests: int | None = None
    tokens_per_day: int | None = None
    tokens_per_month: int | None = None
    money_per_day: int | None = None  #: pico-dollars
    money_per_month: int | None = None  #: pico-dollars

    def __iter__(self) -> Iterator[tuple[Measure, Window, int]]:
        """Those that are set: what is counted, in which window, and how much of it there is."""
        for (measure, window), amount in zip(NAMES.values(), msgspec.structs.astuple(self), strict=True):
            if amount is not None:
                yield measure, window, amount

    def __bool__(self) -> bool:
        return self != NO_LIMITS


#: What each limit counts, and in which window.
NAMES: Final[dict[str, tuple[Measure, Window]]] = {
    "requests_per_minute": (Measure.REQUESTS, Window.MINUTE),
    "tokens_per_minute": (Measure.TOKENS, Window.MINUTE),
    "concurrent_requests": (Measure.CONCURRENT, Window.ALWAYS),
    "tokens_per_day": (Measure.TOKENS, Window.DAY),
    "tokens_per_month": (Measure.TOKENS, Window.MONTH),
    "money_per_day": (Measure.MONEY, Window.DAY),
    "money_per_month": (Measure.MONEY, Window.MONTH),
}
NO_LIMITS: Final = Limits()
assert tuple(NAMES) == Limits.__struct_fields__
