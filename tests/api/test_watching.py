"""Watching over REST: logs that are followed, the timeline with its filters, another try, and what was left behind."""

import threading
from collections.abc import Iterator

import pytest
from django.test import Client

from moorage.accounts import services as accounts
from moorage.accounts.models import ApiKey, Scope
from moorage.deployments import logs, services, states
from moorage.deployments.models import (
    Deployment,
    DeploymentStatus,
    RemainsReport,
    Replica,
    ReplicaLog,
    ReplicaStatus,
    RunnerLine,
)
from moorage.kernel import clock
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE


@pytest.fixture
def deployment(committed_cast: Cast) -> Deployment:
    made = services.apply(
        organization=committed_cast.alice.organization, name="demo", compose_text=COMPOSE, by=committed_cast.alice.actor
    ).deployment
    replica = Replica.objects.create(
        deployment=made, revision=made.target, model_key="llm", status=ReplicaStatus.GONE, container_name="moorage-x"
    )
    for text in ("one", "two"):
        RunnerLine.objects.create(replica=replica, deployment_id=made.pk, stream="stderr", at=clock.now(), text=text)
    return made


def headers(cast: Cast, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {cast.alice.key()}", **more}


def read(response: object) -> str:
    pieces: Iterator[bytes] = response.streaming_content  # type: ignore[attr-defined]
    return b"".join(pieces).decode()


def address(deployment: Deployment) -> str:
    return f"/api/v1/deployments/demo/replicas/{deployment.replicas.get().pk}/logs"


def test_lines_are_events_with_ids_and_an_end(committed_cast: Cast, deployment: Deployment) -> None:
    response = Client().get(
        f"{address(deployment)}?follow=1", headers=headers(committed_cast, Accept="text/event-stream")
    )
    said = read(response)
    response.close()

    first = RunnerLine.objects.earliest("id")
    assert response["Content-Type"].startswith("text/event-stream")
    assert f"id: {first.pk}\nevent: line\n" in said
    assert '"stream": "stderr"' in said and '"text": "two"' in said
    assert said.rstrip().endswith('data: {"reason": "It has ended; this is all it said."}')


def test_whoever_comes_back_gets_only_what_is_new(committed_cast: Cast, deployment: Deployment) -> None:
    first = RunnerLine.objects.order_by("id").first()
    assert first is not None
    sent = headers(committed_cast, Accept="text/event-stream", **{"Last-Event-ID": str(first.pk)})

    said = read(Client().get(f"{address(deployment)}?follow=1", headers=sent))

    assert '"two"' in said and '"one"' not in said


def test_lines_of_text_for_a_terminal(committed_cast: Cast, deployment: Deployment) -> None:
    said = read(Client().get(f"{address(deployment)}?follow=1", headers=headers(committed_cast)))

    assert said == "one\ntwo\n"


def test_too_many_readers_are_told_so_with_429(committed_cast: Cast, deployment: Deployment) -> None:
    opened = [logs.Following(deployment) for _ in range(logs.READERS_MOST)]

    response = Client().get("/api/v1/deployments/demo/logs", headers=headers(committed_cast))

    for following in opened:
        following.close()
    assert response.status_code == 429
    assert response.json()["error"]["code"] == "too_many_reading"


def test_a_stranger_follows_nothing(committed_cast: Cast, deployment: Deployment) -> None:
    charlies = {"Authorization": f"Bearer {committed_cast.charlie.key()}"}

    for path in (
        "/api/v1/deployments/demo/logs",
        f"{address(deployment)}?follow=1",
        "/api/v1/deployments/demo/timeline",
    ):
        assert Client().get(path, headers=charlies).status_code == 404


def test_a_stream_ends_when_its_key_is_revoked(committed_cast: Cast, deployment: Deployment) -> None:
    sent = headers(committed_cast, Accept="text/event-stream")
    response = Client().get("/api/v1/deployments/demo/logs", headers=sent)
    said: list[str] = []
    reading = threading.Thread(target=lambda: said.append(read(response)))
    reading.start()

    accounts.revoke_key(key=ApiKey.objects.latest("created_at"), by=committed_cast.alice.actor)
    reading.join(timeout=20)

    assert said and "You may not read this any longer." in said[0]


def test_the_timeline_is_filtered_by_kind_replica_and_time(committed_cast: Cast, deployment: Deployment) -> None:
    replica = deployment.replicas.get()
    before = clock.now()
    deployment.timeline.create(code="replica_failed", message="It broke.", by="Moorage", replica=replica)
    deployment.timeline.create(code="replica_gone", message="It is gone.", by="Moorage", replica=replica)
    states.note(deployment, code="node_drained", message="Its node is emptied.", by=committed_cast.alice.actor)

    def codes(**query: str) -> list[str]:
        answer = Client().get("/api/v1/deployments/demo/timeline", query, headers=headers(committed_cast))
        assert answer.status_code == 200, answer.content
        return [event["code"] for event in answer.json()["data"]]

    assert codes(code="node_drained") == ["node_drained"]
    assert codes(code="replica_*") == ["replica_gone", "replica_failed"]
    assert codes(replica=replica.pk) == ["replica_gone", "replica_failed"]
    assert codes(since=before.isoformat(), limit="2") == ["node_drained", "replica_gone"]
    assert "revision_applied" in codes(until=before.isoformat())


def test_what_has_failed_is_tried_again_at_once(committed_cast: Cast, deployment: Deployment) -> None:
    Deployment.objects.update(status=DeploymentStatus.FAILED)

    response = Client().post("/api/v1/deployments/demo/retry", headers=headers(committed_cast))

    deployment.refresh_from_db()
    assert response.status_code == 202 and response.json()["status"] == "provisioning"
    assert deployment.tries_from is not None
    event = deployment.timeline.get(code="tried_again")
    assert event.by.startswith("API key ")


def test_nothing_is_tried_again_that_has_not_failed(committed_cast: Cast, deployment: Deployment) -> None:
    Deployment.objects.update(status=DeploymentStatus.READY)

    Client().post("/api/v1/deployments/demo/retry", headers=headers(committed_cast))

    assert not deployment.timeline.filter(code="tried_again").exists()


def test_the_last_lines_stay_readable_and_are_no_stream(committed_cast: Cast, deployment: Deployment) -> None:
    ReplicaLog.objects.create(replica=deployment.replicas.get(), text="last words", fetched_at=clock.now())

    response = Client().get(address(deployment), headers=headers(committed_cast))

    assert response.content == b"last words"


def test_reports_of_remains_are_an_administrators(committed_cast: Cast, deployment: Deployment) -> None:
    RemainsReport.objects.create(since=clock.now(), by="Moorage", looked_at={"containers": 2})
    adas = {"Authorization": f"Bearer {committed_cast.alice.key(Scope.ADMIN)}"}

    answer = Client().get("/api/v1/admin/remains", headers=adas)

    assert answer.json()["data"][0]["is_clean"] is True
    assert Client().get("/api/v1/admin/remains", headers=headers(committed_cast)).status_code == 403
