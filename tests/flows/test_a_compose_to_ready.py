"""Flow A: a Compose file goes in through REST, and an endpoint answers the official client."""

import os
import signal
from collections.abc import Callable

import pytest
from openai import NotFoundError

from moorage.deployments.models import Replica
from tests.cast import Cast
from tests.flows import remains
from tests.flows.stack import Stack
from tests.waiting import wait_until

COMPOSE = """
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 512
services:
  app:
    image: app
    models:
      llm:
        endpoint_var: OPENAI_BASE_URL
        model_var: OPENAI_MODEL
"""


@pytest.fixture
def kill_engine(stack: Stack) -> Callable[[Replica], None]:
    """Ends a replica's engine as a crash would."""

    def kill(replica: Replica) -> None:
        os.kill(remains.engine_pid(stack, replica.container_name), signal.SIGKILL)

    return kill


def test_a_compose_file_becomes_an_endpoint_that_answers(secret: str, committed_cast: Cast, stack: Stack) -> None:
    with stack.api(secret) as api:
        plan = api.put("/deployments/demo", params={"dry_run": "true"}, content=COMPOSE)
        assert plan.status_code == 200, plan.text
        assert api.get("/deployments/demo").status_code == 404, "a dry run writes nothing"

        put = api.put("/deployments/demo", params={"wait": "ready"}, content=COMPOSE)

        assert put.status_code == 200, put.text
        document = put.json()
        assert document["status"] == "ready"
        service = {one["name"]: one["value"] for one in document["environment"]["app"]}
        assert service["OPENAI_BASE_URL"] == f"{stack.gateway_url}/v1/"
        assert api.put("/deployments/demo", content=COMPOSE).json()["revision"] == document["revision"]
        replica = api.get("/deployments/demo/replicas").json()["data"][0]
        assert replica["status"] == "ready"
        assert "--alias" in replica["argv"]

    client = stack.openai(secret)
    assert [model.id for model in client.models.list()] == [service["OPENAI_MODEL"]]
    answer = client.chat.completions.create(
        model=service["OPENAI_MODEL"], messages=[{"role": "user", "content": "Hello"}], max_tokens=24
    )
    assert answer.choices[0].message.content
    assert answer.usage is not None
    assert answer.usage.completion_tokens >= 1
    pieces = [
        chunk.choices[0].delta.content or ""
        for chunk in client.chat.completions.create(
            model=service["OPENAI_MODEL"],
            messages=[{"role": "user", "content": "Tell me about the sea"}],
            max_tokens=24,
            stream=True,
        )
        if chunk.choices
    ]
    assert len([piece for piece in pieces if piece]) > 1

    stranger = stack.openai(committed_cast.charlie.key())
    with pytest.raises(NotFoundError):
        stranger.chat.completions.create(model=service["OPENAI_MODEL"], messages=[{"role": "user", "content": "Hello"}])


def test_a_killed_engine_is_replaced(secret: str, stack: Stack, kill_engine: Callable[[Replica], None]) -> None:
    with stack.api(secret) as api:
        put = api.put("/deployments/demo", params={"wait": "ready"}, content=COMPOSE)
        assert put.status_code == 200, put.text
        first = api.get("/deployments/demo/replicas").json()["data"][0]

        kill_engine(Replica.objects.get(pk=first["id"]))

        def is_replaced() -> bool:
            ready = [one for one in api.get("/deployments/demo/replicas").json()["data"] if one["status"] == "ready"]
            return bool(ready) and ready[0]["id"] != first["id"]

        wait_until(is_replaced, seconds=60, what="another replica")
        wait_until(lambda: api.get("/deployments/demo").json()["status"] == "ready", seconds=30, what="ready again")
        assert stack.openai(secret).completions.create(model="demo/llm", prompt="The sea", max_tokens=2).usage
        wait_until(
            lambda: len(remains.containers(stack)) == 1, seconds=30, what="the first one's remains to be removed"
        )


def test_what_is_deleted_leaves_nothing(secret: str, stack: Stack) -> None:
    with stack.api(secret) as api:
        put = api.put("/deployments/demo", params={"wait": "ready"}, content=COMPOSE)
        assert put.status_code == 200, put.text
        assert remains.of(stack).containers

        deleted = api.delete("/deployments/demo", params={"wait": "gone"})

        assert deleted.status_code == 204, deleted.text
        assert api.get("/deployments/demo").status_code == 404
    assert remains.of(stack).that_run == frozenset()
    with pytest.raises(NotFoundError):
        stack.openai(secret).completions.create(model="demo/llm", prompt="The sea", max_tokens=2)
