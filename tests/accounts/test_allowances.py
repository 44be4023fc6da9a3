"""Allowances: however many workers lease from one, what is used and leased together stays within it."""

import random
import threading
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from moorage.accounts import limits as accounts_limits
from moorage.accounts.models import Allowance, GatewayWorker, Lease
from moorage.wire.limits import Limits
from tests.accounts.allowances import DAY, Worker
from tests.cast import Cast

Hire = Callable[[str], Worker]


@pytest.fixture
def hire(database_url: str) -> Iterator[Hire]:
    """Makes workers, each with a connection of its own."""
    made = []

    def start(boot_id: str) -> Worker:
        made.append(psycopg.connect(database_url, autocommit=True))
        return Worker(made[-1], boot_id)

    yield start
    for connection in made:
        connection.close()


def limit(cast: Cast, subject: str | None = None, **limits: int) -> str:
    """Limits a subject of Alice's, her organization unless told otherwise."""
    organization = cast.alice.organization
    found = subject or organization.pk
    accounts_limits.set_limits(organization=organization, subject=found, limits=Limits(**limits), by=cast.alice.actor)
    return found


def test_a_lease_is_a_share_and_the_last_of_it_goes_to_whoever_needs_it(committed_cast: Cast, hire: Hire) -> None:
    subject = limit(committed_cast, tokens_per_day=1000)
    first, second = hire("gw_1"), hire("gw_2")

    assert first.ask(subject, enough=1, target=10_000) == [500, 500, 1000, 0]
    assert second.ask(subject, enough=1, target=10_000) == [125, 375, 1000, 500], "a quarter of what is left"
    assert second.ask(subject, enough=500, target=500) == [500, 0, 1000, 500]
    assert first.ask(subject, enough=501, target=501) == [500, 0, 1000, 500], "nothing rather than too little"


def test_what_is_said_twice_counts_once(committed_cast: Cast, hire: Hire) -> None:
    subject = limit(committed_cast, tokens_per_day=1000)
    worker = hire("gw_1")
    worker.ask(subject, number=1, enough=100, target=100)

    for _ in range(2):
        assert worker.ask(subject, number=2, spent=30, given=10, enough=0, target=0) == [60, 910, 1000, 0]

    allowance = Allowance.objects.get()
    assert [int(allowance.used), int(allowance.leased)] == [30, 60]


def test_nobody_can_say_more_than_was_leased(committed_cast: Cast, hire: Hire) -> None:
    subject = limit(committed_cast, tokens_per_day=1000)
    worker = hire("gw_1")
    worker.ask(subject, enough=100, target=100)

    worker.ask(subject, spent=5000, given=5000)

    allowance = Allowance.objects.get()
    assert [int(allowance.used), int(allowance.leased)] == [100, 0]


def test_there_is_nothing_to_lease_where_nothing_is_limited(committed_cast: Cast, hire: Hire) -> None:
    limit(committed_cast, tokens_per_day=1000)

    assert hire("gw_1").ask(committed_cast.charlie.organization.pk, enough=1, target=1) == []
    assert hire("gw_1").ask(committed_cast.alice.organization.pk, measure="money", enough=1, target=1) == []


def test_whoever_is_short_calls_the_others(committed_cast: Cast, hire: Hire, database_url: str) -> None:
    subject = limit(committed_cast, tokens_per_day=100)
    first, second = hire("gw_1"), hire("gw_2")
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("LISTEN moorage_lease")
        first.ask(subject, enough=100, target=100, call=True)
        second.ask(subject, enough=10, target=10)
        second.ask(subject, enough=10, target=10, call=True)
        notices = [notice.payload for notice in listener.notifies(timeout=5, stop_after=1)]

    assert notices == [f"gw_2 {subject} tokens day {DAY[0]}"]


def test_a_worker_that_leaves_gives_everything_back(committed_cast: Cast, hire: Hire) -> None:
    subject = limit(committed_cast, tokens_per_day=100, concurrent_requests=3)
    worker = hire("gw_1")
    worker.ask(subject, enough=60, target=60)
    worker.ask(subject, measure="concurrent", window="always", starts=0, ends=2**53, enough=3, target=3)

    worker.connection.execute("SELECT gateway_leave('gw_1')")

    assert {int(row.leased) for row in Allowance.objects.all()} == {0}
    assert not Lease.objects.exists()
    assert not GatewayWorker.objects.exists()


def test_a_wallet_is_an_allowance_that_somebody_else_fills(committed_cast: Cast, hire: Hire) -> None:
    organization = committed_cast.alice.organization
    Allowance.objects.create(
        organization=organization,
        subject=organization.pk,
        measure="money",
        window="always",
        starts=0,
        ends=2**53,
        capacity=50,
        ceiling=50,
    )
    wallet: dict[str, Any] = {"measure": "money", "window": "always", "starts": 0, "ends": 2**53}
    worker = hire("gw_1")

    assert worker.ask(organization.pk, enough=60, target=60, **wallet) == [0, 50, 50, 0]
    Allowance.objects.update(capacity=80, ceiling=80)
    assert worker.ask(organization.pk, enough=60, target=60, **wallet) == [60, 20, 80, 0]


def test_a_window_that_has_ended_is_forgotten(committed_cast: Cast, hire: Hire) -> None:
    subject = limit(committed_cast, requests_per_minute=5)
    worker = hire("gw_1")
    minute: dict[str, Any] = {"measure": "requests", "window": "minute", "starts": 600, "ends": 660}
    worker.ask(subject, enough=1, target=1, **minute)
    worker.connection.execute("SELECT sweep_allowances()")
    assert Allowance.objects.exists(), "it is leased"

    worker.ask(subject, spent=1, **minute)
    worker.connection.execute("SELECT sweep_allowances()")

    assert not Allowance.objects.exists()


def test_eight_workers_race_for_twelve_allowances_in_any_order(committed_cast: Cast, database_url: str) -> None:
    subjects = [limit(committed_cast, f"key_{number}", tokens_per_day=1000) for number in range(12)]
    used = dict.fromkeys(subjects, 0)
    lock = threading.Lock()
    failures: list[BaseException] = []

    def work(number: int) -> None:
        chance = random.Random(number)
        held = dict.fromkeys(subjects, 0)
        try:
            with psycopg.connect(database_url, autocommit=True) as connection:
                worker = Worker(connection, f"gw_{number}")
                for _ in range(40):
                    chosen = chance.sample(subjects, 6)
                    asked = []
                    for subject in chosen:
                        spent = chance.randint(0, held[subject])
                        given = chance.randint(0, held[subject] - spent)
                        enough = held[subject] - spent - given + chance.randint(0, 60)
                        with lock:
                            used[subject] += spent
                        asked.append(
                            {
                                "subject": subject,
                                "measure": "tokens",
                                "spent": spent,
                                "given": given,
                                "enough": enough,
                                "target": enough + 50,
                            }
                        )
                    for n, amount, *_ in worker.ask_many(asked):
                        held[chosen[n]] = amount
                connection.execute("SELECT gateway_leave(%s)", [worker.boot_id])
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert failures == []
    assert {row.subject: int(row.used) for row in Allowance.objects.all()} == used
    assert {int(row.leased) for row in Allowance.objects.all()} == {0}
    assert max(used.values()) <= 1000
