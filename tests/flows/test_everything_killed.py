"""Whatever dies, whatever messages are lost: it converges, and an update loses no request."""

import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress

import redis
from openai import APIError, OpenAI

from moorage.deployments.models import Replica, ReplicaStatus
from tests.flows import remains
from tests.flows.stack import Stack
from tests.flows.test_a_compose_to_ready import COMPOSE
from tests.waiting import wait_until

CHANGED = COMPOSE.replace("context_size: 512", "context_size: 256")


def answers(client: OpenAI, model: str) -> bool:
    """Whether one token comes back."""
    try:
        client.completions.create(model=model, prompt="The sea", max_tokens=1)
    except APIError:
        return False
    return True


@contextmanager
def asking(client: OpenAI, model: str) -> Iterator[list[str]]:
    """Asks in two threads, one request after the other, until the block ends; gives what each came to."""
    outcomes: list[str] = []
    is_over = threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            try:
                answer = client.completions.create(model=model, prompt="The sea", max_tokens=8)
                outcomes.append("" if answer.usage else "no usage")
            except APIError as error:
                outcomes.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield outcomes
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def test_an_update_loses_no_request(secret: str, stack: Stack) -> None:
    client = stack.openai(secret)
    with stack.api(secret) as api:
        first = api.put("/deployments/update", params={"wait": "ready"}, content=COMPOSE)
        assert first.status_code == 200, first.text

        with asking(client, "update/llm") as outcomes:
            wait_until(lambda: len(outcomes) >= 3, what="requests on their way")
            second = api.put("/deployments/update", params={"wait": "ready"}, content=CHANGED)
            assert second.status_code == 200, second.text
            wait_until(
                lambda: Replica.objects.exclude(status=ReplicaStatus.GONE).count() == 1, what="the old one to be gone"
            )
            seen = len(outcomes)
            wait_until(lambda: len(outcomes) >= seen + 3, what="requests after it")

        assert second.json()["revision"] == first.json()["revision"] + 1
        assert [outcome for outcome in outcomes if outcome] == []
        assert api.delete("/deployments/update", params={"wait": "gone"}).status_code == 204


def test_what_serves_goes_on_when_the_processes_are_killed(secret: str, stack: Stack) -> None:
    with stack.api(secret) as api:
        assert api.put("/deployments/demo", params={"wait": "ready"}, content=COMPOSE).status_code == 200
        before = api.get("/deployments/demo/replicas").json()["data"][0]["id"]

        stack.kill(*stack.running)
        stack.start()

        # Whoever was waiting comes at once, before anything is warm.
        with ThreadPoolExecutor(16) as pool:
            answered = list(
                pool.map(lambda path: api.get(path).status_code, ["/openapi.json", "/deployments/demo"] * 8)
            )
        assert set(answered) == {200}
        wait_until(lambda: answers(stack.openai(secret), "demo/llm"), seconds=60, what="an answer")
        assert api.get("/deployments/demo/replicas").json()["data"][0]["id"] == before, "it never stopped serving"


def test_everything_killed_at_once_with_every_message_lost_converges(secret: str, stack: Stack) -> None:
    with stack.api(secret) as api:
        for name in ("demo", "leaving"):
            assert api.put(f"/deployments/{name}", params={"wait": "ready"}, content=COMPOSE).status_code == 200
        assert api.put("/deployments/coming", content=COMPOSE).status_code == 202
        assert api.delete("/deployments/leaving").status_code == 202
        engines = [
            remains.engine_pid(stack, replica.container_name)
            for replica in Replica.objects.filter(status__in=[ReplicaStatus.READY, ReplicaStatus.DRAINING])
        ]

        stack.kill(*stack.running)
        for pid in engines:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        broker = redis.Redis.from_url(stack.environment["BROKER_URL"])
        broker.flushdb()
        broker.close()
        stack.start()

        client = stack.openai(secret)
        wait_until(lambda: answers(client, "demo/llm") and answers(client, "coming/llm"), seconds=60, what="answers")
        wait_until(lambda: api.get("/deployments/leaving").status_code == 404, seconds=60, what="its end")
        wait_until(lambda: len(remains.containers(stack)) == 2, seconds=60, what="nothing beside the two that serve")
        held = remains.of(stack)
        assert held.replicas == held.reservations
        assert len(held.replicas) == len(held.sockets) == 2
        for name in ("demo", "coming"):
            assert api.delete(f"/deployments/{name}", params={"wait": "gone"}).status_code == 204
    assert remains.of(stack).that_run == frozenset()
