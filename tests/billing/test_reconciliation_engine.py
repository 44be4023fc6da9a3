"""R7 and R8 against what they are about: a real container of a real engine, and the counters it tells itself."""

import datetime as dt

import httpx
import msgspec
import pytest

from moorage.billing.reconciliation import engines, replicas
from moorage.billing.reconciliation.findings import Window
from moorage.deployments import queries, replica_time, services
from moorage.deployments.models import Deployment, DeploymentStatus, Replica
from moorage.kernel import clock
from moorage.metering import services as metering
from moorage.metering import usage_table
from moorage.wire.records import UsageEvent
from tests.billing.measured import request
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE, Harbour, harbour

__all__ = ["harbour"]
pytestmark = pytest.mark.engine
MINUTE = dt.timedelta(minutes=1)


def window(now: dt.datetime) -> Window:
    return Window(since=now - dt.timedelta(days=1), until=clock.now(), now=now)


@pytest.fixture
def serving(committed_cast: Cast, harbour: Harbour) -> Replica:
    """A replica of Alice's, ready: an engine that has answered a token."""
    deployment: Deployment = services.apply(
        organization=committed_cast.alice.organization,
        name="demo",
        compose_text=COMPOSE,
        by=committed_cast.alice.actor,
    ).deployment
    harbour.until(deployment, lambda one: one.status == DeploymentStatus.READY)
    return queries.replicas(deployment).get()


def call(replica: Replica, *, times: int, tokens: int = 200) -> int:
    """Speaks to the engine past the gateway; how many tokens it has answered."""
    transport = httpx.HTTPTransport(uds=replica.socket)
    answered = 0
    with httpx.Client(transport=transport, base_url="http://runner", timeout=60) as client:
        for _ in range(times):
            body = {"model": "demo/llm", "prompt": "The sea", "max_tokens": tokens, "ignore_eos": True}
            answered += client.post("/v1/completions", json=body).json()["usage"]["completion_tokens"]
    return answered


def test_seconds_are_those_of_the_container_that_the_runtime_shows(
    committed_cast: Cast, harbour: Harbour, serving: Replica
) -> None:
    replica_time.record_all(now=clock.now())
    clean = replicas.replicas(window(clock.now()), runtime=harbour.runtime)

    metering.record_replica_time(
        organization_id=committed_cast.alice.organization.pk,
        deployment_id=serving.deployment_id,
        revision_id=serving.revision_id,
        replica_id=serving.pk,
        model_key="llm",
        # After all that is metered: what overlaps is noted once.
        started_at=clock.now() + MINUTE,
        ended_at=clock.now() + dt.timedelta(hours=1),
    )
    lied = replicas.replicas(window(clock.now()), runtime=harbour.runtime)

    assert (clean.findings, clean.compared) == ((), 1)
    assert [one.subject for one in lied.findings] == [serving.pk]
    assert lied.findings[0].code == "metered_too_long"


def test_tokens_that_the_engine_counts_and_nobody_metered_are_found(committed_cast: Cast, serving: Replica) -> None:
    now = clock.now() + MINUTE
    first = engines.engines(window(now))

    past_the_gateway = call(serving, times=8)
    engines.engines(window(now + 5 * MINUTE))
    third = engines.engines(window(now + 10 * MINUTE))

    assert past_the_gateway > 1_200
    assert (first.findings, first.compared) == ((), 1)
    assert [(one.code, one.subject) for one in third.findings] == [("output_not_metered", serving.pk)]


def test_tokens_that_were_metered_and_no_engine_generated_are_found(committed_cast: Cast, serving: Replica) -> None:
    now = clock.now() + MINUTE
    answered = call(serving, times=1, tokens=20)
    event = request(committed_cast.alice.organization.pk, tokens=(3, 0, answered), ended_at=clock.now())
    usage_table.put([_by(event, serving)])
    clean = engines.engines(window(now))

    invented = request(committed_cast.alice.organization.pk, tokens=(3, 0, 5_000), ended_at=clock.now())
    usage_table.put([_by(invented, serving)])
    found = engines.engines(window(clock.now() + 10 * MINUTE))

    assert (clean.findings, clean.compared) == ((), 1)
    assert "metered_more_than_generated" in [one.code for one in found.findings]


def _by(event: UsageEvent, replica: Replica) -> UsageEvent:
    return msgspec.structs.replace(event, replica_id=replica.pk)
