"""A pool without hardware from end to end: placed on declared devices, scaled, asleep, awake, gone; never oversold."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.deployments import orphans, remains, waker
from moorage.deployments.load_window import LoadWindow
from moorage.deployments.models import Deployment, DeploymentStatus, ReplicaStatus, Route, RouteActivity, Scale, Wake
from moorage.fleet import services as fleet
from moorage.fleet.models import Device, Node, Reservation, Waiting
from moorage.kernel import clock
from tests.cast import Cast
from tests.deployments.pooled import (
    POOL,
    Pooled,
    caller,
    compose,
    is_empty,
    let_time_pass,
    place,
    standing,
    statuses,
)
from tests.deployments.stubbed_runtime import StubbedRuntime
from tests.fleet.test_oversold import sampled

D, R = DeploymentStatus, ReplicaStatus


@pytest.fixture
def pooled(committed_cast: Cast, database_url: str, short_tmp: Path, settings: object) -> Iterator[Pooled]:
    """Twelve declared nodes. Whatever a test does, nothing is held twice meanwhile, and nothing is left of it."""
    pool = short_tmp / "pool.yaml"
    pool.write_text(POOL.format(owner=committed_cast.alice.organization.pk))
    settings.MOORAGE_POOL = pool
    settings.MOORAGE_INSTANCE = "test"
    settings.MOORAGE_SOCKET_DIR = short_tmp / "s"
    settings.MOORAGE_STORE = short_tmp / "store"
    fleet.report()
    lies: list[str] = []
    counts: list[int] = []
    with StubbedRuntime(instance="test") as runtime, sampled(database_url, lies, counts):
        made = Pooled(runtime=runtime, sockets=short_tmp / "s")
        yield made
        for person in (committed_cast.alice, committed_cast.charlie):
            for deployment in Deployment.objects.for_organization(person.organization).not_deleted():
                made.delete(person, deployment.name)
        made.until(lambda: standing() == {}, what="the end of everything")
        assert runtime.list() == ()
        assert is_empty() and not Waiting.objects.exists()
        assert list(made.sockets.iterdir()) == []
        assert not Route.objects.exists() and not Wake.objects.exists()
        assert orphans.reap(runtime=runtime) == ()
        report = remains.report_if_due(runtime=runtime)
        assert report is not None and report.found == []
    assert lies == [] and counts


def ready(pooled: Pooled, *deployments: Deployment) -> None:
    wanted = {deployment.name for deployment in deployments}
    pooled.until(lambda: {name for name, status in standing().items() if status == D.READY} >= wanted)


def ask(deployment: Deployment) -> None:
    """A gateway has a request for it."""
    Wake.objects.create(
        route_id=f"{deployment.pk}:llm", deployment_id=deployment.pk, model_key="llm", requested_at=clock.now()
    )


def test_each_model_gets_the_declared_devices_that_it_asks_for(pooled: Pooled, committed_cast: Cast) -> None:
    alice, charlie = committed_cast.alice, committed_cast.charlie

    whole = pooled.put(alice, "whole", compose("{gpus: 4, priority: high, node: {labels: {zone: a}}}"))
    every = pooled.put(alice, "every", compose("{gpus: all, node: {labels: {zone: b}}}"))
    slice_ = pooled.put(alice, "slice", compose("{gpu_memory: 10g}"))
    first = pooled.put(charlie, "first", compose("{gpu_memory: 30g, priority: low}"))
    second = pooled.put(charlie, "second", compose("{gpu_memory: 30g}"))
    large = pooled.put(charlie, "large", compose("{gpu_memory: 120g}"))
    bare = pooled.put(charlie, "bare", compose())
    ready(pooled, whole, every, slice_, first, second, large, bare)

    assert place(whole)[0].startswith("a-") and place(whole)[1] == ["H100"] * 4
    assert place(every)[0].startswith("b-") and place(every)[1] == ["H200"] * 2
    assert place(slice_) == ("own-1", ["H200 MIG 1g.18gb"])
    assert place(first) == place(second) and place(first)[1] == ["H100"]
    assert place(large)[1] == ["H200"] and place(large)[0] != place(every)[0]
    assert place(bare)[1] == []
    organizations = {
        one.organization_id for one in Device.objects.filter(node__name="own-1").exclude(organization_id="")
    }
    assert organizations == {alice.organization.pk}
    # What is declared and not there is given to no container, and a reader is told what was chosen and why.
    assert {replica.environment.get("CUDA_VISIBLE_DEVICES", "") for replica in whole.replicas.all()} == {""}
    assert "4 x H100 of 4 free" in caller(alice).get("deployments/whole/timeline")["data"].__repr__()


def test_what_finds_no_room_says_why_and_comes_when_somebody_has_left(pooled: Pooled, committed_cast: Cast) -> None:
    alice, charlie = committed_cast.alice, committed_cast.charlie
    eight = pooled.put(alice, "eight", compose("{gpus: 4}", scale="{min: 8, max: 8, idle: never}"))
    ready(pooled, eight)
    assert Device.objects.filter(name="H100", reservation=None).count() == 0

    ninth = pooled.put(charlie, "ninth", compose("{gpus: 4, priority: high}"))
    never = pooled.put(charlie, "never", compose("{gpus: 16}"))
    pooled.step()
    pooled.step()

    waiting = ninth.replicas.exclude(status=R.GONE).get()
    assert (waiting.status, waiting.reason_code) == (R.PENDING, "no_capacity")
    assert "in use" in waiting.reason or "free" in waiting.reason, waiting.reason
    hopeless = never.replicas.exclude(status=R.GONE).get()
    assert "4" in hopeless.reason, hopeless.reason
    assert [row.pk for row in Waiting.objects.all()] == [waiting.pk]
    pooled.put(alice, "eight", compose("{gpus: 4}", scale="{min: 7, max: 7, idle: never}"))
    ready(pooled, ninth)
    assert place(ninth)[1] == ["H100"] * 4


def test_more_load_takes_more_devices_and_less_gives_them_back(pooled: Pooled, committed_cast: Cast) -> None:
    text = compose("{gpus: 2, node: {labels: {zone: a}}}", scale="{min: 1, max: 4, idle: never, down_delay: 0}")
    deployment = pooled.put(committed_cast.alice, "grows", text)
    ready(pooled, deployment)
    assert Device.objects.exclude(reservation=None).count() == 2

    RouteActivity.objects.create(
        route_id=f"{deployment.pk}:llm", gateway_id="gw", in_flight=4, waiting=30, reported_at=clock.now()
    )
    pooled.until(lambda: deployment.replicas.filter(status=R.READY).count() == 4)
    assert Device.objects.exclude(reservation=None).count() == 8

    # A quiet minute that was looked at, without waiting for it.
    RouteActivity.objects.update(in_flight=0, waiting=0, reported_at=clock.now())
    now = int(clock.now().timestamp())
    window = LoadWindow(samples=tuple((at, 0.0) for at in range(now - 58, now, 2)), since=now - 120)
    Scale.objects.update(window=window.to_json(), panic_until=None)
    pooled.until(lambda: deployment.replicas.exclude(status=R.GONE).count() == 1)
    assert Device.objects.exclude(reservation=None).count() == 2


def test_a_sleeper_keeps_its_devices_while_frozen_gives_them_back_when_stopped_and_gets_some_when_woken(
    pooled: Pooled, committed_cast: Cast
) -> None:
    text = compose(
        "{gpus: 2, node: {labels: {zone: b}}}", scale="{min: 0, max: 1, idle: 60, sleep: {frozen: 10m, stopped: 2h}}"
    )
    deployment = pooled.put(committed_cast.alice, "sleeps", text)
    ready(pooled, deployment)
    replica = deployment.replicas.exclude(status=R.GONE).get()

    let_time_pass()
    pooled.until(lambda: statuses(deployment) == {R.FROZEN})
    pooled.until(lambda: pooled.runtime.list()[0].status == "paused")
    assert place(deployment)[1] == ["H200", "H200"]
    ask(deployment)
    waker.answer(deployment.pk, runtime=pooled.runtime)
    assert statuses(deployment) == {R.READY} and pooled.runtime.list()[0].status == "running"

    let_time_pass()
    pooled.until(lambda: statuses(deployment) == {R.FROZEN})
    let_time_pass()
    pooled.until(lambda: statuses(deployment) == {R.STOPPED} and is_empty())
    assert pooled.runtime.list()[0].status == "exited"
    ask(deployment)
    waker.answer(deployment.pk, runtime=pooled.runtime)

    assert deployment.replicas.get(status=R.READY).pk == replica.pk
    assert place(deployment)[1] == ["H200", "H200"]
    assert Reservation.objects.get().pk == replica.pk
    assert Node.objects.filter(is_emulated=False).count() == 0
