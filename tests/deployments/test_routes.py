"""What the gateways are told of a model: who serves it with how many places, or how far it is on its way."""

import datetime as dt

import msgspec
import pytest

from moorage.artifacts.models import Artifact
from moorage.deployments import pins, queries, reconcile
from moorage.deployments.models import Deployment, Replica, ReplicaStatus, Route, TimelineEvent
from moorage.fleet.engines import Engine
from moorage.fleet.runtime_memory import MemoryRuntime
from moorage.kernel import clock
from moorage.wire import records
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE, apply


def put_replica(deployment: Deployment, status: ReplicaStatus, **values: object) -> Replica:
    """A replica that somebody drives, so that a look leaves it as it is."""
    known: dict[str, object] = {"lease_until": clock.now() + dt.timedelta(minutes=5), "reason_code": status.value}
    return Replica.objects.create(
        deployment=deployment,
        revision=deployment.target,
        model_key="llm",
        status=status,
        **{**known, **values},  # type: ignore[misc]
    )


def looked_at(deployment: Deployment) -> records.Route:
    reconcile.reconcile(deployment.pk, runtime=MemoryRuntime(instance="test"))
    return msgspec.convert(Route.objects.get(deployment=deployment).document, records.Route)


def test_a_pull_is_told_with_its_percentage_and_its_end(committed_cast: Cast) -> None:
    deployment = apply(committed_cast)
    began = clock.now() - dt.timedelta(seconds=10)
    put_replica(deployment, ReplicaStatus.PULLING, pulled_bytes=42_000, total_bytes=100_000, status_changed_at=began)

    route = looked_at(deployment)

    assert (route.status, route.stage, route.percent) == ("provisioning", "pulling", 42)
    assert route.expected_at == pytest.approx(clock.now().timestamp() + 10 * 58 / 42, abs=5)


def test_a_start_is_expected_to_take_as_long_as_the_last_one(committed_cast: Cast) -> None:
    deployment = apply(committed_cast)
    then = clock.now() - dt.timedelta(hours=1)
    last = put_replica(deployment, ReplicaStatus.GONE, ready_at=then + dt.timedelta(seconds=45))
    TimelineEvent.objects.create(
        deployment=deployment, replica=last, code="replica_starting", message="", by="moorage", at=then
    )
    now = put_replica(deployment, ReplicaStatus.STARTING)

    route = looked_at(deployment)

    assert queries.last_start(deployment, "llm") == dt.timedelta(seconds=45)
    assert (route.stage, route.percent) == ("starting", None)
    assert route.expected_at == pytest.approx(now.status_changed_at.timestamp() + 45, abs=1)


def test_nothing_is_promised_of_a_first_start(committed_cast: Cast) -> None:
    deployment = apply(committed_cast)
    put_replica(deployment, ReplicaStatus.STARTING)

    route = looked_at(deployment)

    assert (route.stage, route.expected_at) == ("starting", 0)


@pytest.mark.parametrize(
    ("argv", "slots"),
    [
        (["llama-server", "--parallel", "3", "--threads", "1"], 3),
        (["python3", "--max-num-seqs", "16"], 16),
        (["of another version"], 0),
    ],
)
def test_a_ready_replica_has_the_places_it_was_started_with(committed_cast: Cast, argv: list[str], slots: int) -> None:
    deployment = apply(committed_cast)
    put_replica(deployment, ReplicaStatus.READY, argv=argv, socket="/s/1", ready_at=clock.now())

    route = looked_at(deployment)

    assert [replica.slots for replica in route.replicas] == [slots]
    assert (route.stage, route.percent, route.expected_at) == ("", None, 0)


def test_a_draining_replica_is_no_part_of_the_route(committed_cast: Cast) -> None:
    deployment = apply(committed_cast)
    serving = put_replica(deployment, ReplicaStatus.READY, socket="/s/1", ready_at=clock.now())
    put_replica(deployment, ReplicaStatus.DRAINING, socket="/s/2", ready_at=clock.now())

    route = looked_at(deployment)

    assert [replica.id for replica in route.replicas] == [serving.pk]


def test_parallel_requests_that_a_file_asks_for_are_counted_and_given_memory(cast: Cast) -> None:
    text = COMPOSE.replace("context_size: 256", 'context_size: 256\n    runtime_flags: ["--parallel 8"]')

    target = apply(cast, text).target

    assert target is not None
    pin = pins.Pin.from_json(target.pins["llm"])
    facts = Artifact.objects.get(pk=pin.artifact_id).model_facts
    eight, four = (
        pins.memory_demand(facts, engine=Engine.LLAMACPP, context_size=1 << 20, slots=slots, gpus=0) for slots in (8, 4)
    )
    assert pin.slots == 8
    assert eight > 1.5 * four
