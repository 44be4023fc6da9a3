"""What a caller is told while it waits: the stage, how far it is, how long it may take."""

import datetime as dt

import pytest

from moorage.deployments.models import ReplicaStatus as R
from moorage.deployments.progress import Progress, of_replica

NOW = dt.datetime(2026, 11, 22, 12, 0, tzinfo=dt.UTC)
START = dt.timedelta(seconds=30)


def at(seconds: float) -> dt.datetime:
    return NOW + dt.timedelta(seconds=seconds)


@pytest.mark.parametrize(
    ("status", "pulled", "total", "start_took", "expected"),
    [
        (R.PENDING, 0, 0, START, Progress(stage="pending")),
        (R.PLACED, 0, 0, None, Progress(stage="placed")),
        (R.PLACED, 0, 0, START, Progress(stage="placed", expected_at=at(20))),
        (R.PULLING, 0, 0, START, Progress(stage="pulling", expected_at=at(20))),
        (R.PULLING, 0, 800, START, Progress(stage="pulling", percent=0)),
        (R.PULLING, 200, 800, None, Progress(stage="pulling", percent=25, expected_at=at(30))),
        (R.PULLING, 200, 800, START, Progress(stage="pulling", percent=25, expected_at=at(60))),
        (R.PULLING, 800, 800, START, Progress(stage="pulling", percent=100, expected_at=at(30))),
        (R.STARTING, 800, 800, None, Progress(stage="starting")),
        (R.STARTING, 800, 800, START, Progress(stage="starting", expected_at=at(20))),
    ],
)
def test_progress_after_ten_seconds_of_a_stage(
    status: R, pulled: int, total: int, start_took: dt.timedelta | None, expected: Progress
) -> None:
    progress = of_replica(
        status,
        since=NOW - dt.timedelta(seconds=10),
        pulled_bytes=pulled,
        total_bytes=total,
        start_took=start_took,
        now=NOW,
    )

    assert progress == expected
