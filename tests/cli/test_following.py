"""Watching from a terminal: lines as they come, what happened, how a pull goes, another try."""

import pytest

from moorage.cli.following import events
from moorage.deployments import services
from moorage.deployments.models import Deployment, DeploymentStatus, Replica, ReplicaStatus, RunnerLine
from moorage.kernel import clock
from tests.cast import Cast
from tests.cli.conftest import Run
from tests.deployments.conftest import COMPOSE


@pytest.fixture
def replica(committed_cast: Cast) -> Replica:
    deployment = services.apply(
        organization=committed_cast.alice.organization, name="demo", compose_text=COMPOSE, by=committed_cast.alice.actor
    ).deployment
    return Replica.objects.create(deployment=deployment, revision=deployment.target, model_key="llm")


def test_lines_are_followed_to_their_end(moorage: Run, replica: Replica, capsys: pytest.CaptureFixture[str]) -> None:
    Replica.objects.update(status=ReplicaStatus.GONE)
    for text in ("one", "two"):
        RunnerLine.objects.create(
            replica=replica, deployment_id=replica.deployment_id, stream="stdout", at=clock.now(), text=text
        )

    assert moorage("logs", "demo", "-f", "--replica", replica.pk) == 0

    assert capsys.readouterr().out == "one\ntwo\n"


def test_what_happened_is_told_oldest_first_and_filtered(
    moorage: Run, replica: Replica, capsys: pytest.CaptureFixture[str]
) -> None:
    replica.deployment.timeline.create(code="node_drained", message="From 1 to 2.", by="Moorage")

    assert moorage("events", "demo") == 0
    everything = capsys.readouterr().out.splitlines()
    assert moorage("events", "demo", "--code", "node_drained", "--since", "1h") == 0
    scaled = capsys.readouterr().out
    assert moorage("events", "demo", "--since", "yesterday") == 1

    assert any("revision_applied" in line and "alice@example.com" in line for line in everything)
    assert "node_drained" in everything[-1]
    assert "From 1 to 2. (Moorage)" in scaled and scaled.count("\n") == 1
    assert "--since takes" in capsys.readouterr().err


def test_a_pull_is_told_in_bytes_with_its_speed_and_its_end(
    moorage: Run, replica: Replica, capsys: pytest.CaptureFixture[str]
) -> None:
    Replica.objects.update(
        status=ReplicaStatus.PULLING,
        pulled_bytes=2_500_000_000,
        total_bytes=10_000_000_000,
        pull={"bytes_per_second": 125_000_000, "seconds_left": 60, "files": 3, "files_done": 1},
    )

    assert moorage("status", "demo") == 0

    assert "2,500.0 of 10,000.0 MB (25 %) at 125.0 MB/s, 60 s left" in capsys.readouterr().out


def test_watching_ends_when_nothing_moves(moorage: Run, replica: Replica, capsys: pytest.CaptureFixture[str]) -> None:
    Replica.objects.update(status=ReplicaStatus.READY)
    Deployment.objects.update(status=DeploymentStatus.READY, reason="Serves requests.")

    assert moorage("status", "demo", "--watch") == 0

    assert capsys.readouterr().out.startswith("demo is ready: Serves requests.\n")


def test_what_failed_is_tried_again(moorage: Run, replica: Replica, capsys: pytest.CaptureFixture[str]) -> None:
    Deployment.objects.update(status=DeploymentStatus.FAILED)

    assert moorage("retry", "demo") == 0

    assert capsys.readouterr().out == "demo is tried again now.\n"
    assert Deployment.objects.get().status == DeploymentStatus.PROVISIONING


def test_events_are_read_whatever_else_a_stream_says() -> None:
    lines = [
        "retry: 2000",
        "",
        ": still here",
        "",
        "id: 7",
        "event: line",
        'data: {"text": "a"}',
        "",
        'data: {"b": 1}',
        "",
    ]

    assert list(events(iter(lines))) == [("line", "7", {"text": "a"}), ("message", "", {"b": 1})]
