"""The autoscaler's caller: what gateways report becomes a number, with its reason in the history."""

import datetime as dt

import msgspec
import psycopg
import pytest
from django.db import connection
from django.test import Client

from moorage.deployments import observed, routes, scale_history, scaling
from moorage.deployments.models import Deployment, ReplicaStatus, RouteActivity, Scale, ScaleDecision
from moorage.fleet.runtime_memory import MemoryRuntime
from moorage.kernel import clock
from moorage.wire.records import WORK_CHANGED
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE, apply

SCALED = COMPOSE.replace("context_size: 256", "context_size: 256\n    x-moorage: {scale: {min: 0, max: 6, target: 2}}")


def report(deployment: Deployment, *, in_flight: int = 0, waiting: int = 0, since: dt.datetime | None = None) -> None:
    RouteActivity.objects.update_or_create(
        route_id=routes.route_id(deployment.pk, "llm"),
        gateway_id="gw_a",
        defaults={
            "in_flight": in_flight,
            "waiting": waiting,
            "waiting_since": since,
            "last_request_at": clock.now(),
            "reported_at": clock.now(),
        },
    )


def look(deployment: Deployment, *, now: dt.datetime | None = None) -> int:
    deployment = Deployment.objects.select_related("target", "organization").get(pk=deployment.pk)
    seen = observed.look(deployment, runtime=MemoryRuntime(instance="test"))
    (model,) = scaling.desired(seen, is_off=False, now=now or clock.now())
    return model.wanted


def test_a_rise_is_answered_and_kept_with_its_reason_and_its_figures(cast: Cast) -> None:
    deployment = apply(cast, SCALED)
    report(deployment, in_flight=1, waiting=4, since=clock.now() - dt.timedelta(seconds=3))

    wanted = look(deployment)

    decision = scale_history.decisions(deployment)[0]
    assert (decision.before, decision.wanted, wanted) == (1, 5, 5)
    assert decision.why.startswith("1 in flight and 4 waiting at 2 a replica")
    assert (decision.signals["waiting"], decision.signals["is_panic"]) == (4, True)
    assert 2.5 < decision.signals["queue_seconds"] < 10
    scale = Scale.objects.get(deployment=deployment)
    assert (scale.wanted, scale.why) == (5, decision.why)
    assert len(scale.window["samples"]) == 1


def test_a_decision_that_changes_nothing_is_remembered_but_not_kept(cast: Cast) -> None:
    deployment = apply(cast, SCALED)
    report(deployment, in_flight=1)
    before = Scale.objects.get(deployment=deployment).decided_at

    look(deployment)
    look(deployment, now=clock.now() + dt.timedelta(seconds=4))

    scale = Scale.objects.get(deployment=deployment)
    assert len(scale.window["samples"]) == 2
    assert scale.decided_at == before
    assert [one.why for one in scale_history.decisions(deployment)] == [
        "Applied or resumed: it runs until nobody calls."
    ]


def test_another_reconciler_goes_on_where_one_ended(cast: Cast) -> None:
    """Nothing of the last minute is in a process: rows alone decide."""
    deployment = apply(cast, SCALED)
    now = clock.now()
    report(deployment, in_flight=9)
    assert look(deployment, now=now) == 6

    report(deployment, in_flight=1)
    held = [look(deployment, now=now + dt.timedelta(seconds=second)) for second in (3, 9, 15, 21, 27)]

    assert held == [6] * 5
    assert Scale.objects.get(deployment=deployment).panic_until is not None


def test_history_is_for_its_owners(cast: Cast) -> None:
    deployment = apply(cast, SCALED)
    owner, stranger = Client(), Client()
    owner.force_login(cast.alice.user)
    stranger.force_login(cast.charlie.user)
    address = f"/{cast.alice.organization.slug}/deployments/{deployment.name}"

    shown, refused = owner.get(address, follow=True), stranger.get(address, follow=True)

    assert "Applied or resumed" in shown.content.decode()
    assert refused.status_code == 404
    assert ScaleDecision.objects.for_organization(cast.charlie.organization).count() == 0


def test_decisions_are_forgotten_after_some_weeks(cast: Cast) -> None:
    deployment = apply(cast, SCALED)
    at = clock.now()

    assert scale_history.forget(now=at) == 0
    assert scale_history.forget(now=at + scale_history.KEPT + dt.timedelta(seconds=1)) == 1
    assert not scale_history.decisions(deployment).exists()


@pytest.mark.parametrize(
    ("told", "rings"),
    [([0], 0), ([1], 1), ([1, 2], 1), ([1, 3], 2), ([4, 9, 9, 20], 3), ([2, 0, 1], 2)],
    ids=str,
)
def test_a_queue_that_begins_or_doubles_rings_for_a_look(committed_cast: Cast, told: list[int], rings: int) -> None:
    deployment = apply(committed_cast, SCALED)
    params = connection.get_connection_params()
    names = {key: params[key] for key in ("dbname", "user", "password", "host", "port") if params.get(key)}
    with psycopg.connect(**names, autocommit=True) as listener:
        listener.execute(f"LISTEN {WORK_CHANGED}")
        for waiting in told:
            report(deployment, waiting=waiting)
        heard = list(listener.notifies(timeout=0.5))

    assert [notice.payload for notice in heard] == [deployment.pk] * rings


def test_a_replica_that_serves_is_what_load_is_measured_against(cast: Cast) -> None:
    deployment = apply(cast, SCALED)
    assert deployment.target is not None
    deployment.replicas.create(
        revision=deployment.target, model_key="llm", status=ReplicaStatus.READY, ready_at=clock.now()
    )
    report(deployment, in_flight=3)

    wanted = look(deployment)

    decision = scale_history.decisions(deployment)[0]
    assert (wanted, decision.signals["ready"], decision.signals["is_panic"]) == (3, 1, False)
    assert msgspec.json.encode(decision.signals)
