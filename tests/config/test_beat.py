"""Beat by a clock that does not jump: a wall clock that is put back stops no sweep, one put forward sends no heap."""

import collections
import datetime as dt
import time
from typing import Any

import pytest
from celery import Celery
from celery.beat import ScheduleEntry, Scheduler
from celery.schedules import schedule
from django.conf import settings

from moorage.config import beat
from moorage.config.celery import app as ours
from moorage.kernel import clock

MINUTE, HOUR = 60.0, 3600.0


class Clocks:
    """A machine's two: the one that people set, and the one that only runs."""

    def __init__(self) -> None:
        self.began = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
        self.wall = self.steady = 0.0
        self.steady_now = beat.SteadyClock(wall=self.wall_now, seconds=lambda: self.steady)

    def wall_now(self) -> dt.datetime:
        return self.began + dt.timedelta(seconds=self.wall)

    def pass_by(self, seconds: float) -> None:
        self.wall += seconds
        self.steady += seconds


class Beat(Scheduler):
    """Celery's own, which only notes what it would have sent."""

    def __init__(self, clocks: Clocks) -> None:
        self.clocks = clocks
        self.sent: collections.Counter[str] = collections.Counter()
        app = Celery("test", set_as_current=False)
        app.now = clocks.wall_now
        app.conf.beat_schedule = beat.schedule(now=clocks.steady_now)
        super().__init__(app)

    def apply_entry(self, entry: ScheduleEntry, producer: Any = None) -> None:
        self.sent[entry.name] += 1

    @property
    def producer(self) -> None:
        return None

    def run(self, seconds: float) -> collections.Counter[str]:
        """What is sent in so many seconds, as Celery's loop does it: tick, and sleep for what the tick says."""
        self.sent.clear()
        until = self.clocks.steady + seconds
        while self.clocks.steady < until:
            # A tick takes time as well.
            self.clocks.pass_by(max(self.tick() or 0.0, 0.001))
        return +self.sent


@pytest.mark.parametrize("jump", [-HOUR, -24 * HOUR, HOUR, 0.0])
def test_a_wall_clock_that_jumps_changes_nothing_of_what_is_sent(jump: float) -> None:
    clocks = Clocks()
    running = Beat(clocks)
    running.run(MINUTE)
    clocks.wall += jump

    sent = running.run(MINUTE)

    for name, entry in beat.SCHEDULE.items():
        period = entry["schedule"].seconds
        if period > 2 * MINUTE:
            assert sent[name] == 0, f"{name} was sent in the first minute and is not due in the second"
        else:
            assert MINUTE / period - 1 <= sent[name] <= MINUTE / period * 1.1 + 1, name


def test_all_sweeps_are_due_when_beat_starts() -> None:
    running = Beat(Clocks())

    sent = running.run(1.0)

    assert set(sent) == set(beat.SCHEDULE)
    assert set(sent.values()) == {1}


def test_the_platforms_beat_goes_by_the_clock_that_only_runs_and_remembers_nothing() -> None:
    """A memory of when it last ran would be of a wall clock that may have been put back since."""
    assert ours.conf.beat_scheduler == "celery.beat:Scheduler"
    for entry in settings.CELERY_BEAT_SCHEDULE.values():
        assert isinstance(entry["schedule"], schedule)
        assert entry["schedule"].nowfun is beat.steady_now
    assert isinstance(beat.steady_now, beat.SteadyClock)
    assert beat.steady_now.seconds is time.monotonic
    before, began = beat.steady_now(), time.monotonic()
    assert abs(before - clock.now()) < dt.timedelta(minutes=5)
    assert beat.steady_now() - before <= dt.timedelta(seconds=time.monotonic() - began + 0.001)
