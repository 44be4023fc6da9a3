"""What an address asks for: a month, a filter, a page. One that makes no sense does not exist: 404 with a sentence."""

import dataclasses
import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from django.http import Http404, HttpRequest

from moorage.billing import queries as billing
from moorage.kernel.clock import Period
from moorage.kernel.errors import InvalidInput, NotFound

#: Nothing can have been used before: the default price list begins here too.
_FIRST: Final = Period.month(2020, 1)
_FILTER_MOST: Final = 170


@contextmanager
def found() -> Iterator[None]:
    """Turns "there is no such thing" and "this page does not exist" of the rooms into a 404."""
    try:
        yield
    except (NotFound, InvalidInput) as error:
        raise Http404(error.message) from error


def month_of(request: HttpRequest) -> Period:
    """The month in ``?period=YYYY-MM``; the present one without it."""
    with found():
        period = billing.period_of(request.GET.get("period"))
    if period < _FIRST:
        raise Http404("There is no month before 2020.")
    return period


def filter_of(request: HttpRequest, name: str) -> str | None:
    """The value of a filter in the address, None without it."""
    value = request.GET.get(name)
    if not value:
        return None
    if len(value) > _FILTER_MOST or not value.isprintable():
        raise Http404("There is nothing with this name.")
    return value


@dataclasses.dataclass(frozen=True, kw_only=True)
class MonthChoice:
    """A month and its neighbours, for the links above a page; None where there is nothing to see."""

    period: Period
    earlier: Period | None
    later: Period | None
    is_running: bool

    @property
    def period_text(self) -> str:
        """``2026-11``, for addresses that a template puts together."""
        return str(self.period)


def month_choice(period: Period, *, now: dt.datetime) -> MonthChoice:
    """``period`` with the month before and, unless it would be in the future, the month after."""
    return MonthChoice(
        period=period,
        earlier=Period.containing(period.start - dt.timedelta(days=1)) if period > _FIRST else None,
        later=Period.containing(period.end) if period.end <= now else None,
        is_running=now in period,
    )
