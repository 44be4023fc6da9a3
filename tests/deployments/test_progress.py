"""What a caller is told while it waits: the stage, how far it is, how long it may take."""

import datetime as dt

import pytest

from moorage.deployments.models import ReplicaStatus as R
from moorage.deployments.progress import File, Progress, PullMeter, of_replica

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


def test_a_pull_has_a_speed_and_an_end_over_its_files() -> None:
    meter = PullMeter([File(name="a", size_bytes=1000), File(name="b", size_bytes=9000)], now=0.0)

    first = meter.saw(500, now=1.0)
    last = meter.saw(4000, now=2.0)

    assert (first.bytes_per_second, first.seconds_left, first.file, first.files_done) == (500, 19, "a", 0)
    assert (last.bytes_per_second, last.seconds_left, last.file, last.files_done) == (2000, 3, "b", 1)


def test_what_was_on_the_node_already_says_nothing_of_the_speed() -> None:
    files = [File(name="a", size_bytes=5000, here_bytes=5000), File(name="b", size_bytes=5000, here_bytes=2000)]
    meter = PullMeter(files, now=0.0)

    begun = meter.saw(5000, now=1.0)
    after = meter.saw(8000, now=2.0)

    assert (begun.bytes_per_second, begun.seconds_left, begun.here_bytes) == (None, None, 7000)
    assert (after.bytes_per_second, after.seconds_left) == (500, 4)


def test_the_speed_is_that_of_the_last_seconds() -> None:
    meter = PullMeter([File(name="a", size_bytes=1_000_000)], now=0.0)
    for second in range(1, 31):
        meter.saw(second * 100, now=float(second))

    faster = [meter.saw(3000 + step * 1000, now=30.0 + step) for step in range(1, 13)]

    assert faster[-1].bytes_per_second == 1000
