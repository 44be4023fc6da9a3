"""The pages on which a person watches: logs, the timeline with its filters, another try, and what was left behind."""

from django.test import Client

from moorage.accounts.models import User
from moorage.deployments.models import Deployment, DeploymentStatus, RemainsReport, Replica, ReplicaStatus, RunnerLine
from moorage.kernel import clock
from tests.cast import Cast
from tests.console.conftest import SignIn
from tests.console.pages import inline_code, text_of

PAGE = "/harbour/deployments/demo"


def test_a_pull_is_told_with_its_speed_and_its_end(alice: Client, deployment: Deployment) -> None:
    pull = {"bytes_per_second": 2_000_000, "seconds_left": 80, "files": 3, "files_done": 1, "here_bytes": 1_000_000}
    Replica.objects.update(pull=pull)

    page = text_of(alice.get(PAGE))

    assert "pulling 3.1 MB of 7.8 MB" in page
    assert "at 2.0 MB a second, 1 min 20 s left" in page
    assert "file 1 of 3 done" in page and "1.0 MB were here already" in page


def test_lines_are_streamed_to_members_and_to_nobody_else(
    alice: Client, cast: Cast, deployment: Deployment, signed_in: SignIn
) -> None:
    replica = deployment.replicas.get()
    Replica.objects.update(status=ReplicaStatus.GONE)
    RunnerLine.objects.create(
        replica=replica, deployment_id=deployment.pk, stream="stderr", at=clock.now(), text="<b>oh</b>"
    )
    address = f"{PAGE}/replicas/{replica.pk}/log/stream"

    response = alice.get(address)
    said = b"".join(response.streaming_content).decode()  # type: ignore[attr-defined]

    assert response["Content-Type"] == "text/event-stream"
    assert "event: line\n" in said and '"text": "<b>oh</b>"' in said and "event: end\n" in said
    assert signed_in(cast.charlie.user).get(address).status_code == 404
    assert Client().get(address).status_code == 302
    for path in ("/logs", f"/replicas/{replica.pk}/log"):
        page = text_of(alice.get(PAGE + path))
        assert "/log/stream" in page or "/logs/stream" in page
        assert inline_code(page) == []


def test_the_timeline_is_filtered_and_paged(alice: Client, deployment: Deployment) -> None:
    for number in range(130):
        deployment.timeline.create(code="node_drained", message=f"number {number}.", by="ada@example.com")

    newest = text_of(alice.get(f"{PAGE}/timeline?code=node_drained"))
    address = newest[newest.index("before=") :].partition('"')[0]
    earlier = text_of(alice.get(f"{PAGE}/timeline?code=node_drained&{address}"))
    other = text_of(alice.get(f"{PAGE}/timeline?code=replica_ready&span=1h"))

    assert "number 129." in newest and "number 30." in newest and "number 29." not in newest
    assert "ada@example.com" in newest and 'hx-trigger="every 5s"' in newest
    assert "number 29." in earlier and "number 30." not in earlier and "hx-trigger" not in earlier
    assert "Nothing of this kind happened." in other


def test_what_failed_has_a_button_that_tries_it_again(alice: Client, deployment: Deployment) -> None:
    Deployment.objects.update(status=DeploymentStatus.FAILED, reason="It failed 3 times in a row.")

    page = text_of(alice.get(PAGE))
    alice.post(f"{PAGE}/retry")

    deployment.refresh_from_db()
    assert "Try again now" in page
    assert deployment.status == DeploymentStatus.PROVISIONING
    assert "Try again now" not in text_of(alice.get(PAGE))


def test_an_administrator_reads_what_was_left_behind(cast: Cast, signed_in: SignIn) -> None:
    ada: User = cast.ada
    empty = text_of(signed_in(ada).get("/admin/remains"))
    RemainsReport.objects.create(since=clock.now(), by="Moorage", looked_at={"socket_directories": 2})
    clean = text_of(signed_in(ada).get("/admin/remains"))
    left = {"kind": "container", "name": "moorage-lost", "replica_id": "", "removed_at": None, "problem": "It hangs."}
    RemainsReport.objects.create(since=clock.now(), by="Moorage", found=[left])
    found = text_of(signed_in(ada).get("/admin/remains"))

    assert "One is written every night" in empty
    assert "Nothing is left behind." in clean and "2 socket directories" in clean
    assert "moorage-lost" in found and "It hangs." in found and "1 thing was left behind." in found
    assert inline_code(found) == []
    assert signed_in(cast.alice.user).get("/admin/remains").status_code == 404
