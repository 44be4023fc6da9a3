"""Flow D through its tiers: idle, frozen, stopped, absent, and back from each at the next request."""

import concurrent.futures
import contextlib
import dataclasses
from collections.abc import Iterator

import pytest
from openai import APIStatusError

from moorage.deployments.models import Awakening, Deployment, Replica, ReplicaStatus, TimelineEvent, Wake
from moorage.deployments.reasons import Reason
from moorage.fleet.models import Reservation
from tests.flows.stack import Stack
from tests.waiting import wait_until

R = ReplicaStatus
COMPOSE = """
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 512
    x-moorage:
      scale: {min: 0, max: 1, idle: 2, sleep: SLEEP}
"""
SLEEP = {
    R.FROZEN: "{frozen: 1h, stopped: 1h}",
    R.STOPPED: "{frozen: never, stopped: 1h}",
    R.GONE: "{frozen: never, stopped: never}",
}
MANY = 500


@dataclasses.dataclass(frozen=True)
class Sleeping:
    """A deployment that rests in one tier."""

    name: str
    replica_id: str

    @property
    def model(self) -> str:
        return f"{self.name}/llm"

    @property
    def replica(self) -> Replica:
        return Replica.objects.get(pk=self.replica_id)


@contextlib.contextmanager
def deployed(stack: Stack, secret: str, name: str, sleep: str) -> Iterator[Deployment]:
    with stack.api(secret) as api:
        put = api.put(f"/deployments/{name}", params={"wait": "ready"}, content=COMPOSE.replace("SLEEP", sleep))
        assert put.status_code == 200, put.text
        yield Deployment.objects.not_deleted().get(name=name)
        assert api.delete(f"/deployments/{name}").status_code in {200, 202, 204}
    wait_until(
        lambda: not Replica.objects.filter(deployment__name=name).exclude(status=R.GONE).exists(),
        seconds=60,
        what="nothing is left of it",
    )


@pytest.fixture
def asleep(request: pytest.FixtureRequest, stack: Stack, secret: str) -> Iterator[Sleeping]:
    """A deployment in the tier that the test names."""
    tier: R = request.param
    with deployed(stack, secret, f"nap-{tier}", SLEEP[tier]) as deployment:
        replica = deployment.replicas.get(status=R.READY)
        wait_until(lambda: rests(replica.pk, tier), seconds=60, what=f"{tier}")
        with stack.api(secret) as api:
            wait_until(lambda: api.get(f"/deployments/nap-{tier}").json()["status"] == "idle", seconds=30)
        yield Sleeping(f"nap-{tier}", replica.pk)


def rests(replica_id: str, tier: R) -> bool:
    """In its tier, and nobody is at it any more."""
    replica = Replica.objects.get(pk=replica_id)
    return replica.status == tier and replica.lease_until is None


@pytest.mark.parametrize("asleep", list(SLEEP), indirect=True)
def test_a_request_is_held_while_it_wakes_and_is_answered(asleep: Sleeping, secret: str, stack: Stack) -> None:
    tier = asleep.replica.status

    answer = stack.openai(secret).completions.create(model=asleep.model, prompt="The sea", max_tokens=4)

    assert answer.usage is not None
    awake = Replica.objects.get(deployment__name=asleep.name, status=R.READY)
    assert (awake.pk == asleep.replica_id) == (tier != R.GONE)
    wait_until(lambda: not Wake.objects.exists(), seconds=20, what="the wake is answered")
    came_from = "absent" if tier == R.GONE else tier
    wait_until(
        lambda: Awakening.objects.filter(replica=awake, tier=came_from).exists(), seconds=10, what="what it took"
    )
    assert Reservation.objects.filter(pk=awake.pk).exists()


@pytest.mark.parametrize("asleep", [R.FROZEN, R.STOPPED], indirect=True)
def test_500_requests_at_once_cause_one_wake(asleep: Sleeping, secret: str, stack: Stack) -> None:
    client = stack.openai(secret)
    before = Replica.objects.count()

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = list(
            pool.map(
                lambda _: client.completions.create(model=asleep.model, prompt="The sea", max_tokens=1), range(MANY)
            )
        )

    assert len([answer for answer in answers if answer.usage]) == MANY
    assert Replica.objects.count() == before
    woken = TimelineEvent.objects.filter(replica_id=asleep.replica_id, message__startswith=Reason.AWAKE.sentence)
    assert woken.count() == 1


@pytest.mark.parametrize("asleep", [R.GONE], indirect=True)
def test_requests_for_what_is_gone_start_it_once(asleep: Sleeping, secret: str, stack: Stack) -> None:
    client = stack.openai(secret)
    before = Replica.objects.count()

    with concurrent.futures.ThreadPoolExecutor(100) as pool:
        answers = list(
            pool.map(
                lambda _: client.completions.create(model=asleep.model, prompt="The sea", max_tokens=1), range(MANY)
            )
        )

    assert len([answer for answer in answers if answer.usage]) == MANY
    assert Replica.objects.count() == before + 1


@pytest.mark.parametrize("asleep", [R.STOPPED], indirect=True)
def test_whoever_waits_for_an_engine_that_never_becomes_ready_gets_a_clear_end(
    asleep: Sleeping, secret: str, stack: Stack
) -> None:
    # Its container starts, and what should answer does not.
    Replica.objects.filter(pk=asleep.replica_id).update(socket="/nowhere/engine.sock")
    client = stack.openai(secret)

    def refusal(_: int) -> str:
        with pytest.raises(APIStatusError) as refused:
            client.completions.create(
                model=asleep.model, prompt="The sea", max_tokens=1, extra_headers={"X-Moorage-Wait": "4"}
            )
        return f"{refused.value.status_code} {refused.value.response.headers.get('retry-after', '')}"

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        ends = list(pool.map(refusal, range(20)))

    assert {end.split()[0] for end in ends} == {"503"}
    assert all(int(end.split()[1]) >= 1 for end in ends)


def test_nobody_calls_and_it_goes_down_tier_by_tier_and_comes_back(secret: str, stack: Stack) -> None:
    with deployed(stack, secret, "downhill", "{frozen: 3s, stopped: 3s}") as deployment:
        replica = deployment.replicas.get(status=R.READY)

        wait_until(lambda: Replica.objects.get(pk=replica.pk).status == R.GONE, seconds=60, what="gone")

        moves = TimelineEvent.objects.filter(replica=replica).order_by("at").values_list("code", flat=True)
        down = ["replica_draining", "replica_frozen", "replica_stopped", "replica_stopping", "replica_gone"]
        assert [code for code in moves if code in down] == down
        answer = stack.openai(secret).completions.create(model="downhill/llm", prompt="The sea", max_tokens=2)
        assert answer.usage is not None
