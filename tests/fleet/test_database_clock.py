"""One clock for all machines: the database's, where a machine's own is wrong."""

import datetime as dt

import pytest
from django.db import connection

from moorage.fleet.database_clock import correction, now

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


@pytest.mark.parametrize(
    ("database", "added"),
    [
        (NOW, dt.timedelta()),
        (NOW + dt.timedelta(milliseconds=900), dt.timedelta()),
        (NOW + dt.timedelta(hours=1), dt.timedelta(hours=1)),
        (NOW - dt.timedelta(days=35), -dt.timedelta(days=35)),
    ],
)
def test_a_clock_is_corrected_when_it_is_wrong_by_more_than_a_second(
    database: dt.datetime, added: dt.timedelta
) -> None:
    assert correction(wall=NOW, database=database) == added


@pytest.mark.django_db
def test_it_is_the_databases_time() -> None:
    found = now()

    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (database,) = cursor.fetchone()
    assert abs(database - found) < dt.timedelta(seconds=5)
