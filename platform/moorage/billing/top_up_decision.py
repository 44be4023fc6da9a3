"""Whether an organization is topped up by itself now. Pure.

One at a time, as much as it asked for, never beyond its most of the month, and not again soon after a payment failed.
"""

import dataclasses
import datetime as dt
from typing import Final

#: After a payment that failed, nobody is charged again for so long.
REST: Final = dt.timedelta(days=1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """How it stands with one organization."""

    #: What can still be spent.
    left_pico: int
    below_pico: int
    top_up_cents: int
    monthly_most_cents: int
    #: Charged by itself in this calendar month, or on its way.
    charged_cents: int
    is_pending: bool
    last_failed_at: dt.datetime | None


def cents_due(situation: Situation, *, now: dt.datetime) -> int:
    """The cents to charge now; 0: none."""
    one = situation
    if one.is_pending or one.top_up_cents <= 0 or one.left_pico >= one.below_pico:
        return 0
    if one.last_failed_at is not None and now < one.last_failed_at + REST:
        return 0
    if one.charged_cents + one.top_up_cents > one.monthly_most_cents:
        return 0
    return one.top_up_cents
