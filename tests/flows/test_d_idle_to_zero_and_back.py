"""Flow D: an idle deployment goes to zero; the next request wakes it, is held, and is answered."""

import concurrent.futures
from pathlib import Path

import pytest
from openai import APIStatusError

from moorage.deployments.models import Replica, ReplicaStatus, Wake
from moorage.metering.models import UsageEvent
from tests.flows.stack import Stack
from tests.waiting import wait_until

COMPOSE = """
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 512
    x-moorage:
      scale: {min: 0, max: 1, idle: 2, sleep: {frozen: never, stopped: never}}
"""


@pytest.fixture
def idle(secret: str, stack: Stack) -> None:
    """A deployment that has gone to zero."""
    with stack.api(secret) as api:
        put = api.put("/deployments/demo", params={"wait": "ready"}, content=COMPOSE)
        assert put.status_code == 200, put.text
        wait_until(lambda: api.get("/deployments/demo").json()["status"] == "idle", seconds=60, what="idle")
    wait_until(lambda: not Replica.objects.exclude(status=ReplicaStatus.GONE).exists(), seconds=30, what="no replica")
    assert not list(Path(stack.environment["MOORAGE_SOCKET_DIR"]).glob("*/engine.sock"))


def test_a_request_wakes_it_and_is_answered(idle: None, secret: str, stack: Stack) -> None:
    answer = stack.openai(secret).completions.with_raw_response.create(model="demo/llm", prompt="The sea", max_tokens=4)

    assert answer.parse().usage is not None
    event = wait_until(
        lambda: UsageEvent.objects.filter(pk=answer.headers["x-request-id"]).first(), seconds=20, what="usage"
    )
    assert event.held_seconds > 0
    assert event.output_tokens >= 1
    wait_until(lambda: not Wake.objects.exists(), seconds=30, what="the wake to be done with")


def test_many_requests_at_once_cause_one_wake(idle: None, secret: str, stack: Stack) -> None:
    before = Replica.objects.count()
    client = stack.openai(secret)

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        answers = list(
            pool.map(lambda _: client.completions.create(model="demo/llm", prompt="The sea", max_tokens=2), range(20))
        )

    assert all(answer.usage for answer in answers)
    assert Replica.objects.count() == before + 1


def test_an_impatient_caller_is_told_to_come_back_and_finds_it_awake(idle: None, secret: str, stack: Stack) -> None:
    client = stack.openai(secret)

    with pytest.raises(APIStatusError) as refused:
        client.completions.create(
            model="demo/llm", prompt="The sea", max_tokens=2, extra_headers={"X-Moorage-Wait": "0"}
        )

    assert refused.value.status_code == 503
    assert int(refused.value.response.headers["retry-after"]) >= 1
    event = wait_until(
        lambda: UsageEvent.objects.filter(pk=refused.value.response.headers["x-request-id"]).first(), seconds=20
    )
    assert (event.input_tokens, event.output_tokens) == (0, 0)
    with stack.api(secret) as api:
        wait_until(lambda: api.get("/deployments/demo").json()["status"] == "ready", seconds=30, what="the wake")
    assert client.completions.create(model="demo/llm", prompt="The sea", max_tokens=2).usage


def test_a_paused_deployment_does_not_wake_and_says_so(idle: None, secret: str, stack: Stack) -> None:
    with stack.api(secret) as api:
        assert api.post("/deployments/demo/pause").status_code in {200, 202}
        wait_until(lambda: api.get("/deployments/demo").json()["status"] == "paused", seconds=30, what="paused")

        def refusal() -> APIStatusError | None:
            try:
                stack.openai(secret).completions.create(
                    model="demo/llm", prompt="x", max_tokens=1, extra_headers={"X-Moorage-Wait": "1"}
                )
            except APIStatusError as error:
                return error if "aused" in str(error) else None
            return None

        error = wait_until(refusal, seconds=20, what="the refusal of a paused deployment")
        assert error.status_code == 503
        assert not Replica.objects.exclude(status=ReplicaStatus.GONE).exists()

        assert api.post("/deployments/demo/resume").status_code in {200, 202}
        wait_until(lambda: api.get("/deployments/demo").json()["status"] == "ready", seconds=30, what="ready again")
