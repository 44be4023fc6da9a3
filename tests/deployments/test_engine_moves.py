"""A model whose new revision is of another format, and so of another engine: an update like any other, but no trial."""

from moorage.deployments.models import Replica, ReplicaStatus, Revision, Update, UpdateState
from tests.cast import Cast
from tests.deployments.conftest import apply
from tests.deployments.test_updates import CANARY, compose, look, put_replica

R, U = ReplicaStatus, UpdateState


def safetensors(update: str = "{}") -> str:
    return compose(256, update).replace("catalog/harbour:q8_0", "catalog/harbour-vllm:f16")


def test_requests_go_to_the_old_engine_until_the_new_one_is_ready_and_to_no_mixture_of_both(
    committed_cast: Cast,
) -> None:
    deployment = apply(committed_cast, compose(256))
    assert deployment.target is not None
    old = put_replica(deployment, deployment.target)
    assert look(deployment).engine == "llamacpp"

    deployment = apply(committed_cast, safetensors(CANARY))
    before = look(deployment)
    new = put_replica(deployment, Revision.objects.get(number=2), R.STARTING)
    meanwhile = look(deployment)
    Replica.objects.filter(pk=new.pk).update(status=R.READY)
    after = look(deployment)
    look(deployment)

    # What cannot share a route cannot be tried beside the other; it takes over as a whole.
    update = Update.objects.get()
    assert (update.trial_since, update.state) == (None, U.DONE)
    for route in (before, meanwhile):
        assert (route.engine, [one.id for one in route.replicas], route.trial) == ("llamacpp", [old.pk], "")
    assert (after.engine, [one.id for one in after.replicas]) == ("vllm", [new.pk])
    old.refresh_from_db()
    assert (old.status, old.reason_code) == (R.DRAINING, "new_revision")


def test_the_way_back_to_the_engine_before_is_the_same(committed_cast: Cast) -> None:
    deployment = apply(committed_cast, safetensors())
    assert deployment.target is not None
    old = put_replica(deployment, deployment.target)
    assert look(deployment).engine == "vllm"

    deployment = apply(committed_cast, compose(256))
    assert look(deployment).engine == "vllm"
    new = put_replica(deployment, Revision.objects.get(number=2))
    after = look(deployment)

    assert (after.engine, [one.id for one in after.replicas]) == ("llamacpp", [new.pk])
    old.refresh_from_db()
    assert old.status == R.DRAINING


def test_a_move_of_two_changes_engines_only_when_both_are_ready(committed_cast: Cast) -> None:
    two = "scale: {min: 2, max: 2, idle: never}"
    deployment = apply(committed_cast, compose(256).replace("scale: {min: 1, idle: never}", two))
    assert deployment.target is not None
    olds = {put_replica(deployment, deployment.target).pk for _ in range(2)}
    look(deployment)

    deployment = apply(committed_cast, safetensors().replace("scale: {min: 1, idle: never}", two))
    target = Revision.objects.get(number=2)
    first = put_replica(deployment, target)
    half = look(deployment)
    second = put_replica(deployment, target)
    whole = look(deployment)

    assert (half.engine, bool(half.replicas)) == ("llamacpp", True)
    assert {one.id for one in half.replicas} == olds, "none goes before both of the new ones are there"
    assert (whole.engine, {one.id for one in whole.replicas}) == ("vllm", {first.pk, second.pk})
