"""Which schedule is in force, on the clock of its own time zone."""

import datetime as dt

import pytest

from moorage.compose.spec import DAYS, ModelSpec, ScaleSpec, ScheduleSpec
from moorage.deployments import scaling, schedules

OFFICE = ScheduleSpec(days=DAYS[:5], from_minute=8 * 60, to_minute=18 * 60, timezone="Europe/Berlin", min=2)
NIGHT = ScheduleSpec(days=("sat",), from_minute=22 * 60, to_minute=6 * 60, timezone="UTC", min=1)
ALWAYS = ScheduleSpec(days=DAYS, from_minute=0, to_minute=24 * 60, timezone="UTC", min=3)


@pytest.mark.parametrize(
    ("schedule", "moment", "is_in_force"),
    [
        (OFFICE, "2026-11-23T06:59:59", False),  # Monday, 07:59:59 in Berlin
        (OFFICE, "2026-11-23T07:00:00", True),
        (OFFICE, "2026-11-23T16:59:59", True),
        (OFFICE, "2026-11-23T17:00:00", False),
        (OFFICE, "2026-11-22T10:00:00", False),  # Sunday
        (OFFICE, "2026-07-06T06:00:00", True),  # summer time: 08:00 in Berlin
        (OFFICE, "2026-07-06T16:00:00", False),
        (NIGHT, "2026-11-21T23:00:00", True),  # Saturday night
        (NIGHT, "2026-11-22T05:59:00", True),  # still Saturday's
        (NIGHT, "2026-11-22T06:00:00", False),
        (NIGHT, "2026-11-22T23:00:00", False),
        (ALWAYS, "2026-11-22T00:00:00", True),
        (ALWAYS, "2026-11-22T23:59:59", True),
    ],
)
def test_a_schedule_holds_on_its_days_and_hours(schedule: ScheduleSpec, moment: str, is_in_force: bool) -> None:
    now = dt.datetime.fromisoformat(moment).replace(tzinfo=dt.UTC)

    assert schedules.is_in_force(schedule, now=now) is is_in_force


def test_the_highest_of_those_in_force_is_the_minimum_and_says_so() -> None:
    model = ModelSpec(
        key="llm", reference="ai/x:latest", scale=ScaleSpec(min=1, max=4, schedule=(NIGHT, OFFICE), warm=1, target=9)
    )
    monday = dt.datetime(2026, 11, 23, 9, tzinfo=dt.UTC)

    at_work = scaling.policy_of(model, slots=4, now=monday)
    at_night = scaling.policy_of(model, slots=4, now=monday.replace(hour=20))

    assert (at_work.minimum, at_work.schedule) == (2, "The schedule keeps 2 from 08:00 to 18:00 (Europe/Berlin).")
    assert (at_night.minimum, at_night.schedule) == (1, "")
    assert (at_work.warm, at_work.per_replica, at_work.maximum) == (1, 9, 4)
