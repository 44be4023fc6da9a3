"""What is known of weights on nodes stays true: what has left a store, or was not used for long, draws nobody there."""

import datetime as dt
import shutil
from pathlib import Path

import pytest

from moorage.artifacts import services as artifacts
from moorage.artifacts.models import Artifact
from moorage.deployments import services, tasks, warm_nodes
from moorage.deployments.models import Deployment, Replica, ReplicaStatus
from moorage.fleet import known_weights
from moorage.fleet import services as fleet
from moorage.fleet.models import Node, NodeWeights
from moorage.fleet.placement import Demand
from moorage.kernel import clock
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE

GIB = 1024**3
R = ReplicaStatus


@pytest.fixture
def deployment(cast: Cast, short_tmp: Path, settings: object) -> Deployment:
    """Its weights are on this machine, and on another one that is as large."""
    settings.MOORAGE_STORE = short_tmp / "store"
    made = services.apply(
        organization=cast.alice.organization, name="demo", compose_text=COMPOSE, by=cast.alice.actor
    ).deployment
    artifacts.pull(artifact=Artifact.objects.get())
    node = fleet.register_node()
    other = Node.objects.create(
        name="another", memory_bytes=node.memory_bytes, cpu_millis=node.cpu_millis, runtime="memory"
    )
    for each in (node, other):
        NodeWeights.objects.create(node=each, digest=Artifact.objects.get().digest)
    return made


def known() -> set[str]:
    return set(NodeWeights.objects.values_list("node__name", flat=True))


def test_weights_that_have_left_the_store_of_this_machine_are_forgotten(
    deployment: Deployment, settings: object
) -> None:
    here = fleet.register_node().name
    warm_nodes.forget(now=clock.now())
    before = known()
    shutil.rmtree(settings.MOORAGE_STORE / "models")  # type: ignore[attr-defined]
    digest = Artifact.objects.get().digest

    tasks.forget_history()

    assert before == {here, "another"}
    assert known() == {"another"}, "of another machine's store nothing is known here"
    held = fleet.reserve(
        replica_id="rep_1", organization_id="org_1", demand=Demand(memory_bytes=GIB, cpu_millis=1, digest=digest)
    )
    assert held.node.name == "another" and "the weights are there" in held.why


def test_weights_that_nobody_has_used_for_long_are_forgotten_and_those_in_use_are_not(deployment: Deployment) -> None:
    node = fleet.register_node()
    NodeWeights.objects.update(seen_at=clock.now() - known_weights.UNUSED - dt.timedelta(hours=1))
    assert deployment.target is not None
    Replica.objects.create(
        deployment=deployment, revision=deployment.target, model_key="llm", status=R.FROZEN, node_id=node.pk
    )

    forgotten = warm_nodes.forget(now=clock.now())

    assert forgotten == 1
    assert known() == {node.name}
    assert NodeWeights.objects.get().seen_at > clock.now() - dt.timedelta(minutes=1)


def test_what_was_brought_again_is_known_again(deployment: Deployment, settings: object) -> None:
    Node.objects.filter(name="another").delete()
    shutil.rmtree(settings.MOORAGE_STORE / "models")  # type: ignore[attr-defined]
    warm_nodes.forget(now=clock.now())
    assert known() == set()
    fleet.reserve(replica_id="rep_1", organization_id="org_1", demand=Demand(memory_bytes=GIB, cpu_millis=1))
    artifacts.pull(artifact=Artifact.objects.get())
    fleet.note_weights(replica_id="rep_1", digest=Artifact.objects.get().digest)

    warm_nodes.forget(now=clock.now())

    assert known() == {fleet.register_node().name}
