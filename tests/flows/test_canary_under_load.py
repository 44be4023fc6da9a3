"""A revision on trial is judged while callers call: a bad one goes by itself, and only its own share ever failed."""

import sys
import time
from pathlib import Path

import pytest

from moorage.deployments.models import Deployment, Replica, ReplicaStatus, Route, Update, UpdateState
from moorage.metering.models import UsageEvent
from tests.flows import moody_engine
from tests.flows.constant_load import Load
from tests.flows.stack import Stack
from tests.waiting import wait_until

pytestmark = pytest.mark.engine

R, U = ReplicaStatus, UpdateState
#: The context of a revision says which engine it gets: of the four slots of each, llama-server is told the sum.
GOOD, BETTER, FAILING, SLOW = 512, 448, 384, 320
WRAPPER = """#!/bin/sh
case " $* " in
*" --ctx-size {failing} "*) exec {python} {moody} failing "$@" ;;
*" --ctx-size {slow} "*) exec {python} {moody} slow "$@" ;;
esac
exec {llama_server} "$@"
"""
COMPOSE = """
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: {context}
    x-moorage:
      scale: {{min: 1, max: 1, idle: never}}
      update: {{canary: {{weight: 25, for: {trial}, errors: 2%, first_token: 2x}}}}
"""


@pytest.fixture(scope="module")
def runtime(llama_server: Path, stack_home: Path) -> dict[str, str]:
    """The real engine, and in its place a moody one for two of the revisions."""
    engine = stack_home / "engine"
    engine.write_text(
        WRAPPER.format(
            failing=4 * FAILING,
            slow=4 * SLOW,
            python=sys.executable,
            moody=Path(moody_engine.__file__),
            llama_server=llama_server,
        )
    )
    engine.chmod(0o755)
    return {"MOORAGE_RUNTIME": "process", "MOORAGE_LLAMA_SERVER": str(engine)}


def put(stack: Stack, secret: str, context: int, *, trial: str = "10m") -> int:
    """Applies; the number of the revision."""
    with stack.api(secret) as api:
        answer = api.put("/deployments/trial", content=COMPOSE.format(context=context, trial=trial))
    assert answer.status_code in {200, 202}, answer.text
    return int(answer.json()["revision"])


def serves_alone(number: int) -> bool:
    rows = Replica.objects.exclude(status=R.GONE).values_list("revision__number", "status")
    return set(rows) == {(number, R.READY)}


@pytest.fixture
def load(secret: str, stack: Stack) -> Load:
    """Callers of a deployment that serves well."""
    good = put(stack, secret, GOOD)
    wait_until(lambda: serves_alone(good), seconds=90, what="the good revision alone")
    return Load(stack.openai(secret), model="trial/llm", max_tokens=8)


def tried(number: int) -> Update:
    return Update.objects.get(revision__number=number, state__in=[U.TRIAL, U.ROLLED_BACK, U.DONE, U.TAKING_OVER])


@pytest.mark.parametrize(("context", "says"), [(FAILING, "requests failed"), (SLOW, "The first token takes")])
def test_a_bad_revision_is_rolled_back_by_itself_and_only_its_own_share_failed(
    load: Load, secret: str, stack: Stack, context: int, says: str
) -> None:
    before = Deployment.objects.get().target
    assert before is not None
    with load.running():
        wait_until(lambda: len(load.calls) >= 8, seconds=60)
        began = time.monotonic()
        number = put(stack, secret, context)
        wait_until(lambda: tried(number).state == U.ROLLED_BACK, seconds=150, what=lambda: tried(number).figures)
        took = time.monotonic() - began
        wait_until(lambda: serves_alone(before.number), seconds=60, what="what served before, alone")
        load.phase = "after"
        wait_until(lambda: load.count("after") >= 12, seconds=60)

    update = tried(number)
    failures = load.failures
    events = {event.pk: event for event in until_known([call.request_id for call in failures])}
    print(f"rolled back after {took:.1f} s; {len(load.calls)} requests, {len(failures)} failed; {update.why}")
    assert says in update.why
    assert {event.revision_id for event in events.values()} <= {update.revision_id}, "its own share alone"
    assert bool(failures) == (context == FAILING)
    assert not [call for call in failures if call.phase == "after"]
    assert Deployment.objects.get().target_id == before.pk
    assert {one["revision_id"] for one in Route.objects.get().document["replicas"]} == {before.pk}
    codes = list(Deployment.objects.get().timeline.order_by("at", "id").values_list("code", flat=True))
    assert codes.index("canary_began") < codes.index("canary_rolled_back")


def until_known(request_ids: list[str]) -> list[UsageEvent]:
    """Their usage events, once all are there."""
    assert all(request_ids)
    rows = UsageEvent.objects.filter(pk__in=request_ids)
    wait_until(lambda: rows.count() == len(request_ids), seconds=60, what="the usage events of what failed")
    return list(rows)


def test_a_good_revision_is_promoted_by_itself_and_no_request_fails(load: Load, secret: str, stack: Stack) -> None:
    with load.running():
        wait_until(lambda: len(load.calls) >= 8, seconds=60)
        began = time.monotonic()
        number = put(stack, secret, BETTER, trial="10s")
        wait_until(lambda: serves_alone(number), seconds=120, what="the better revision alone")
        took = time.monotonic() - began
        load.phase = "after"
        wait_until(lambda: load.count("after") >= 12, seconds=60)

    update = tried(number)
    print(f"promoted and alone after {took:.1f} s; {len(load.calls)} requests; {update.why}")
    assert load.failures == []
    assert update.state == U.DONE and "within every limit" in update.why
    codes = list(Deployment.objects.get().timeline.values_list("code", flat=True))
    assert "canary_promoted" in codes
