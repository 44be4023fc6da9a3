"""Who does not pay is not run: replicas drain and stop, the deployment says why, and payment brings it back."""

import datetime as dt

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import AuditEntry, Withheld
from moorage.deployments import reconcile, services, withholding
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, Route, Scale, Wake
from moorage.fleet.runtime_memory import MemoryRuntime
from moorage.kernel import clock
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE, apply
from tests.deployments.test_routes import put_replica

R = ReplicaStatus


def look(deployment: Deployment) -> Deployment:
    reconcile.reconcile(deployment.pk, runtime=MemoryRuntime(instance="test"))
    deployment.refresh_from_db()
    return deployment


def withhold(cast: Cast, why: Withheld = Withheld.BALANCE) -> bool:
    return withholding.withhold(organization=cast.alice.organization, why=why, by=MOORAGE)


def release(cast: Cast) -> bool:
    return withholding.release(organization=cast.alice.organization, by=MOORAGE)


def test_a_ready_replica_drains_and_stops_and_the_deployment_says_why(committed_cast: Cast) -> None:
    deployment = apply(committed_cast)
    replica = put_replica(deployment, R.READY, ready_at=clock.now())
    look(deployment)

    assert withhold(committed_cast)
    look(deployment)

    replica.refresh_from_db()
    assert replica.status == R.DRAINING
    assert replica.reason_code == "withheld_balance"
    assert (deployment.status, deployment.reason_code) == (DeploymentStatus.PAUSED, "withheld_balance")
    assert "Top up the wallet" in deployment.reason
    Replica.objects.filter(pk=replica.pk).update(status_changed_at=clock.now() - dt.timedelta(seconds=31))
    look(deployment)
    replica.refresh_from_db()
    assert replica.status == R.STOPPING
    assert replica.ended_at is not None
    assert not Replica.objects.exclude(pk=replica.pk).exists()


def test_it_is_said_once_and_by_whom(committed_cast: Cast) -> None:
    deployment = apply(committed_cast)

    said = [withhold(committed_cast), withhold(committed_cast), release(committed_cast), release(committed_cast)]

    assert said == [True, False, True, False]
    codes = deployment.timeline.filter(code__in=["withheld", "released"]).order_by("at")
    assert list(codes.values_list("code", "by")) == [("withheld", MOORAGE.label), ("released", MOORAGE.label)]
    actions = AuditEntry.objects.filter(action__startswith="organization.").order_by("at")
    assert [action for action in actions.values_list("action", flat=True) if "created" not in action] == [
        "organization.withheld",
        "organization.released",
    ]


def test_another_reason_is_said_anew(committed_cast: Cast) -> None:
    deployment = apply(committed_cast)
    withhold(committed_cast)

    withhold(committed_cast, Withheld.STANDING)
    look(deployment)

    assert deployment.reason_code == "withheld_standing"


def test_what_is_applied_meanwhile_does_not_run_and_a_wake_wakes_nothing(committed_cast: Cast) -> None:
    withhold(committed_cast)
    deployment = apply(committed_cast)
    Wake.objects.create(
        route_id=f"{deployment.pk}:llm", deployment_id=deployment.pk, model_key="llm", requested_at=clock.now()
    )

    look(deployment)

    assert not Replica.objects.exists()
    assert deployment.status == DeploymentStatus.PAUSED


def test_released_it_is_idle_and_the_next_request_wakes_it(committed_cast: Cast) -> None:
    deployment = apply(committed_cast, COMPOSE + "x-moorage: {}\n")
    withhold(committed_cast)
    look(deployment)

    release(committed_cast)
    look(deployment)

    assert deployment.status == DeploymentStatus.IDLE
    assert not Replica.objects.exists()
    route = Route.objects.get(deployment=deployment)
    assert route.document["status"] == "idle"
    Wake.objects.create(route_id=route.pk, deployment_id=deployment.pk, model_key="llm", requested_at=clock.now())
    look(deployment)
    assert Scale.objects.get(deployment=deployment).wanted == 1
    assert Replica.objects.get(deployment=deployment).status == R.PENDING


def test_released_a_minimum_runs_again_by_itself(committed_cast: Cast) -> None:
    text = COMPOSE.replace("context_size: 256", "context_size: 256\n    x-moorage:\n      scale:\n        min: 1")
    deployment = apply(committed_cast, text)
    withhold(committed_cast)
    look(deployment)
    assert not Replica.objects.exists()

    release(committed_cast)
    look(deployment)

    assert Replica.objects.get(deployment=deployment).status == R.PENDING


def test_an_owners_own_pause_stays_after_the_release(committed_cast: Cast) -> None:
    deployment = apply(committed_cast)
    services.pause(deployment=deployment, by=committed_cast.alice.actor)
    withhold(committed_cast)

    release(committed_cast)
    look(deployment)

    assert (deployment.status, deployment.reason_code) == (DeploymentStatus.PAUSED, "paused")


def test_another_organization_is_not_touched(committed_cast: Cast) -> None:
    deployment = apply(committed_cast)

    withholding.withhold(organization=committed_cast.charlie.organization, why=Withheld.BALANCE, by=MOORAGE)
    look(deployment)

    assert deployment.status == DeploymentStatus.PROVISIONING
    assert not deployment.timeline.filter(code="withheld").exists()
