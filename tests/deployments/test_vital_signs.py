"""A replica that answers health and gives no token is found and replaced; one that serves is left alone.

The engine is a real HTTP server behind a Unix socket, the container one of the memory runtime, the database real.
"""

import datetime as dt
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from moorage.deployments import life, reconcile, services, vital_signs
from moorage.deployments.models import Deployment, Replica, ReplicaStatus, RouteActivity, Vitality
from moorage.deployments.vitality import Policy
from moorage.fleet.runner_output import Usage
from moorage.fleet.runtime_memory import MemoryRuntime
from moorage.kernel import clock
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE
from tests.deployments.stub_engine import StubEngine
from tests.deployments.stubbed_runtime import StubbedRuntime
from tests.waiting import wait_until

R = ReplicaStatus
SECOND = dt.timedelta(seconds=1)
#: The rule of production with the clock turned up a hundredfold.
QUICK = Policy(
    silent_after=0.5 * SECOND,
    idle_every=0.2 * SECOND,
    again_after=0.05 * SECOND,
    answer_within=0.2 * SECOND,
    idle_patience=0.3 * SECOND,
    busy_patience=3 * SECOND,
    working_patience=30 * SECOND,
)


class Quay:
    """One ready replica whose engine is a stub."""

    def __init__(self, deployment: Deployment, runtime: MemoryRuntime, engine: StubEngine) -> None:
        self.deployment = deployment
        self.runtime = runtime
        self.engine = engine
        self.replica = Replica.objects.get(status=R.READY)

    def check(self) -> tuple[str, ...]:
        return vital_signs.check(runtime=self.runtime, policy=QUICK)

    def report(self, *, in_flight: int, silent: float, broken: bool = False) -> None:
        """What a gateway says now."""
        RouteActivity.objects.update_or_create(
            route_id=f"{self.deployment.pk}:llm",
            gateway_id="gw",
            defaults={
                "in_flight": in_flight,
                "replicas": {self.replica.pk: in_flight} if in_flight else {},
                "signs": {self.replica.pk: {"silent": silent, "broken": broken}},
                "last_request_at": clock.now(),
                "reported_at": clock.now(),
            },
        )

    def is_stuck(self) -> bool:
        return Vitality.objects.filter(stuck_at__isnull=False).exists()


@pytest.fixture
def quay(committed_cast: Cast, short_tmp: Path) -> Iterator[Quay]:
    runtime = StubbedRuntime(instance="test")
    places = {"MOORAGE_SOCKET_DIR": short_tmp / "s", "MOORAGE_STORE": short_tmp / "store", "MOORAGE_INSTANCE": "test"}
    with override_settings(**places):
        deployment = services.apply(
            organization=committed_cast.alice.organization,
            name="demo",
            compose_text=COMPOSE,
            by=committed_cast.alice.actor,
        ).deployment
        with runtime:
            for replica_id in reconcile.reconcile(deployment.pk, runtime=runtime):
                life.drive(replica_id, runtime=runtime)
            yield Quay(deployment, runtime, runtime.engines[0])


def test_one_that_gives_no_token_is_found_and_replaced(quay: Quay) -> None:
    quay.engine.answers.clear()

    wait_until(quay.check)
    reconcile.reconcile(quay.deployment.pk, runtime=quay.runtime)

    quay.replica.refresh_from_db()
    assert quay.replica.status == R.FAILED
    assert quay.replica.reason.startswith("The engine said that it is well and produced no token any more. Asked ")

    def is_replaced() -> bool:
        for replica_id in reconcile.reconcile(quay.deployment.pk, runtime=quay.runtime):
            life.drive(replica_id, runtime=quay.runtime)
        return Replica.objects.filter(status=R.READY).exclude(pk=quay.replica.pk).exists()

    wait_until(is_replaced)
    quay.replica.refresh_from_db()
    assert quay.replica.status == R.GONE
    assert quay.deployment.timeline.filter(code="replica_failed", replica=quay.replica).exists()


def test_one_that_answers_is_asked_now_and_then_and_left_alone(quay: Quay) -> None:
    before = quay.engine.questions

    wait_until(lambda: quay.check() or quay.engine.questions >= before + 3)

    assert not quay.is_stuck()
    row = Vitality.objects.get()
    assert row.failures == 0 and row.probes >= 3 and row.token_at is not None


def test_one_whose_tokens_flow_is_never_asked(quay: Quay) -> None:
    quay.engine.answers.clear()
    before = quay.engine.questions
    until = clock.now() + 2 * SECOND

    while clock.now() < until:
        quay.report(in_flight=4, silent=0.0)
        assert quay.check() == ()

    assert quay.engine.questions == before


def test_one_at_a_long_prompt_is_asked_and_not_given_up_while_it_works(quay: Quay) -> None:
    quay.engine.answers.clear()
    begun = clock.now()
    cpu = 0.0

    def works() -> bool:
        nonlocal cpu
        cpu += 5.0
        quay.runtime.usages[quay.replica.container_name] = Usage(cpu_seconds=cpu)
        quay.report(in_flight=2, silent=(clock.now() - begun).total_seconds() + 1)
        assert quay.check() == ()
        # Longer than an engine without work would have.
        row = Vitality.objects.first()
        return bool(row and row.failures >= 5 and row.failing_since and clock.now() - row.failing_since > 4 * SECOND)

    wait_until(works)
    quay.engine.answers.set()
    wait_until(lambda: quay.check() or Vitality.objects.get().failures == 0)

    assert not quay.is_stuck()


def test_one_that_has_requests_and_does_nothing_is_given_up_later_than_an_idle_one(quay: Quay) -> None:
    quay.engine.answers.clear()
    begun = clock.now()
    quay.runtime.usages[quay.replica.container_name] = Usage(cpu_seconds=1.0)

    def found() -> bool:
        quay.report(in_flight=2, silent=(clock.now() - begun).total_seconds() + 1)
        return bool(quay.check())

    wait_until(found)

    row = Vitality.objects.get()
    assert row.stuck_at is not None and row.failing_since is not None
    assert row.stuck_at - row.failing_since >= QUICK.busy_patience
    assert "with 2 requests in it" in row.detail


def test_a_worker_that_cannot_reach_the_runtime_gives_nobody_up(quay: Quay) -> None:
    quay.engine.answers.clear()
    quay.runtime.is_reachable = False
    until = clock.now() + 2 * SECOND

    while clock.now() < until:
        assert quay.check() == ()

    reconcile.reconcile(quay.deployment.pk, runtime=quay.runtime)
    assert Replica.objects.get().status == R.READY


def test_a_worker_that_cannot_see_a_socket_gives_nobody_up_that_a_gateway_can_see(quay: Quay) -> None:
    Replica.objects.update(socket=quay.replica.socket + "x")
    until = clock.now() + 2 * SECOND

    while clock.now() < until:
        assert quay.check() == ()

    assert Vitality.objects.get().failures == 0
    Replica.objects.update(ready_at=clock.now())

    def found() -> bool:
        quay.report(in_flight=0, silent=60.0, broken=True)
        return bool(quay.check())

    assert wait_until(found)
