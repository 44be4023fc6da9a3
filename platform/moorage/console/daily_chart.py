"""A month's tokens as bars, a day each: positions for an SVG that needs no script and no inline style. Pure."""

import dataclasses
import datetime as dt
from collections.abc import Iterable
from typing import Final

from moorage.kernel.clock import Period
from moorage.metering.queries import Usage

HEIGHT: Final = 100
#: Of one day, of which a fifth stays free.
_STEP: Final = 20
_BAR: Final = 16


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bar:
    """One day. Input and output stand on each other; heights are shares of the month's highest day."""

    day: str
    x: int
    input_tokens: int
    output_tokens: int
    input_y: int
    input_height: int
    output_y: int
    output_height: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """The bars in a box of ``width`` × HEIGHT."""

    bars: tuple[Bar, ...]
    width: int
    bar_width: int
    most_tokens: int


def draw(days: Iterable[Usage], period: Period) -> Chart:
    """Every day of ``period`` from left to right, those without tokens without bars."""
    by_day = {usage.group: usage for usage in days}
    count = (period.end - period.start).days
    dates = [f"{period.start + dt.timedelta(days=number):%Y-%m-%d}" for number in range(count)]
    most = max((usage.input_tokens + usage.output_tokens for usage in by_day.values()), default=0)
    bars = []
    for number, date in enumerate(dates):
        usage = by_day.get(date)
        if usage is None or most == 0:
            continue
        # A day with tokens is never invisible.
        whole = max(1, HEIGHT * (usage.input_tokens + usage.output_tokens) // most)
        output = whole * usage.output_tokens // max(1, usage.input_tokens + usage.output_tokens)
        bars.append(
            Bar(
                day=date,
                x=number * _STEP,
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                input_y=HEIGHT - whole + output,
                input_height=whole - output,
                output_y=HEIGHT - whole,
                output_height=output,
            )
        )
    return Chart(bars=tuple(bars), width=count * _STEP, bar_width=_BAR, most_tokens=most)
