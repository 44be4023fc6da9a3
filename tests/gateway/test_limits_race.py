"""Limits hold on two workers that race for them: exactly what there is is served, whoever asks."""

import functools
import json
import threading
import time
from collections.abc import Callable

import pytest
from django.db.models import Sum

from moorage.accounts import limits as accounts_limits
from moorage.accounts import queries as accounts
from moorage.accounts.models import Allowance, GatewayWorker
from moorage.billing import pricing, rater
from moorage.billing.models import Meter, RatedUsage
from moorage.metering.models import ShippedBoot
from moorage.metering.shipper import Shipper
from moorage.wire.limits import Limits
from tests.cast import Cast
from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.storm import Answer, free_port, statuses, storm
from tests.waiting import wait_until

#: What the engine always says when it is told nothing: so many tokens, all that are asked for.
TOKENS = 3
PICO_PER_TOKEN = 600_000
BUDGET = 137
Storm = Callable[..., list[Answer]]


@pytest.fixture
def priced(committed_cast: Cast) -> None:
    """Output costs, input does not: what a request may cost at most is what it does cost."""
    by = committed_cast.alice.actor
    for meter, pico in ((Meter.INPUT_TOKENS, 0), (Meter.CACHED_INPUT_TOKENS, 0), (Meter.OUTPUT_TOKENS, PICO_PER_TOKEN)):
        pricing.set_price(meter=meter, model="*", pico_per_unit=pico, by=by)


@pytest.fixture
def workers(
    priced: None, start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> tuple[GatewayProcess, GatewayProcess]:
    """Two workers behind one port."""
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    settings = {
        "MOORAGE_GATEWAY_PORT": str(free_port()),
        "MOORAGE_GATEWAY_REUSE_PORT": "1",
        "MOORAGE_CONSOLE_URL": "https://console.example",
    }
    both = start_gateway(**settings), start_gateway(**settings)
    wait_until(lambda: GatewayWorker.objects.count() == 2, seconds=10)
    for _ in range(6):  # whichever of the two it reaches
        wait_until_knows(both[0], alices_key, MODEL)
    return both


def limit(cast: Cast, **limits: int) -> None:
    """Limits Alice's organization."""
    organization = cast.alice.organization
    accounts_limits.set_limits(
        organization=organization, subject=organization.id, limits=Limits(**limits), by=cast.alice.actor
    )


def limit_key(cast: Cast, **limits: int) -> None:
    """Limits Alice's key."""
    key = accounts.keys_of(cast.alice.organization).get()
    accounts_limits.set_limits(
        organization=cast.alice.organization, subject=key.id, limits=Limits(**limits), by=cast.alice.actor
    )


def ask(workers: tuple[GatewayProcess, GatewayProcess], key: str, calls: int, **members: object) -> list[Answer]:
    return storm(workers[0].port, key, calls=calls, model=MODEL, **{"max_tokens": TOKENS, **members})  # type: ignore[arg-type]


def used(measure: str) -> Allowance:
    return Allowance.objects.get(measure=measure)


def test_a_thousand_calls_race_for_a_budget_of_137(
    workers: tuple[GatewayProcess, GatewayProcess], committed_cast: Cast, alices_key: str
) -> None:
    limit(committed_cast, money_per_month=BUDGET * TOKENS * PICO_PER_TOKEN)

    answers = ask(workers, alices_key, 1000)

    assert statuses(answers) == {200: BUDGET, 402: 1000 - BUDGET}
    refused = next(answer for answer in answers if answer.status == 402)
    error = json.loads(refused.body)["error"]
    assert error["code"] == "budget_exhausted"
    assert error["balance"] == "0.00 USD"
    assert error["top_up_url"] == "https://console.example/harbour/limits"
    wait_until(lambda: used("money").used == BUDGET * TOKENS * PICO_PER_TOKEN, seconds=5)


def fresh_minute(*, after: int) -> bool:
    """Whether a minute runs that is not ``after``, and has some time left."""
    now = time.time()
    return now // 60 != after and now % 60 < 40


def within_a_minute(do: Callable[[], list[Answer]]) -> list[Answer]:
    """What ``do`` says where no minute begins while it lasts; else it is asked again in one that nobody has used."""
    used = -1
    for _ in range(4):
        wait_until(functools.partial(fresh_minute, after=used), seconds=90, what="a fresh minute")
        began = int(time.time() // 60)
        answers = do()
        used = int(time.time() // 60)
        if used == began:
            return answers
    raise AssertionError("this machine never got through within a minute")


def test_requests_a_minute_are_exact_on_two_workers(
    workers: tuple[GatewayProcess, GatewayProcess], committed_cast: Cast, alices_key: str
) -> None:
    limit_key(committed_cast, requests_per_minute=50)

    answers = within_a_minute(lambda: ask(workers, alices_key, 400))

    assert statuses(answers) == {200: 50, 429: 350}
    refused = next(answer for answer in answers if answer.status == 429)
    assert 1 <= int(refused.headers["retry-after"]) <= 61
    assert refused.headers["x-ratelimit-limit-requests"] == "50"
    assert refused.headers["x-ratelimit-remaining-requests"] == "0"
    served = next(answer for answer in answers if answer.status == 200)
    assert served.headers["x-ratelimit-limit-requests"] == "50"


def test_concurrent_requests_are_exact_on_two_workers(
    workers: tuple[GatewayProcess, GatewayProcess], committed_cast: Cast, alices_key: str, engine: FakeEngine
) -> None:
    limit_key(committed_cast, concurrent_requests=7)
    engine.go.clear()
    found: list[Answer] = []
    members = {"messages": [{"role": "user", "content": json.dumps({"wait": True})}]}
    thread = threading.Thread(target=lambda: ask(workers, alices_key, 60, came=found, **members))

    thread.start()
    wait_until(lambda: len(engine.seen) == 7, seconds=10)
    wait_until(lambda: len(found) == 53, seconds=10)
    engine.go.set()
    thread.join(20)

    assert statuses(found) == {200: 7, 429: 53}
    assert next(answer for answer in found if answer.status == 429).headers["retry-after"] == "1"
    assert statuses(ask(workers, alices_key, 3)) == {200: 3}, "places come back"


def test_a_worker_killed_in_the_race_takes_nothing_with_it_for_ever(
    workers: tuple[GatewayProcess, GatewayProcess],
    committed_cast: Cast,
    alices_key: str,
    engine: FakeEngine,
    start_gateway: Start,
) -> None:
    whole = BUDGET * TOKENS * PICO_PER_TOKEN
    limit(committed_cast, money_per_month=whole)
    found: list[Answer] = []
    thread = threading.Thread(target=lambda: ask(workers, alices_key, 100, at_once=8, came=found))

    thread.start()
    wait_until(lambda: statuses(found)[200] >= 30, seconds=20)
    workers[0].kill()
    thread.join(30)
    in_doubt = Allowance.objects.get()
    assert in_doubt.used + in_doubt.leased <= whole
    assert statuses(found)[200] <= BUDGET

    # The dead worker's journal is read, what it served is rated, and the rest of its lease is there again.
    shipper = Shipper(directory=workers[0].journal_dir)
    wait_until(lambda: shipper.ship() >= 0 and ShippedBoot.objects.filter(pk=workers[0].boot).exists(), seconds=10)
    rater.rate_all()
    wait_until(lambda: GatewayWorker.objects.count() == 1, seconds=15, what="the dead worker's leases to be taken back")
    more = ask(workers, alices_key, 200)

    Shipper(directory=workers[1].journal_dir).ship()
    rater.rate_all()
    wait_until(lambda: Allowance.objects.get().leased < TOKENS * PICO_PER_TOKEN, seconds=10)
    billed = RatedUsage.objects.aggregate(sum=Sum("amount_pico"))["sum"]
    allowance = Allowance.objects.get()
    assert statuses(more).keys() == {200, 402}
    assert billed == allowance.used
    assert whole - TOKENS * PICO_PER_TOKEN < allowance.used <= whole, "never more, and nothing lost"
    assert statuses(found)[200] + statuses(more)[200] <= BUDGET


def test_a_worker_that_ends_in_order_gives_everything_back(
    workers: tuple[GatewayProcess, GatewayProcess], committed_cast: Cast, alices_key: str
) -> None:
    limit(committed_cast, money_per_month=BUDGET * TOKENS * PICO_PER_TOKEN)
    assert statuses(ask(workers, alices_key, 20)) == {200: 20}

    for worker in workers:
        assert worker.stop() == 0

    assert GatewayWorker.objects.count() == 0
    allowance = Allowance.objects.get()
    assert [int(allowance.leased), int(allowance.used)] == [0, 20 * TOKENS * PICO_PER_TOKEN]
