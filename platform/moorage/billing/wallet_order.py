"""Which credit is used first. Pure.

The lowest priority goes first; among equals what expires earliest, what never expires last; then the oldest.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Credit:
    """What is left of one grant."""

    id: str
    remaining_pico: int
    priority: int
    expires_at: dt.datetime | None
    created_at: dt.datetime


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Draw:
    """What is taken of one grant."""

    grant_id: str
    pico: int


def in_order(credits: Iterable[Credit]) -> list[Credit]:
    """``credits`` as they are used. Ids, which sort by the time of their making, part what was made at one moment."""
    return sorted(
        credits,
        key=lambda credit: (
            credit.priority,
            credit.expires_at is None,
            credit.expires_at or credit.created_at,
            credit.created_at,
            credit.id,
        ),
    )


def newest_first(credits: Iterable[Credit]) -> list[Credit]:
    """``credits`` as they are taken back: what came last goes first."""
    return sorted(credits, key=lambda credit: (credit.created_at, credit.id), reverse=True)


def draws(credits: Iterable[Credit], pico: int) -> tuple[Draw, ...]:
    """``pico`` of ``credits``, in the order given: all of it, or all that there is."""
    assert pico >= 0, "nobody draws less than nothing"
    taken = []
    for credit in credits:
        if pico == 0:
            break
        part = min(pico, credit.remaining_pico)
        if part > 0:
            taken.append(Draw(grant_id=credit.id, pico=part))
            pico -= part
    return tuple(taken)
