"""Who comes first gets room from who comes after and is called by nobody; what answers somebody keeps its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.deployments.models import Deployment, DeploymentStatus, ReplicaStatus, RouteActivity, Scale, Wake
from moorage.fleet import services as fleet
from moorage.fleet.models import Reservation
from moorage.kernel import clock
from tests.cast import Cast
from tests.deployments.pooled import Pooled, compose, let_time_pass, place, standing, statuses
from tests.deployments.stubbed_runtime import StubbedRuntime

D, R = DeploymentStatus, ReplicaStatus
#: One node of two GPUs.
POOL = "nodes: [{name: only, memory: 64g, cpus: 32, gpus: [{count: 2, name: H100, memory: 80g}]}]"
#: Not idle for hours by its own measure; quiet for a minute is enough for who comes first.
LOW = compose("{gpus: 1, priority: low}", scale="{min: 0, max: 1, idle: 12h, sleep: {frozen: 10m, stopped: 2h}}")
HIGH = compose("{gpus: 1, priority: high}", scale="{min: 0, max: 1, idle: 12h}")


@pytest.fixture
def pooled(committed_cast: Cast, short_tmp: Path, settings: object) -> Iterator[Pooled]:
    pool = short_tmp / "pool.yaml"
    pool.write_text(POOL)
    settings.MOORAGE_POOL = pool
    settings.MOORAGE_INSTANCE = "test"
    settings.MOORAGE_SOCKET_DIR = short_tmp / "s"
    settings.MOORAGE_STORE = short_tmp / "store"
    fleet.report()
    with StubbedRuntime(instance="test") as runtime:
        yield Pooled(runtime=runtime, sockets=short_tmp / "s")


@pytest.fixture
def low(pooled: Pooled, committed_cast: Cast) -> tuple[Deployment, Deployment]:
    """Two deployments of low priority hold both GPUs, and nobody has called them for hours."""
    both = tuple(pooled.put(committed_cast.charlie, name, LOW) for name in ("one", "two"))
    pooled.until(lambda: set(standing().values()) == {D.READY} and len(standing()) == 2)
    let_time_pass()
    Scale.objects.update(active_at=clock.now())
    return both  # type: ignore[return-value]


def say(deployment: Deployment) -> str:
    return "\n".join(f"{event.code}: {event.message}" for event in deployment.timeline.order_by("at", "id"))


def call(deployment: Deployment, *, in_flight: int = 1) -> None:
    """A gateway has this many requests in its replica."""
    replica = deployment.replicas.get(status=R.READY)
    RouteActivity.objects.update_or_create(
        route_id=f"{deployment.pk}:llm",
        gateway_id="gw",
        defaults={
            "in_flight": in_flight,
            "replicas": {replica.pk: in_flight},
            "last_request_at": clock.now(),
            "reported_at": clock.now(),
        },
    )


def test_who_comes_first_takes_the_room_of_one_that_nobody_calls_and_both_timelines_say_so(
    pooled: Pooled, low: tuple[Deployment, Deployment], committed_cast: Cast
) -> None:
    high = pooled.put(committed_cast.alice, "high", HIGH)

    pooled.until(lambda: statuses(high) == {R.READY})

    assert place(high) == ("only", ["H100"])
    away = next(one for one in low if statuses(one) != {R.READY})
    stays = next(one for one in low if one != away)
    assert statuses(stays) == {R.READY}, "one is enough"
    asleep = away.replicas.exclude(status=R.GONE).get()
    assert (asleep.status, asleep.reason_code) == (R.STOPPED, "memory_needed")
    assert not Reservation.objects.filter(pk=asleep.pk).exists()
    away.refresh_from_db()
    pooled.step()
    assert Deployment.objects.get(pk=away.pk).status == D.IDLE
    assert Scale.objects.get(deployment=away).wanted == 0
    assert not away.replicas.filter(status=R.PENDING).exists(), "nobody waits for what nobody calls"
    assert "room_made: One replica that nobody called makes way for llm." in say(high)
    assert "replica_draining: Nobody called it and another replica needed its memory. That one has high" in say(away)
    assert "scaled: llm: from 1 to 0 replicas. Nobody called it" in say(away)


def test_who_made_way_comes_back_when_it_is_called_and_there_is_room(
    pooled: Pooled, low: tuple[Deployment, Deployment], committed_cast: Cast
) -> None:
    high = pooled.put(committed_cast.alice, "high", HIGH)
    pooled.until(lambda: statuses(high) == {R.READY})
    away = next(one for one in low if statuses(one) != {R.READY})
    pooled.delete(committed_cast.alice, "high")
    pooled.until(lambda: "high" not in standing())

    Wake.objects.create(route_id=f"{away.pk}:llm", deployment_id=away.pk, model_key="llm", requested_at=clock.now())
    pooled.until(lambda: statuses(away) == {R.READY})

    assert Reservation.objects.count() == 2


def test_what_answers_somebody_is_never_put_away(
    pooled: Pooled, low: tuple[Deployment, Deployment], committed_cast: Cast
) -> None:
    for deployment in low:
        call(deployment)
    before = {replica.pk for deployment in low for replica in deployment.replicas.all()}

    high = pooled.put(committed_cast.alice, "high", HIGH)
    for _ in range(4):
        pooled.step()

    waiting = high.replicas.exclude(status=R.GONE).get()
    assert (waiting.status, waiting.reason_code) == (R.PENDING, "no_capacity")
    assert {held.pk for held in Reservation.objects.all()} == before
    assert all("memory_needed" not in say(deployment) for deployment in low)


def test_a_request_that_comes_while_one_makes_way_keeps_it_at_work(
    pooled: Pooled, low: tuple[Deployment, Deployment], committed_cast: Cast
) -> None:
    call(low[1])
    high = pooled.put(committed_cast.alice, "high", HIGH)

    # The request had been sent when the replica was chosen; its gateway says so a moment later.
    pooled.until(lambda: statuses(low[0]) == {R.DRAINING})
    replica = low[0].replicas.get(status=R.DRAINING)
    RouteActivity.objects.create(
        route_id=f"{low[0].pk}:llm",
        gateway_id="gw",
        in_flight=1,
        replicas={replica.pk: 1},
        last_request_at=clock.now(),
        reported_at=clock.now(),
    )
    pooled.until(lambda: statuses(low[0]) == {R.READY})
    for _ in range(3):
        call(low[0])
        call(low[1])
        pooled.step()

    replica.refresh_from_db()
    assert replica.status == R.READY
    assert statuses(high) == {R.PENDING}


def test_equals_do_not_put_each_other_away_while_they_are_awake(
    pooled: Pooled, low: tuple[Deployment, Deployment], committed_cast: Cast
) -> None:
    other = pooled.put(committed_cast.alice, "other", LOW)
    for _ in range(3):
        pooled.step()

    assert statuses(other) == {R.PENDING}
    assert all(statuses(one) == {R.READY} for one in low)
