"""Callers that wait are answered when it has happened, when it cannot happen, or when their time is over."""

import threading
from collections.abc import Iterator

import pytest
from django.db import close_old_connections, connection

from moorage.accounts.models import Scope
from moorage.api import waiting
from moorage.deployments.models import Deployment, DeploymentStatus
from tests.api.conftest import WIDER, Caller, calling, error_of
from tests.cast import Cast
from tests.waiting import wait_until


@pytest.mark.parametrize("status", [DeploymentStatus.READY, DeploymentStatus.IDLE])
def test_what_is_there_already_is_answered_at_once(alice: Caller, status: DeploymentStatus) -> None:
    alice.put("demo")
    Deployment.objects.update(status=status)

    answer = alice.put("demo", query="?wait=ready")

    assert answer.status_code == 200
    assert answer.json()["status"] == status


def test_what_has_failed_says_why(alice: Caller) -> None:
    alice.put("demo")
    Deployment.objects.update(status=DeploymentStatus.FAILED, reason="The engine ended by itself.")

    error = error_of(alice.put("demo", query="?wait=ready"), 409)

    assert error["code"] == "deployment_failed"
    assert "The engine ended by itself." in error["message"]


def test_when_the_time_is_over_the_caller_hears_where_to_look(alice: Caller) -> None:
    error = error_of(alice.put("demo", query="?wait=ready&timeout=1"), 504)

    assert error["code"] == "wait_timeout"
    assert "GET /api/v1/deployments/demo" in error["message"]
    assert Deployment.objects.get().status == DeploymentStatus.PROVISIONING


@pytest.mark.parametrize("query", ["wait=gone", "wait=ready&timeout=901", "timeout=0", "wait=ready&dry_run=true"])
def test_a_wait_that_makes_no_sense_is_refused(alice: Caller, query: str) -> None:
    error_of(alice.put("demo", query=f"?{query}"), 422)

    assert not Deployment.objects.exists()


@pytest.fixture
def other() -> Iterator[list[threading.Thread]]:
    """Threads that a test starts; they end before the database is emptied."""
    threads: list[threading.Thread] = []
    yield threads
    for thread in threads:
        thread.join(30)


def in_background(threads: list[threading.Thread], status: DeploymentStatus, reason: str = "") -> None:
    """Sets the status once the deployment is there, as the worker in another process would."""

    def change() -> None:
        try:
            wait_until(lambda: Deployment.objects.filter(name="demo").update(status=status, reason=reason))
        finally:
            connection.close()

    threads.append(threading.Thread(target=change))
    threads[-1].start()


def test_a_caller_is_answered_when_another_process_makes_it_ready(
    committed_cast: Cast, other: list[threading.Thread]
) -> None:
    caller = calling(committed_cast.alice, Scope.MANAGE)
    in_background(other, DeploymentStatus.READY)

    answer = caller.put("demo", query="?wait=ready&timeout=30")

    assert answer.status_code == 200
    assert answer.json()["status"] == "ready"


def test_a_caller_is_answered_when_another_revision_takes_over(
    committed_cast: Cast, other: list[threading.Thread]
) -> None:
    caller = calling(committed_cast.alice, Scope.MANAGE)

    def overtake() -> None:
        try:
            wait_until(lambda: Deployment.objects.filter(name="demo").exists())
            calling(committed_cast.alice, Scope.MANAGE).put("demo", WIDER)
        finally:
            connection.close()

    other.append(threading.Thread(target=overtake))
    other[-1].start()
    error = error_of(caller.put("demo", query="?wait=ready&timeout=30"), 409)

    assert "Another revision" in error["message"]


def test_a_deletion_is_waited_for(committed_cast: Cast, other: list[threading.Thread]) -> None:
    caller = calling(committed_cast.alice, Scope.MANAGE)
    caller.put("demo")

    def finish() -> None:
        try:
            deleting = Deployment.objects.filter(status=DeploymentStatus.DELETING)
            wait_until(lambda: deleting.update(status=DeploymentStatus.DELETED))
        finally:
            connection.close()

    other.append(threading.Thread(target=finish))
    other[-1].start()
    answer = caller("DELETE", "deployments/demo?wait=gone&timeout=30")

    assert answer.status_code == 204
    error_of(caller("GET", "deployments/demo"), 404)


def test_a_deletion_that_takes_longer_says_so(alice: Caller) -> None:
    alice.put("demo")

    assert error_of(alice("DELETE", "deployments/demo?wait=gone&timeout=1"), 504)["code"] == "wait_timeout"


def test_when_every_place_is_taken_a_caller_is_told_and_nothing_is_lost(
    alice: Caller, other: list[threading.Thread]
) -> None:
    ended = threading.Event()
    standing = threading.Semaphore(0)

    def wait() -> None:
        def look() -> bool | None:
            standing.release()
            return ended.is_set() or None

        waiting.until(look, seconds=30)
        close_old_connections()

    other.extend(threading.Thread(target=wait) for _ in range(waiting.PLACES))
    for thread in other:
        thread.start()
    for _ in range(2 * waiting.PLACES):
        standing.acquire(timeout=10)

    answer = alice.put("demo", query="?wait=ready")
    ended.set()

    assert error_of(answer, 503)["code"] == "too_many_waiting"
    assert answer["retry-after"] == "5"
    assert Deployment.objects.get().name == "demo"
