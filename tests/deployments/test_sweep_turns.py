"""Sweeps take turns by a row of the database: a wrong clock drops none, and what has piled up costs a statement."""

import datetime as dt
from typing import Any

import pytest
from celery import shared_task
from django.conf import settings as django_settings
from django.db import connection
from django.test.utils import CaptureQueriesContext

from moorage.config.celery import app
from moorage.deployments import sweep_turns
from moorage.deployments.models import SweepTurn
from moorage.fleet import database_clock

swept: list[str] = []


@shared_task(name="tests.sweep")
def sweep_of_tests() -> None:
    """Leaves a mark."""
    swept.append("swept")


@pytest.fixture(autouse=True)
def nothing_swept(committed_db: None) -> None:
    swept.clear()


def poke(**of_message: Any) -> None:
    """A message of beat arrives at a worker."""
    task = app.tasks["tests.sweep"]
    task.apply(headers={"every": 5.0}, throw=True, **of_message)


def age(seconds: float) -> None:
    """So much time passes for the last turn."""
    turn = SweepTurn.objects.get()
    SweepTurn.objects.update(begun_at=turn.begun_at - dt.timedelta(seconds=seconds))


def test_no_message_of_beat_has_an_expiry_and_each_says_how_often_it_comes() -> None:
    schedule = django_settings.CELERY_BEAT_SCHEDULE

    assert not [name for name, entry in schedule.items() if "expires" in entry["options"]]
    assert all(entry["options"]["headers"] == {"every": entry["schedule"].seconds} for entry in schedule.values())


def test_pokes_that_have_piled_up_sweep_once_and_cost_one_statement_each() -> None:
    poke()

    with CaptureQueriesContext(
        connection,
    ) as queries:
        for _ in range(20):
            poke()

    assert swept == ["swept"]
    assert len(queries) == 20


def test_a_sweep_is_done_again_when_its_interval_has_passed() -> None:
    poke()
    age(5)

    poke()

    assert swept == ["swept", "swept"]


def test_one_that_is_at_it_is_waited_for_and_one_that_died_is_not_for_long() -> None:
    with sweep_turns.taking("tests.sweep", every_seconds=5) as is_ours:
        assert is_ours
        age(6)
        poke()
        assert swept == []
        SweepTurn.objects.update(held_until=database_clock.now() - dt.timedelta(seconds=1))
        poke()

    assert swept == ["swept"]


def test_a_database_clock_that_was_put_back_stops_no_sweep() -> None:
    poke()
    age(-3600)

    poke()

    assert swept == ["swept", "swept"]


def test_who_is_called_by_anybody_but_beat_is_not_asked_whose_turn_it_is() -> None:
    for _ in range(2):
        app.tasks["tests.sweep"].apply(throw=True)

    assert swept == ["swept", "swept"]
    assert not SweepTurn.objects.exists()
