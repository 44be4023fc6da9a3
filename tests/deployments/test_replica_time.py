"""Replica seconds by state, as they are written down."""

import datetime as dt
import threading

from django.db import connection
from django.db.models import Sum

from moorage.deployments import replica_time, routes, states
from moorage.deployments.models import Replica, ReplicaStatus, RouteActivity, StatusSpan
from moorage.deployments.reasons import Reason
from moorage.kernel import clock
from moorage.metering.models import ReplicaUsage
from tests.cast import Cast
from tests.console.usage_rows import deployed

R = ReplicaStatus


def seconds(count: float) -> dt.timedelta:
    return dt.timedelta(seconds=count)


def lived(cast: Cast, began: dt.datetime, *statuses: tuple[ReplicaStatus, float]) -> Replica:
    """A replica that took on each status so many seconds after ``began``."""
    replica = deployed(cast.alice.organization)
    StatusSpan.objects.filter(replica=replica).delete()
    for status, after in statuses:
        StatusSpan.objects.create(replica=replica, status=status, began_at=began + seconds(after))
    ends = [after for status, after in statuses if status in {R.STOPPING, R.FAILED}]
    ended_at = began + seconds(ends[0]) if ends else None
    Replica.objects.filter(pk=replica.pk).update(ended_at=ended_at, metered_until=None, status=statuses[-1][0])
    replica.refresh_from_db()
    return replica


def busy(replica: Replica, *ranges: tuple[dt.datetime, dt.datetime], gateway: str = "gw_a") -> None:
    RouteActivity.objects.create(
        route_id=routes.route_id(replica.deployment_id, replica.model_key),
        gateway_id=gateway,
        reported_at=clock.now(),
        busy={replica.pk: [[int(begin.timestamp() * 1e6), int(end.timestamp() * 1e6)] for begin, end in ranges]},
    )


def metered() -> dict[str, int]:
    rows = ReplicaUsage.objects.order_by().values_list("state").annotate(total=Sum("seconds"))
    return {state: int(total) for state, total in rows}


def test_each_second_is_in_one_state(cast: Cast) -> None:
    now = clock.now().replace(microsecond=0)
    began = now - seconds(200)
    replica = lived(cast, began, (R.PLACED, 0), (R.STARTING, 20), (R.READY, 30), (R.FROZEN, 80), (R.STOPPING, 100))
    busy(replica, (began + seconds(40), began + seconds(50)))
    busy(replica, (began + seconds(45), began + seconds(55)), gateway="gw_b")

    for moment in (0, 33, 33, 47, 20, 90, 150, 200):
        replica_time.record_all(now=began + seconds(moment))

    assert metered() == {"pull": 20, "load": 10, "busy": 15, "idle": 35, "frozen": 20}
    replica.refresh_from_db()
    assert replica.metered_until == replica.ended_at


def test_a_replica_that_never_served_is_metered_for_what_it_held(cast: Cast) -> None:
    now = clock.now()
    lived(cast, now - seconds(100), (R.PENDING, 0), (R.PLACED, 10), (R.PULLING, 11), (R.FAILED, 51), (R.STOPPING, 52))

    replica_time.record_all(now=now)

    assert metered() == {"pull": 41}


def test_waiting_for_room_and_being_stopped_are_nothing(cast: Cast) -> None:
    now = clock.now()
    lived(cast, now - seconds(100), (R.PENDING, 0), (R.READY, 10), (R.STOPPED, 20), (R.STARTING, 60), (R.READY, 65))

    replica_time.record_all(now=now)

    assert metered() == {"idle": 10 + 30, "load": 5}


def test_a_month_gets_its_own_seconds(cast: Cast) -> None:
    border = dt.datetime(2026, 11, 1, tzinfo=dt.UTC)
    lived(cast, border - seconds(60), (R.READY, 0), (R.STOPPING, 100))

    replica_time.record_all(now=border + seconds(300))

    october = ReplicaUsage.objects.filter(ended_at__lt=border).aggregate(total=Sum("seconds"))["total"]
    november = ReplicaUsage.objects.filter(ended_at__gte=border).aggregate(total=Sum("seconds"))["total"]
    assert (october, november) == (60, 40)


def test_a_clock_that_goes_back_charges_nothing_twice(cast: Cast) -> None:
    now = clock.now()
    lived(cast, now - seconds(100), (R.READY, 0))

    first = replica_time.record_all(now=now)
    back = replica_time.record_all(now=now - seconds(60))
    again = replica_time.record_all(now=now)

    assert (first, back, again) == (95, 0, 0)
    assert metered() == {"idle": 95}


def test_every_move_begins_a_span(cast: Cast) -> None:
    replica = deployed(cast.alice.organization)
    Replica.objects.filter(pk=replica.pk).update(status=R.PENDING)
    replica.refresh_from_db()
    StatusSpan.objects.filter(replica=replica).delete()

    states.move_replica(replica, to=R.PENDING, reason=Reason.NO_CAPACITY)
    states.move_replica(replica, to=R.PLACED, reason=Reason.PLACED)
    states.move_replica(replica, to=R.PULLING, reason=Reason.PULLING)

    spans = list(StatusSpan.objects.filter(replica=replica).order_by("pk").values_list("status", "began_at"))
    assert [status for status, _ in spans] == ["placed", "pulling"]
    assert spans[-1][1] == replica.status_changed_at


def test_the_last_seconds_name_the_devices_that_were_held(cast: Cast) -> None:
    now = clock.now()
    replica = lived(cast, now - seconds(100), (R.READY, 0), (R.STOPPING, 90))
    ReplicaUsage.objects.create(
        organization_id=cast.alice.organization.pk,
        deployment_id=replica.deployment_id,
        revision_id=replica.revision_id,
        replica_id=replica.pk,
        model_key="llm",
        device_class="NVIDIA L4",
        seconds=10,
        started_at=now - seconds(110),
        ended_at=now - seconds(100),
    )

    replica_time.record_all(now=now)

    assert set(ReplicaUsage.objects.values_list("device_class", flat=True)) == {"NVIDIA L4"}


def test_statuses_are_forgotten_a_day_after_the_end(cast: Cast) -> None:
    now = clock.now()
    lived(cast, now - seconds(100), (R.READY, 0), (R.STOPPING, 50))
    replica_time.record_all(now=now)

    kept = replica_time.forget(now=now)
    forgotten = replica_time.forget(now=now + replica_time.KEPT)

    assert (kept, forgotten) == (0, 2)


def test_two_workers_at_once_meter_each_second_once(committed_cast: Cast) -> None:
    now = clock.now()
    lived(committed_cast, now - seconds(300), (R.READY, 0))
    barrier = threading.Barrier(2)

    def work() -> None:
        try:
            for step in range(20):
                barrier.wait(timeout=30)
                replica_time.record_all(now=now - seconds(295 - 15 * step))
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(timeout=120)
    replica_time.record_all(now=now)

    assert metered() == {"idle": 295}
