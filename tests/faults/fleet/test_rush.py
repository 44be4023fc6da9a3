"""Five hundred requests at once for a deployment that sleeps: one wake, one container, bounded queues."""

import collections
import concurrent.futures
import os
import time

import httpx
import pytest

from tests.faults.fleet.quay import MINUTE, Quay, compose
from tests.faults.fleet.watch import Watch
from tests.waiting import wait_until

pytestmark = [pytest.mark.docker, pytest.mark.engine]

REQUESTS = int(os.environ.get("MOORAGE_FAULT_RUSH") or 500)


def asleep(quay: Quay, name: str, *statuses: str) -> bool:
    """Whether nothing of it serves any more, and what is left of it sleeps as it should."""
    return quay.status(name) == "idle" and [one["status"] for one in quay.replicas(name)] == list(statuses)


def rush(quay: Quay, model: str, *, seconds: float) -> "collections.Counter[int]":
    """All at once; the statuses that came back, -1 for none."""
    limits = httpx.Limits(max_connections=REQUESTS)
    body = {"model": model, "prompt": "The sea", "max_tokens": 1}

    with httpx.Client(limits=limits, timeout=seconds, trust_env=False) as client:

        def ask(_: int) -> int:
            try:
                answer = client.post(
                    f"{quay.gateway_url}/v1/completions", json=body, headers={"Authorization": f"Bearer {quay.key}"}
                )
            except httpx.HTTPError:
                return -1
            return answer.status_code

        with concurrent.futures.ThreadPoolExecutor(REQUESTS) as pool:
            return collections.Counter(pool.map(ask, range(REQUESTS)))


@pytest.mark.parametrize("tier", ["absent", "stopped", "frozen"])
def test_a_rush_wakes_it_once_and_everybody_is_answered(quay: Quay, watch: Watch, tier: str) -> None:
    beds = {} if tier == "absent" else {tier: "10m"}
    quay.apply("sleepy", compose(least=0, idle="3s", **beds))
    quay.ready("sleepy", seconds=1.5 * MINUTE)
    sleeps = [] if tier == "absent" else [tier]
    wait_until(lambda: asleep(quay, "sleepy", *sleeps), seconds=1.5 * MINUTE, what=f"its sleep, {tier}")
    before = quay.rows("SELECT count(*) FROM replica")[0][0]
    began = time.monotonic()

    statuses = rush(quay, "sleepy/llm", seconds=120)

    watch.note(f"a rush of {REQUESTS}: {dict(statuses)}")
    assert sum(statuses.values()) == REQUESTS
    # What the queue has no place for is told so at once; nobody is left without an answer.
    assert set(statuses) <= {200, 429, 503}, statuses
    assert statuses[200] >= 1
    made = int(tier == "absent")
    assert quay.rows("SELECT count(*) FROM replica")[0][0] == before + made
    assert len({call.path for call in quay.engine.creates_since(began)}) == made
    assert quay.rows("SELECT count(*) FROM wake")[0][0] == 0


def test_an_engine_that_never_comes_gives_everyone_a_clear_end(quay: Quay, watch: Watch) -> None:
    quay.apply("sleepy", compose(least=0, idle="3s"))
    quay.ready("sleepy", seconds=1.5 * MINUTE)
    wait_until(lambda: asleep(quay, "sleepy"), seconds=1.5 * MINUTE, what="its sleep")
    quay.dress("worker-provision", MOORAGE_LLAMACPP_IMAGE="moorage-faults/nowhere:1")
    try:
        statuses = rush(quay, "sleepy/llm", seconds=150)

        watch.note(f"a rush of {REQUESTS}: {dict(statuses)}")
        assert statuses[200] == statuses[-1] == 0, "nobody is left waiting for ever"
        assert set(statuses) <= {429, 503, 504}, statuses
    finally:
        quay.dress("worker-provision", MOORAGE_LLAMACPP_IMAGE=quay.image)
    quay.apply("sleepy", compose(least=1))
    quay.ready("sleepy", seconds=1.5 * MINUTE)
