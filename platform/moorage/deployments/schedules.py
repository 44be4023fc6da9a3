"""Which schedule of a model is in force: pure. Days and times are those of the schedule's own time zone."""

import datetime as dt
import zoneinfo
from collections.abc import Iterable

from moorage.compose.spec import DAYS, ScheduleSpec


def floor(schedules: Iterable[ScheduleSpec], *, now: dt.datetime) -> ScheduleSpec | None:
    """Of those in force at ``now`` the one with the highest min; None where none is."""
    return max((one for one in schedules if is_in_force(one, now=now)), key=lambda one: one.min, default=None)


def is_in_force(schedule: ScheduleSpec, *, now: dt.datetime) -> bool:
    """Whether ``now`` lies in it. One that ends at or before its beginning ends on the next day; an hour that the
    clocks leave out or repeat is as the clock on the wall says."""
    here = now.astimezone(zoneinfo.ZoneInfo(schedule.timezone))
    minute = here.hour * 60 + here.minute
    today, yesterday = DAYS[here.weekday()], DAYS[here.weekday() - 1]
    if schedule.from_minute < schedule.to_minute:
        return today in schedule.days and schedule.from_minute <= minute < schedule.to_minute
    return (today in schedule.days and minute >= schedule.from_minute) or (
        yesterday in schedule.days and minute < schedule.to_minute
    )


def sentence(schedule: ScheduleSpec) -> str:
    """For people."""
    begin, end = schedule.from_text, schedule.to_text
    return f"The schedule keeps {schedule.min} from {begin} to {end} ({schedule.timezone})."
