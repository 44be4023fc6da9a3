"""Updates through reconcile: a trial is routed by weight, judged by what gateways count, promoted or rolled back."""

import datetime as dt

import msgspec
import pytest

from moorage.accounts.models import AuditEntry
from moorage.deployments import forecast, queries, reconcile, services, updates
from moorage.deployments.errors import NoTrial, NoUpdate
from moorage.deployments.models import (
    Deployment,
    Replica,
    ReplicaStatus,
    Revision,
    Route,
    RouteActivity,
    Update,
    UpdateState,
)
from moorage.fleet import services as fleet
from moorage.fleet.runtime_memory import MemoryRuntime
from moorage.kernel import clock
from moorage.wire import records
from tests.cast import Cast
from tests.deployments.conftest import apply

R, U = ReplicaStatus, UpdateState


def compose(context: int, update: str = "{}") -> str:
    return f"""
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: {context}
    x-moorage: {{scale: {{min: 1, idle: never}}, update: {update}}}
"""


CANARY = "{canary: {weight: 10, for: 60s}}"


def put_replica(deployment: Deployment, revision: Revision, status: ReplicaStatus = R.READY, **more: object) -> Replica:
    """A replica that somebody drives, so that a look leaves it as it is; in place of the pending one, if there is."""
    deployment.replicas.filter(revision=revision, status=R.PENDING).update(status=R.GONE)
    known: dict[str, object] = {"lease_until": clock.now() + dt.timedelta(minutes=5), "ready_at": clock.now()}
    return Replica.objects.create(
        deployment=deployment,
        revision=revision,
        model_key="llm",
        status=status,
        socket=f"/s/{revision.number}",
        **{**known, **more},  # type: ignore[misc]
    )


def look(deployment: Deployment) -> records.Route:
    reconcile.reconcile(deployment.pk, runtime=MemoryRuntime(instance="test"))
    deployment.refresh_from_db()
    return msgspec.convert(Route.objects.get(deployment=deployment).document, records.Route)


def weights(route: records.Route) -> dict[str, int]:
    return {address.revision_id: address.weight for address in route.replicas}


def count(update: Update, *, canary: dict[str, int], baseline: dict[str, int]) -> None:
    """What two gateways have counted, half each."""
    for number in range(2):
        revisions = {
            str(update.revision_id): {name: value // 2 for name, value in canary.items()},
            str(update.baseline_id): {name: value // 2 for name, value in baseline.items()},
        }
        RouteActivity.objects.update_or_create(
            route_id=f"{update.deployment_id}:llm",
            gateway_id=f"gw_{number}",
            defaults={"reported_at": clock.now(), "figures": {"trial": update.pk, "revisions": revisions}},
        )


@pytest.fixture
def trial(committed_cast: Cast) -> Update:
    """Revision 2 on trial beside revision 1, both ready."""
    deployment = apply(committed_cast, compose(256))
    assert deployment.target is not None
    put_replica(deployment, deployment.target)
    look(deployment)
    deployment = apply(committed_cast, compose(512, CANARY))
    look(deployment)
    put_replica(deployment, Revision.objects.get(number=2))
    look(deployment)
    update = updates.open_of(deployment)
    assert update is not None
    return update


def codes(update: Update) -> list[str]:
    return list(update.deployment.timeline.order_by("id").values_list("code", flat=True))


def test_a_first_revision_is_no_update(committed_cast: Cast) -> None:
    deployment = apply(committed_cast, compose(256, CANARY))

    assert not Update.objects.exists()
    with pytest.raises(NoTrial):
        services.promote(deployment=deployment, by=committed_cast.alice.actor)
    with pytest.raises(NoUpdate):
        services.roll_back_update(deployment=deployment, by=committed_cast.alice.actor)


def test_a_trial_gets_its_share_and_the_revision_before_keeps_the_rest(trial: Update) -> None:
    route = look(trial.deployment)

    assert trial.state == U.TRIAL and trial.trial_since is not None
    assert weights(route) == {trial.revision_id: 10, trial.baseline_id: 90}
    assert (route.trial, route.context_size) == (trial.pk, 256)
    assert not trial.deployment.replicas.exclude(status__in=[R.READY, R.GONE]).exists()
    assert Deployment.objects.get().reason_code == "on_trial"
    assert "canary_began" in codes(trial)


def test_a_route_without_a_trial_has_no_weights(committed_cast: Cast) -> None:
    deployment = apply(committed_cast, compose(256))
    put_replica(deployment, Revision.objects.get())

    route = look(deployment)

    assert set(weights(route).values()) == {0}
    assert route.trial == "" and route.version > 0
    assert look(deployment).version == route.version


def test_a_failing_canary_is_rolled_back_with_its_figures_and_why(trial: Update) -> None:
    count(trial, canary={"requests": 20, "errors": 10}, baseline={"requests": 180})

    route = look(trial.deployment)

    trial.refresh_from_db()
    assert trial.state == U.ROLLED_BACK
    assert trial.why.startswith("10 of 20 requests failed (50.0%; at most 2.00%; 0 of 180")
    assert trial.figures["llm"]["canary"]["errors"] == 10
    deployment = Deployment.objects.get()
    assert deployment.target_id == trial.baseline_id
    assert set(weights(route)) == {trial.baseline_id} and route.trial == ""
    assert deployment.replicas.exclude(status=R.GONE).get(revision=trial.revision).status == R.DRAINING
    assert "canary_rolled_back" in codes(trial)
    assert AuditEntry.objects.filter(action="deployment.canary_rolled_back").exists()


def test_a_good_canary_is_promoted_after_its_time_and_takes_over(trial: Update) -> None:
    Update.objects.update(trial_since=clock.now() - dt.timedelta(seconds=61))
    count(trial, canary={"requests": 40}, baseline={"requests": 360})

    look(trial.deployment)
    route = look(trial.deployment)
    look(trial.deployment)

    trial.refresh_from_db()
    assert trial.state == U.DONE and "40 requests within every limit" in trial.why
    assert Deployment.objects.get().target_id == trial.revision_id
    assert weights(route) == {trial.revision_id: 0}
    assert codes(trial).count("canary_promoted") == 1 and "update_done" in codes(trial)


def test_figures_of_an_earlier_trial_do_not_count(trial: Update) -> None:
    count(trial, canary={"requests": 20, "errors": 10}, baseline={"requests": 180})
    RouteActivity.objects.update(figures={**RouteActivity.objects.first().figures, "trial": "upd_before"})  # type: ignore[union-attr]

    look(trial.deployment)

    trial.refresh_from_db()
    assert trial.state == U.TRIAL


def test_a_canary_that_never_becomes_ready_is_rolled_back(trial: Update) -> None:
    Replica.objects.filter(revision=trial.revision).update(status=R.GONE)
    Update.objects.update(trial_since=None)
    for _ in range(3):
        gone = put_replica(trial.deployment, trial.revision, R.GONE, ready_at=None, failed_at=clock.now())
        Replica.objects.filter(pk=gone.pk).update(reason_code="engine_exited", reason="The engine ended by itself.")

    look(trial.deployment)

    trial.refresh_from_db()
    assert trial.state == U.ROLLED_BACK
    assert trial.why == "It does not stay up. The engine ended by itself."


def test_a_canary_without_room_is_given_up_and_what_serves_stays(trial: Update) -> None:
    Replica.objects.filter(revision=trial.revision).update(status=R.GONE)
    Update.objects.update(trial_since=None, created_at=clock.now() - dt.timedelta(seconds=61))
    put_replica(trial.deployment, trial.revision, R.PENDING, ready_at=None, reason_code="room_held")

    route = look(trial.deployment)

    trial.refresh_from_db()
    assert trial.state == U.ROLLED_BACK and trial.why.startswith("There is no room for it beside what serves.")
    assert set(weights(route)) == {trial.baseline_id}


def test_a_file_sent_during_a_trial_is_tried_against_what_serves(trial: Update, committed_cast: Cast) -> None:
    first = trial.baseline_id

    deployment = apply(committed_cast, compose(384, CANARY))
    route = look(deployment)

    trial.refresh_from_db()
    now = updates.open_of(deployment)
    assert trial.state == U.SUPERSEDED
    assert now is not None and (now.revision.number, now.baseline_id, now.state) == (3, first, U.TRIAL)
    assert deployment.replicas.exclude(status=R.GONE).get(revision=trial.revision).status == R.DRAINING
    assert deployment.replicas.get(revision_id=first).status == R.READY
    assert set(weights(route)) == {first}


def test_a_rollback_during_a_trial_is_at_once_and_whole(trial: Update, committed_cast: Cast) -> None:
    services.roll_back(deployment=trial.deployment, number=1, by=committed_cast.alice.actor)
    route = look(trial.deployment)
    look(trial.deployment)

    trial.refresh_from_db()
    assert trial.state == U.SUPERSEDED
    assert weights(route) == {trial.baseline_id: 0}
    last = updates.last_of(trial.deployment)
    assert last is not None and last.state == U.DONE and last.revision.number == 1


def test_an_owner_ends_a_trial_either_way(trial: Update, committed_cast: Cast) -> None:
    alice = committed_cast.alice.actor

    assert services.promote(deployment=trial.deployment, by=alice).number == 2
    with pytest.raises(NoTrial):
        services.promote(deployment=trial.deployment, by=alice)
    assert services.roll_back_update(deployment=trial.deployment, by=alice).number == 1

    trial.refresh_from_db()
    assert (trial.state, trial.why) == (U.ROLLED_BACK, "Its owner has seen enough.")
    assert codes(trial)[-2:] == ["canary_promoted", "update_rolled_back"]
    with pytest.raises(NoUpdate):
        services.roll_back_update(deployment=trial.deployment, by=alice)


def test_a_deletion_during_a_trial_drains_both(trial: Update, committed_cast: Cast) -> None:
    services.delete(deployment=trial.deployment, by=committed_cast.alice.actor)
    reconcile.reconcile(trial.deployment_id, runtime=MemoryRuntime(instance="test"))

    assert set(Replica.objects.exclude(status=R.GONE).values_list("status", flat=True)) == {R.DRAINING}
    assert not Route.objects.exists()
    trial.refresh_from_db()
    assert trial.state == U.TRIAL, "nothing of it runs, so nothing is said of it"


def test_a_pause_during_a_trial_ends_nothing_and_a_resumption_goes_on(trial: Update, committed_cast: Cast) -> None:
    alice = committed_cast.alice.actor
    services.pause(deployment=trial.deployment, by=alice)
    look(trial.deployment)
    Replica.objects.update(status=R.GONE)

    services.resume(deployment=trial.deployment, by=alice)
    look(trial.deployment)

    wanted = Replica.objects.filter(status=R.PENDING).values_list("revision__number", flat=True)
    assert sorted(wanted) == [1, 2]
    trial.refresh_from_db()
    assert trial.state == U.TRIAL


def test_a_hold_that_fails_brings_the_revision_before_back(committed_cast: Cast) -> None:
    deployment = apply(committed_cast, compose(256))
    put_replica(deployment, Revision.objects.get())
    look(deployment)
    deployment = apply(committed_cast, compose(512, "{strategy: hold}"))
    look(deployment)
    new = Replica.objects.get(revision__number=2)
    assert Replica.objects.get(revision__number=1).status == R.READY
    Replica.objects.filter(pk=new.pk).update(reason_code="room_held", lease_until=clock.now() + dt.timedelta(minutes=5))

    swapped = look(deployment)
    assert (swapped.status, swapped.replicas) == ("provisioning", ())
    assert Replica.objects.get(revision__number=1).status == R.DRAINING
    Replica.objects.filter(revision__number=1).update(status=R.GONE)
    Replica.objects.filter(pk=new.pk).update(status=R.GONE, failed_at=clock.now(), reason_code="engine_exited")
    look(deployment)

    update = Update.objects.get(revision__number=2)
    assert update.state == U.ROLLED_BACK and update.why.startswith("It does not come up. The engine ended by itself.")
    assert Deployment.objects.get().target == update.baseline
    assert Replica.objects.get(status=R.PENDING).revision == update.baseline
    assert "update_rolled_back" in codes(update)
    # There is no way back from the way back.
    assert Update.objects.get(revision__number=1).baseline is None


def test_a_pause_during_a_hold_leaves_nothing_running(committed_cast: Cast) -> None:
    deployment = apply(committed_cast, compose(256))
    put_replica(deployment, Revision.objects.get(), R.DRAINING, status_changed_at=clock.now() - dt.timedelta(seconds=5))
    deployment = apply(committed_cast, compose(512, "{strategy: hold}"))
    put_replica(deployment, Revision.objects.get(number=2), R.PENDING, ready_at=None, reason_code="room_held")

    services.pause(deployment=deployment, by=committed_cast.alice.actor)
    route = look(deployment)

    assert route.status == "paused"
    assert set(Replica.objects.exclude(status=R.GONE).values_list("status", flat=True)) == {R.STOPPING}


def test_a_draining_replica_is_busy_until_every_gateway_has_heard(committed_cast: Cast) -> None:
    deployment = apply(committed_cast, compose(256))
    revision = Revision.objects.get()
    put_replica(deployment, revision)
    version = look(deployment).version
    long_ago = clock.now() - dt.timedelta(seconds=5)
    draining = put_replica(deployment, revision, R.DRAINING, status_changed_at=long_ago, reason_code="new_revision")
    activity = {"route_id": f"{deployment.pk}:llm", "gateway_id": "gw_1"}
    RouteActivity.objects.create(**activity, reported_at=clock.now(), heard=version - 1)

    look(deployment)
    draining.refresh_from_db()
    assert draining.status == R.DRAINING

    RouteActivity.objects.filter(gateway_id="gw_1").update(heard=version)
    look(deployment)
    draining.refresh_from_db()
    assert draining.status == R.STOPPING


def test_a_forecast_says_what_an_update_will_do(committed_cast: Cast) -> None:
    deployment = apply(committed_cast, compose(256))
    put_replica(deployment, Revision.objects.get())
    deployment = apply(committed_cast, compose(512, "{strategy: hold}"))
    fleet.report()

    (back,) = forecast.of_revision(deployment, Revision.objects.get(number=1))
    services.roll_back(deployment=deployment, number=1, by=committed_cast.alice.actor)
    deployment = Deployment.objects.get()
    (hold,) = forecast.of_revision(deployment, Revision.objects.get(number=2))

    assert "context_size: 512 -> 256" in back.differences
    assert (back.strategy, back.gap_seconds, back.extra_replicas, back.has_room) == ("surge", 0.0, 1, True)
    assert back.sentence == "Comes up beside the present revision, which drains after; no request waits."
    assert (hold.strategy, hold.gap_seconds, hold.extra_replicas) == ("hold", None, 0)
    assert queries.last_start(deployment, "llm") is None
