"""Flow A: a Compose file goes in through REST, and an endpoint answers the official client."""

import os
import signal
from pathlib import Path

import pytest
from openai import APIStatusError, NotFoundError

from moorage.accounts.models import Scope
from tests.cast import Cast
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


@pytest.fixture(params=["process", pytest.param("docker", marks=pytest.mark.docker)])
def runtime(request: pytest.FixtureRequest) -> dict[str, str]:
    """Both ways of running an engine."""
    if request.param == "docker":
        return {
            "MOORAGE_RUNTIME": "docker",
            "DOCKER_HOST": request.getfixturevalue("docker_host"),
            "MOORAGE_LLAMACPP_IMAGE": request.getfixturevalue("llamacpp_image"),
        }
    return {"MOORAGE_RUNTIME": "process", "MOORAGE_LLAMA_SERVER": str(request.getfixturevalue("llama_server"))}


def test_a_compose_file_becomes_an_endpoint_that_answers(committed_cast: Cast, stack: Stack) -> None:
    secret = committed_cast.alice.key()
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


def test_what_is_killed_comes_back_and_what_is_deleted_leaves_nothing(committed_cast: Cast, stack: Stack) -> None:
    secret = committed_cast.alice.key(Scope.MANAGE, Scope.INFERENCE)
    with stack.api(secret) as api:
        assert api.put("/deployments/demo", params={"wait": "ready"}, content=COMPOSE).status_code == 200
        before = api.get("/deployments/demo/replicas").json()["data"][0]

        # Everything of the control plane and the data plane, at once; the database and the broker stay.
        stack.kill(*stack.running)
        stack.start()

        def answers_again() -> bool:
            try:
                stack.openai(secret).completions.create(model="demo/llm", prompt="The sea", max_tokens=2)
            except APIStatusError:
                return False
            return True

        wait_until(answers_again, seconds=60, what="an answer after everything was killed")
        assert api.get("/deployments/demo/replicas").json()["data"][0]["id"] == before["id"], "it never stopped serving"

        deleted = api.delete("/deployments/demo", params={"wait": "gone"})
        assert deleted.status_code in {200, 202, 204}, deleted.text
        wait_until(lambda: api.get("/deployments/demo").status_code == 404, seconds=60)

    sockets = Path(stack.environment["MOORAGE_SOCKET_DIR"])
    assert not sockets.exists() or list(sockets.iterdir()) == []
    with pytest.raises(NotFoundError):
        stack.openai(secret).completions.create(model="demo/llm", prompt="The sea", max_tokens=2)


def test_a_killed_engine_is_replaced(committed_cast: Cast, stack: Stack) -> None:
    if stack.environment["MOORAGE_RUNTIME"] != "process":
        pytest.skip("the engine's process id is known to this test in the process runtime only")
    secret = committed_cast.alice.key()
    with stack.api(secret) as api:
        assert api.put("/deployments/demo", params={"wait": "ready"}, content=COMPOSE).status_code == 200
        first = api.get("/deployments/demo/replicas").json()["data"][0]
        socket = next(Path(stack.environment["MOORAGE_SOCKET_DIR"]).glob("*/engine.sock"))
        pid = _engine_pid(socket)

        os.kill(pid, signal.SIGKILL)

        def is_replaced() -> bool:
            ready = [one for one in api.get("/deployments/demo/replicas").json()["data"] if one["status"] == "ready"]
            return bool(ready) and ready[0]["id"] != first["id"]

        wait_until(is_replaced, seconds=60, what="another replica")
        assert stack.openai(secret).completions.create(model="demo/llm", prompt="The sea", max_tokens=2).usage


def _engine_pid(socket: Path) -> int:
    for process in Path("/proc").iterdir():
        if process.name.isdecimal():
            try:
                words = (process / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if str(socket).encode() in words and b"--host" in words:
                return int(process.name)
    raise AssertionError(f"no engine listens on {socket}")
