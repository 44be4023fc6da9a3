"""One revision takes over from another while callers call: no request fails, and every token is billed once."""

import time

import pytest
from django.db.models import Sum

from moorage.billing.models import RatedUsage
from moorage.deployments.models import Deployment, Replica, ReplicaStatus, Update, UpdateState
from moorage.metering.models import UsageEvent
from tests.flows.constant_load import Load
from tests.flows.stack import Stack
from tests.waiting import wait_until

pytestmark = pytest.mark.engine

#: Calls of each phase, so that an update meets some at every moment.
LEAST = 12


def compose(*, context: int, update: str = "{}", least: int = 1) -> str:
    return f"""
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: {context}
    x-moorage:
      scale: {{min: {least}, max: 3, idle: never}}
      update: {update}
"""


def put(stack: Stack, secret: str, text: str) -> int:
    """Applies, waits until it serves alone; the number of the revision."""
    with stack.api(secret) as api:
        answer = api.put("/deployments/load", params={"wait": "ready"}, content=text)
    assert answer.status_code == 200, answer.text
    number = int(answer.json()["revision"])
    serves_alone(number)
    return number


def serves_alone(number: int) -> None:
    def is_alone() -> bool:
        statuses = Replica.objects.exclude(status=ReplicaStatus.GONE).values_list("revision__number", "status")
        return set(statuses) == {(number, ReplicaStatus.READY)}

    wait_until(is_alone, seconds=90, what=f"revision {number} alone")


@pytest.fixture
def deployment(secret: str, stack: Stack) -> Deployment:
    """A deployment at its first revision."""
    put(stack, secret, compose(context=512))
    return Deployment.objects.get(name="load")


def test_no_request_fails_while_revisions_change(deployment: Deployment, secret: str, stack: Stack) -> None:
    load = Load(stack.openai(secret), model="load/llm")
    took: dict[str, float] = {}

    def phase(name: str, text: str) -> None:
        load.phase = name
        began = time.monotonic()
        put(stack, secret, text)
        took[name] = time.monotonic() - began
        wait_until(lambda: load.count(name) >= LEAST or load.failures, seconds=60, what=f"calls of {name}")

    with load.running():
        wait_until(lambda: load.count("begin") >= LEAST, seconds=60)
        phase("surge", compose(context=384))
        phase("hold", compose(context=512, update="{strategy: hold}"))
        phase("recreate", compose(context=384, update="{strategy: recreate}"))
        phase("scale up", compose(context=384, least=2))
        phase("surge of two", compose(context=512, least=2))
        phase("scale down", compose(context=512, update="{canary: {for: 10s, weight: 50}}"))
        load.phase, began = "rollback", time.monotonic()
        with stack.api(secret) as api:
            assert api.post("/deployments/load/rollback", json={"revision": 1}).status_code == 202
        serves_alone(1)
        took["rollback"] = time.monotonic() - began
        wait_until(lambda: load.count("rollback") >= LEAST, seconds=60)

    print({name: f"{seconds:.1f} s" for name, seconds in took.items()}, f"{len(load.calls)} requests")
    assert load.failures == []
    assert all(
        Update.objects.filter(state=UpdateState.DONE, revision__number=number).exists() for number in range(1, 7)
    )
    billed_once(load)


def billed_once(load: Load) -> None:
    """Every call has one usage event with the tokens that its caller saw, and each of them is rated once."""
    ids = [call.request_id for call in load.calls]
    assert len(set(ids)) == len(ids)
    wait_until(lambda: UsageEvent.objects.filter(pk__in=ids).count() == len(ids), seconds=60, what="all usage events")
    events = {event.pk: event for event in UsageEvent.objects.filter(pk__in=ids)}
    for call in load.calls:
        event = events[call.request_id]
        assert (event.outcome, event.status) == ("completed", 200)
        assert (event.input_tokens, event.output_tokens) == (call.input_tokens, call.output_tokens)

    def rated() -> int:
        lines = RatedUsage.objects.filter(source_id__in=ids, meter="output_tokens")
        return lines.aggregate(total=Sum("quantity"))["total"] or 0

    total = sum(call.output_tokens for call in load.calls)
    wait_until(lambda: rated() >= total, seconds=60, what="all output rated")
    assert rated() == total


def test_a_rollback_brings_no_weights_again(deployment: Deployment, secret: str, stack: Stack) -> None:
    put(stack, secret, compose(context=448))
    began = time.monotonic()

    with stack.api(secret) as api:
        assert api.post("/deployments/load/rollback", json={"revision": 1}).status_code == 202
        accepted = time.monotonic() - began
        wait_until(lambda: Replica.objects.filter(status=ReplicaStatus.READY, revision__number=1).exists(), seconds=60)
        ready = time.monotonic() - began
        serves_alone(1)

    print(f"rollback: accepted {accepted:.2f} s, ready {ready:.2f} s, alone {time.monotonic() - began:.2f} s")
    new = Replica.objects.exclude(status=ReplicaStatus.GONE)
    # What is on the node is looked at and taken as it is.
    assert {replica.pulled_bytes for replica in new} == {0}
