"""The time: aware UTC, and calendar months as half-open billing periods."""

import dataclasses
import datetime as dt
from typing import Self


def now() -> dt.datetime:
    """The present moment, aware, in UTC. Pure code takes ``now`` as an argument instead."""
    return dt.datetime.now(tz=dt.UTC)


@dataclasses.dataclass(frozen=True, slots=True, order=True)
class Period:
    """A calendar month in UTC, ``[start, end)``."""

    start: dt.datetime
    end: dt.datetime

    @classmethod
    def month(cls, year: int, month: int) -> Self:
        """The calendar month, 1 to 12."""
        start = dt.datetime(year, month, 1, tzinfo=dt.UTC)
        following = (year + 1, 1) if month == 12 else (year, month + 1)
        return cls(start, dt.datetime(*following, 1, tzinfo=dt.UTC))

    @classmethod
    def containing(cls, moment: dt.datetime) -> Self:
        """The month ``moment`` lies in. ``moment`` must be aware."""
        utc = moment.astimezone(dt.UTC)
        return cls.month(utc.year, utc.month)

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``YYYY-MM``. Raises ValueError otherwise."""
        year, separator, month = text.partition("-")
        if not separator or len(year) != 4 or len(month) != 2 or not (year + month).isdigit():
            raise ValueError(f"a period is written YYYY-MM, not {text!r}")
        return cls.month(int(year), int(month))

    def __contains__(self, moment: dt.datetime) -> bool:
        return self.start <= moment < self.end

    def __str__(self) -> str:
        return f"{self.start:%Y-%m}"
