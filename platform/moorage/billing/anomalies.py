"""What is unusual about a day of usage: pure, whole numbers alone.

A day is measured against the days before it by their median and their median absolute deviation (MAD), which one odd
day does not move. Today is not over yet and only ever understates; so what is found today is no less at its end.
"""

import dataclasses
import enum
from collections.abc import Sequence
from typing import Final

#: So many days before are looked at, and so many are needed to say what is usual.
TRAILING_DAYS: Final = 28
LEAST_DAYS: Final = 7
#: Fewer tokens a day are nobody's worry.
LEAST_TOKENS: Final = 100_000
#: Six standard deviations of a normal distribution, whose MAD is 1/1.4826 of one.
_MANY: Final = 6
_PER_MAD: Final = (14_826, 10_000)
#: And at least this many times what is usual.
_TIMES: Final = 3
#: A key is new for so many hours.
NEW_HOURS: Final = 48
#: Of an organization's usual day that a new key uses alone: one part in so many.
_SHARE: Final = 2
#: As many disputed requests, and one in so many of all.
LEAST_DISPUTED: Final = 3
_DISPUTED_SHARE: Final = 100
#: Generated answers in a row without a token.
LEAST_STREAK: Final = 20


class Subject(enum.StrEnum):
    """Whose usage it is."""

    ORGANIZATION = "organization"
    KEY = "key"
    DEPLOYMENT = "deployment"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unusual:
    """A figure of today, what is usual, and a sentence."""

    figure: int
    usual: int
    sentence: str


def median(values: Sequence[int]) -> int:
    """The middle value; of an even number the mean of the two middle ones, rounded down. Of nothing 0."""
    if not values:
        return 0
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) // 2


def deviation(values: Sequence[int]) -> int:
    """The median absolute deviation from the median."""
    middle = median(values)
    return median([abs(value - middle) for value in values])


def surge(today: int, before: Sequence[int]) -> Unusual | None:
    """More tokens today than on the days ``before``, the latest first, by far."""
    if len(before) < LEAST_DAYS or today < LEAST_TOKENS:
        return None
    usual = median(before)
    bound = max(usual + deviation(before) * _MANY * _PER_MAD[0] // _PER_MAD[1], usual * _TIMES)
    if today <= bound:
        return None
    sentence = f"{today:,} tokens today; on {len(before)} days before it was {usual:,} at the median."
    return Unusual(figure=today, usual=usual, sentence=sentence)


def new_key(today: int, *, age_hours: int, organization_before: Sequence[int]) -> Unusual | None:
    """A key that is hours old and already uses as much as half of what its organization usually does."""
    if age_hours >= NEW_HOURS or today < LEAST_TOKENS or len(organization_before) < LEAST_DAYS:
        return None
    usual = median(organization_before)
    if today * _SHARE < usual:
        return None
    sentence = f"{today:,} tokens today with a key that is {age_hours} h old; the organization usually uses {usual:,}."
    return Unusual(figure=today, usual=usual, sentence=sentence)


def disputed(count: int, *, requests: int) -> Unusual | None:
    """Requests whose engine claimed other counts than the gateway saw go by."""
    if count < LEAST_DISPUTED or count * _DISPUTED_SHARE < requests:
        return None
    sentence = f"{count:,} of {requests:,} requests today have counts that were not borne out by what was delivered."
    return Unusual(figure=count, usual=0, sentence=sentence)


def no_tokens(streak: int) -> Unusual | None:
    """Answers that are complete and have no output token, one after the other."""
    if streak < LEAST_STREAK:
        return None
    sentence = f"The last {streak:,} answers to one of its keys had no output token."
    return Unusual(figure=streak, usual=0, sentence=sentence)
