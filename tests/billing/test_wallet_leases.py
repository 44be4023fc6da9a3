"""Money in the wallet is what is served: on two gateway workers, with threads that race for it."""

import concurrent.futures
import datetime as dt
import http.client
import json
import threading

import pytest
from django.db.models import Sum

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Allowance, GatewayWorker
from moorage.billing import currencies, ledger, pricing, rater, wallet_allowance, wallet_settings, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import BillingMode, Grant, GrantKind, Meter, RatedUsage, Wallet
from moorage.kernel import clock
from moorage.kernel.clock import Period
from moorage.metering.models import ShippedBoot
from moorage.metering.shipper import Shipper
from tests.billing.measured import everything_shipped
from tests.cast import Cast
from tests.gateway.conftest import (  # noqa: F401
    MODEL,
    ControlPlane,
    Start,
    alices_key,
    control,
    engine,
    replica,
    start_gateway,
    wait_until_knows,
)
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.storm import Answer, free_port, statuses
from tests.waiting import wait_until

#: What the engine always says when it is told nothing: so many tokens, all that are asked for.
TOKENS = 3
PICO_PER_TOKEN = 600_000
CALL = TOKENS * PICO_PER_TOKEN
CALLS, THREADS, AFFORDED = 1000, 200, 137
Workers = tuple[GatewayProcess, GatewayProcess]


@pytest.fixture
def workers(
    committed_cast: Cast,
    start_gateway: Start,  # noqa: F811
    control: ControlPlane,  # noqa: F811
    engine: FakeEngine,  # noqa: F811
    alices_key: str,  # noqa: F811
    request: pytest.FixtureRequest,
) -> Workers:
    """Two workers behind one port, for a prepaid organization. Output costs, input does not: what a request may cost
    at most is what it does cost. The parameter is what the organization pays in; in another it would cost more."""
    by = committed_cast.alice.actor
    currency = getattr(request, "param", "USD")
    for meter, pico in ((Meter.INPUT_TOKENS, 0), (Meter.CACHED_INPUT_TOKENS, 0), (Meter.OUTPUT_TOKENS, PICO_PER_TOKEN)):
        pricing.set_price(meter=meter, model="*", pico_per_unit=pico, currency=currency, by=by)
    if currency != "USD":
        pricing.set_price(meter=Meter.OUTPUT_TOKENS, model=MODEL, pico_per_unit=10**12, currency="USD", by=by)
        pricing.set_price(meter=Meter.REPLICA_SECONDS, model="*", pico_per_unit=1, currency=currency, by=by)
        currencies.set_currency(
            organization=committed_cast.alice.organization, currency=currency, reason="They asked.", by=by
        )
    prepay(committed_cast)
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
    assert statuses(storm(both, alices_key, 20, threads=4)) == {402: 20}, "nothing is served before there is money"
    return both


def prepay(cast: Cast) -> None:
    wallet_settings.set_mode(
        organization=cast.alice.organization, mode=BillingMode.PREPAID, reason="They pay first.", by=cast.alice.actor
    )


def top_up(cast: Cast, calls: int, source: str = "payment") -> Grant:
    """Money for so many calls."""
    return wallets.grant(
        organization=cast.alice.organization,
        kind=GrantKind.PAID,
        pico=calls * CALL,
        source=source,
        by=MOORAGE,
        funded_by=Account.MEMORY_CLEARING,
    )


def storm(
    workers: Workers, key: str, calls: int, *, threads: int = THREADS, came: list[Answer] | None = None
) -> list[Answer]:
    """So many calls by so many threads, each call on a connection of its own; ``came`` grows with each answer."""
    body = json.dumps(
        {"model": MODEL, "messages": [{"role": "user", "content": "hello"}], "max_tokens": TOKENS}
    ).encode()
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json", "Connection": "close"}
    answers: list[Answer] = [] if came is None else came

    def call(_: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", workers[0].port, timeout=30)
        try:
            connection.request("POST", "/v1/chat/completions", body, headers)
            response = connection.getresponse()
            content = response.read().decode()
        except (OSError, http.client.HTTPException):
            answers.append(Answer(status=0, headers={}, body=""))
        else:
            answers.append(Answer(status=response.status, headers=dict(response.headers), body=content))
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(call, range(calls)))
    return answers


def first_served(workers: Workers, key: str) -> list[Answer]:
    """Calls until one is served: after a refusal others are refused at once for a quarter of a second."""
    found: list[Answer] = []
    wait_until(lambda: statuses(storm(workers, key, 1, threads=1, came=found))[200] > 0, seconds=5)
    return found


def settle(*workers: GatewayProcess) -> None:
    """What the workers have served is shipped, rated, and compared with what they said."""
    for worker in workers:
        Shipper(directory=worker.journal_dir).ship()
    rater.rate_all()


def allowance() -> Allowance:
    return Allowance.objects.get(measure="money", window="always")


def charged() -> int:
    return int(RatedUsage.objects.aggregate(sum=Sum("amount_pico"))["sum"] or 0)


def captured(cast: Cast) -> int:
    return wallets.applied_in(cast.alice.organization.id, Period.containing(clock.now()).start)


@pytest.mark.parametrize(("workers", "currency"), [("USD", "USD"), ("EUR", "EUR")], indirect=["workers"])
def test_a_thousand_calls_race_for_money_for_137(
    workers: Workers,
    committed_cast: Cast,
    alices_key: str,  # noqa: F811
    currency: str,
) -> None:
    top_up(committed_cast, AFFORDED)

    answers = first_served(workers, alices_key)
    storm(workers, alices_key, CALLS - len(answers), came=answers)

    assert statuses(answers) == {200: AFFORDED, 402: CALLS - AFFORDED}
    error = json.loads(next(answer for answer in answers if answer.status == 402).body)["error"]
    assert error["code"] == "budget_exhausted"
    assert error["balance"] == f"0.00 {currency}"
    assert f" {currency}" in error["message"]
    assert error["top_up_url"] == "https://console.example/harbour/wallet"
    wait_until(lambda: allowance().used == AFFORDED * CALL, seconds=5)
    settle(*workers)
    assert charged() == captured(committed_cast) == AFFORDED * CALL
    assert Wallet.objects.get(pk=committed_cast.alice.organization.pk).credit_pico == 0
    assert ledger.balance(organization=committed_cast.alice.organization, kind=Account.RECEIVABLE) == 0
    assert wallets.prove().is_clean


def test_a_top_up_in_the_middle_is_served_to_the_last_call(
    workers: Workers,
    committed_cast: Cast,
    alices_key: str,  # noqa: F811
) -> None:
    top_up(committed_cast, AFFORDED)
    found = first_served(workers, alices_key)
    thread = threading.Thread(target=lambda: storm(workers, alices_key, CALLS, came=found))

    thread.start()
    wait_until(lambda: statuses(found)[200] >= 60, seconds=20)
    top_up(committed_cast, 50, source="another payment")
    thread.join(60)
    # Whoever was refused while the money was on its way may ask again.
    wait_until(lambda: statuses(storm(workers, alices_key, 20, came=found))[200] >= AFFORDED + 50, seconds=20)
    more = storm(workers, alices_key, 100)

    assert statuses(found)[200] == AFFORDED + 50
    assert statuses(found).keys() == {200, 402}
    assert statuses(more) == {402: 100}
    settle(*workers)
    assert charged() == captured(committed_cast) == (AFFORDED + 50) * CALL
    assert wallets.prove().is_clean


def test_a_worker_killed_in_the_middle_neither_loses_nor_doubles_money(
    workers: Workers,
    committed_cast: Cast,
    alices_key: str,  # noqa: F811
) -> None:
    top_up(committed_cast, AFFORDED)
    found = first_served(workers, alices_key)
    thread = threading.Thread(target=lambda: storm(workers, alices_key, CALLS, came=found))

    thread.start()
    wait_until(lambda: statuses(found)[200] >= 30, seconds=20)
    workers[0].kill()
    thread.join(120)
    assert allowance().used + allowance().leased <= AFFORDED * CALL
    shipper = Shipper(directory=workers[0].journal_dir)
    wait_until(lambda: shipper.ship() >= 0 and ShippedBoot.objects.filter(pk=workers[0].boot).exists(), seconds=10)
    settle(workers[1])
    wait_until(lambda: GatewayWorker.objects.count() == 1, seconds=15, what="the dead worker's lease to be taken back")
    more = storm(workers, alices_key, 200)

    settle(workers[1])
    assert statuses(more).keys() <= {200, 402}, "what is left is served to the last call, and not one more"
    assert statuses(found)[200] + statuses(more)[200] <= AFFORDED
    assert charged() == captured(committed_cast), "all that was charged was paid from the wallet"
    assert AFFORDED * CALL - CALL < charged() <= AFFORDED * CALL, "never more, and nothing lost"
    assert Wallet.objects.get(pk=committed_cast.alice.organization.pk).credit_pico == AFFORDED * CALL - charged()
    assert wallets.prove().is_clean

    def agrees() -> bool:
        everything_shipped(clock.now() + dt.timedelta(seconds=1))
        wallet_allowance.keep()
        return [allowance().used, allowance().leased, allowance().capacity] == [charged(), 0, AFFORDED * CALL]

    wait_until(agrees, seconds=15, what="the allowance to be what was charged")
