"""What the gateways may spend follows the wallet, and what they said they used converges to what was charged."""

import datetime as dt
import threading
from collections.abc import Iterator

import msgspec
import psycopg
import pytest
from django.db import connections, transaction

from moorage.accounts import allowances
from moorage.accounts import services as accounts
from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Allowance
from moorage.billing import ledger, pricing, rater, wallet_allowance, wallet_settings, wallets
from moorage.billing.errors import InvalidWallet, ReasonMissing
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import BillingMode, GrantKind, Meter, Wallet
from moorage.kernel import clock, window
from moorage.metering import usage_table
from moorage.metering.copy_rows import CopyRows
from moorage.wire.records import ORGANIZATION_CHANGED, OrganizationGrant
from tests.accounts.allowances import Worker
from tests.billing.measured import everything_shipped, request, run
from tests.cast import Cast
from tests.waiting import wait_until, waiting_for_a_lock

BOOT = "gw_one"
SECOND = dt.timedelta(seconds=1)
ALWAYS = {"measure": "money", "window": "always", "starts": 0, "ends": window.NEVER}
PICO_PER_TOKEN = 10


@pytest.fixture
def worker(committed_cast: Cast, database_url: str) -> Iterator[Worker]:
    """A gateway worker beside a prepaid organization with a credit of 1,000; ten pico-dollars a token."""
    by = committed_cast.alice.actor
    earlier = clock.now() - dt.timedelta(days=1)
    for meter in (Meter.INPUT_TOKENS, Meter.CACHED_INPUT_TOKENS, Meter.OUTPUT_TOKENS, Meter.REPLICA_SECONDS):
        pricing.set_price(meter=meter, model="*", pico_per_unit=PICO_PER_TOKEN, by=by, valid_from=earlier)
    set_mode(committed_cast, BillingMode.PREPAID)
    grant(committed_cast, 1000)
    Wallet.objects.update(limited_at=earlier)
    with psycopg.connect(database_url, autocommit=True) as plain:
        yield Worker(plain, BOOT)


def set_mode(cast: Cast, mode: BillingMode, limit: int | None = None) -> None:
    wallet_settings.set_mode(
        organization=cast.alice.organization, mode=mode, credit_limit_pico=limit, reason="Agreed.", by=cast.alice.actor
    )


def grant(cast: Cast, pico: int, source: str = "payment", **options: object) -> None:
    wallets.grant(
        organization=cast.alice.organization,
        kind=GrantKind.PAID,
        pico=pico,
        source=source,
        by=MOORAGE,
        funded_by=Account.MEMORY_CLEARING,
        **options,  # type: ignore[arg-type]
    )


def revoke(cast: Cast, pico: int, source: str) -> int:
    return wallets.revoke(
        organization=cast.alice.organization, pico_most=pico, source=source, into=Account.MEMORY_CLEARING, by=MOORAGE
    )


def state(cast: Cast) -> list[int]:
    """Capacity, used and leased."""
    row = Allowance.objects.get(subject=cast.alice.organization.pk, measure="money", window="always")
    return [int(row.capacity), int(row.used), int(row.leased)]


def serve(cast: Cast, tokens: int, *, ended_at: dt.datetime, boot: str = BOOT) -> None:
    """A request that this worker served, shipped."""
    event = request(cast.alice.organization.pk, tokens=(tokens, 0, 0), ended_at=ended_at)
    usage_table.put_batch(CopyRows(boot).batch([event]))


def us(moment: dt.datetime) -> int:
    return (moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def keep() -> None:
    """Rated, cut, shipped beyond the cut, compared; as the sweep does over a few seconds."""
    rater.rate_all()
    wallet_allowance.keep()
    everything_shipped(clock.now() + SECOND)
    wallet_allowance.keep()


def test_a_grant_and_a_mode_are_told_to_the_gateways(worker: Worker, committed_cast: Cast) -> None:
    pk = committed_cast.alice.organization.pk

    def has_wallet() -> bool:
        row = worker.connection.execute(
            "SELECT document::text FROM gateway_organization WHERE id = %s", [pk]
        ).fetchone()
        assert row is not None
        return msgspec.json.decode(row[0], type=OrganizationGrant).has_wallet

    before = has_wallet()
    worker.connection.execute(f"LISTEN {ORGANIZATION_CHANGED}")
    set_mode(committed_cast, BillingMode.POSTPAID)
    told = [notice.payload for notice in worker.connection.notifies(timeout=5, stop_after=1)]

    assert [before, has_wallet()] == [True, False]
    assert told == [pk]
    assert state(committed_cast) == [1000, 0, 0]


def test_a_credit_limit_is_spent_beyond_the_credit_and_paid_back(worker: Worker, committed_cast: Cast) -> None:
    set_mode(committed_cast, BillingMode.POSTPAID, limit=500)
    assert state(committed_cast) == [1500, 0, 0]
    serve(committed_cast, 120, ended_at=clock.now() - 3 * SECOND)
    keep()
    assert state(committed_cast) == [1500, 1200, 0], "200 of it are owed"

    ledger.post(
        kind="payment",
        idempotency_key="a payment",
        entries=[
            Entry(account=Account.MEMORY_CLEARING, organization_id=committed_cast.alice.organization.pk, pico=150),
            Entry(account=Account.RECEIVABLE, organization_id=committed_cast.alice.organization.pk, pico=-150),
        ],
        effective_at=clock.now(),
    )
    wallet_allowance.keep()

    assert state(committed_cast) == [1650, 1200, 0], "500 less the 50 that are owed still"
    assert wallets.prove().is_clean


def test_a_limit_below_what_is_owed_lets_nothing_through(worker: Worker, committed_cast: Cast) -> None:
    serve(committed_cast, 300, ended_at=clock.now() - 3 * SECOND)
    keep()

    set_mode(committed_cast, BillingMode.POSTPAID, limit=100)

    capacity, used, _ = state(committed_cast)
    assert used == 3000
    assert capacity == 1100, "2,000 are owed"
    assert worker.ask(committed_cast.alice.organization.pk, enough=1, target=50, **ALWAYS)[:2] == [0, 0]  # type: ignore[arg-type]


def test_after_a_time_without_an_end_there_is_nothing_but_the_balance(worker: Worker, committed_cast: Cast) -> None:
    pk = committed_cast.alice.organization.pk
    worker.ask(pk, enough=200, target=200, **ALWAYS)  # type: ignore[arg-type]
    wallet_allowance.keep()  # a cut is waiting
    set_mode(committed_cast, BillingMode.POSTPAID)
    serve(committed_cast, 500, ended_at=clock.now() - 3 * SECOND)
    rater.rate_all()
    grant(committed_cast, 700, "more")

    set_mode(committed_cast, BillingMode.PREPAID)

    assert state(committed_cast) == [5700, 5000, 200]
    keep()
    keep()
    assert state(committed_cast) == [5700, 5000, 200]


def test_replica_time_is_taken_from_what_the_gateways_may_spend(worker: Worker, committed_cast: Cast) -> None:
    run(committed_cast.alice.organization, seconds=30, ended_at=clock.now() - 3 * SECOND)

    keep()

    assert state(committed_cast) == [1000, 300, 0]
    assert Wallet.objects.get(pk=committed_cast.alice.organization.pk).credit_pico == 700


def test_replica_time_that_crosses_a_lease_leaves_the_lease(worker: Worker, committed_cast: Cast) -> None:
    pk = committed_cast.alice.organization.pk
    assert worker.ask(pk, enough=900, target=900, **ALWAYS)[0] == 900  # type: ignore[arg-type]
    run(committed_cast.alice.organization, seconds=30, ended_at=clock.now() - 3 * SECOND)

    keep()

    assert state(committed_cast) == [1000, 300, 900]
    assert worker.ask(pk, enough=901, target=901, **ALWAYS)[:2] == [900, 0], "and nobody gets more"  # type: ignore[arg-type]


def test_what_a_request_was_charged_replaces_what_the_gateway_reckoned_once(
    worker: Worker, committed_cast: Cast
) -> None:
    pk = committed_cast.alice.organization.pk
    worker.ask(pk, enough=500, target=500, **ALWAYS)  # type: ignore[arg-type]
    ended = clock.now() - 3 * SECOND
    serve(committed_cast, 13, ended_at=ended)
    worker.until_us = us(ended + SECOND)
    worker.ask(pk, spent=100, **ALWAYS)  # type: ignore[arg-type]

    for _ in range(3):
        keep()

    assert state(committed_cast) == [1000, 130, 400]


def test_a_request_that_no_report_has_told_of_is_left_to_its_lease(worker: Worker, committed_cast: Cast) -> None:
    pk = committed_cast.alice.organization.pk
    ended = clock.now() - 3 * SECOND
    worker.until_us = us(ended - SECOND)
    worker.ask(pk, enough=500, target=500, **ALWAYS)  # type: ignore[arg-type]
    serve(committed_cast, 13, ended_at=ended)
    keep()
    assert state(committed_cast) == [1000, 0, 500], "charged, and held until the worker tells"

    worker.until_us = us(ended + SECOND)
    worker.ask(pk, spent=100, given=400, **ALWAYS)  # type: ignore[arg-type]
    keep()

    assert state(committed_cast) == [1000, 130, 0]


def test_nothing_is_compared_before_it_is_rated(worker: Worker, committed_cast: Cast) -> None:
    serve(committed_cast, 13, ended_at=clock.now() - 3 * SECOND)

    wallet_allowance.keep()
    everything_shipped(clock.now() + SECOND)
    wallet_allowance.keep()
    assert Wallet.objects.get(pk=committed_cast.alice.organization.pk).cut_at is not None
    rater.rate_all()
    wallet_allowance.keep()

    assert state(committed_cast) == [1000, 130, 0]
    assert Wallet.objects.get(pk=committed_cast.alice.organization.pk).cut_at is None


def test_only_what_nobody_holds_is_taken_back(worker: Worker, committed_cast: Cast) -> None:
    pk = committed_cast.alice.organization.pk
    worker.ask(pk, enough=700, target=700, **ALWAYS)  # type: ignore[arg-type]
    worker.ask(pk, spent=100, **ALWAYS)  # type: ignore[arg-type]
    worker.connection.execute("LISTEN moorage_lease")

    taken = revoke(committed_cast, 1000, "a")
    called = [notice.payload for notice in worker.connection.notifies(timeout=5, stop_after=1)]
    worker.ask(pk, given=600, **ALWAYS)  # type: ignore[arg-type]
    more = revoke(committed_cast, 1000, "b")

    assert [taken, more] == [300, 600]
    assert called == [f"- {pk} money always 0"], "the workers are asked for what lies idle"
    assert state(committed_cast) == [100, 100, 0], "what is used and not yet charged stays covered"
    assert wallets.prove().is_clean


def test_only_what_nobody_holds_expires(worker: Worker, committed_cast: Cast) -> None:
    pk = committed_cast.alice.organization.pk
    over = clock.now() - SECOND
    grant(committed_cast, 500, "short-lived", expires_at=over)
    everything_shipped(clock.now())
    worker.ask(pk, enough=1200, target=1200, **ALWAYS)  # type: ignore[arg-type]

    first = wallets.expire_due(now=clock.now())
    worker.ask(pk, spent=50, given=1150, **ALWAYS)  # type: ignore[arg-type]
    second = wallets.expire_due(now=clock.now())

    assert [first, second] == [300, 200]
    assert state(committed_cast) == [1000, 50, 0]
    assert ledger.balance(organization=committed_cast.alice.organization, kind=Account.BREAKAGE) == -500
    assert wallets.prove().is_clean


def test_usage_of_its_time_is_paid_before_credit_expires(worker: Worker, committed_cast: Cast) -> None:
    over = clock.now() - SECOND
    grant(committed_cast, 500, "short-lived", expires_at=over, priority=1)
    serve(committed_cast, 20, ended_at=over - SECOND)
    everything_shipped(clock.now())

    before = wallets.expire_due(now=clock.now())
    rater.rate_all()
    after = wallets.expire_due(now=clock.now())

    assert [before, after] == [0, 300]


def test_opening_a_wallet_waits_for_what_is_being_posted(committed_cast: Cast) -> None:
    harbour = committed_cast.alice.organization
    is_posted, is_done, opened = threading.Event(), threading.Event(), threading.Event()

    def post() -> None:
        with transaction.atomic():
            ledger.post(
                kind="usage",
                idempotency_key="usage",
                entries=[
                    Entry(account=Account.RECEIVABLE, organization_id=harbour.id, pico=7),
                    Entry(account=Account.REVENUE, organization_id=harbour.id, pico=-7),
                ],
                effective_at=clock.now(),
            )
            is_posted.set()
            is_done.wait(20)
        connections.close_all()

    def open_it() -> None:
        is_posted.wait(20)
        grant(committed_cast, 100)
        opened.set()
        connections.close_all()

    threads = [threading.Thread(target=post), threading.Thread(target=open_it)]
    for thread in threads:
        thread.start()
    is_posted.wait(20)
    wait_until(waiting_for_a_lock, seconds=10)
    assert not opened.is_set()
    is_done.set()
    for thread in threads:
        thread.join(20)

    wallet = Wallet.objects.get(pk=harbour.pk)
    assert [wallet.credit_pico, wallet.owed_pico, wallet.settled_pico] == [100, 7, 7]
    assert wallets.prove().is_clean


def test_a_new_organization_follows_the_policy(cast: Cast, settings: object) -> None:
    settings.MOORAGE_BILLING_MODE = "prepaid"  # type: ignore[attr-defined]

    made = accounts.create_organization(name="Quay", slug="quay", owner=cast.bob.user, by=cast.bob.actor)

    wallet = Wallet.objects.get(pk=made.pk)
    made.refresh_from_db()
    assert [wallet.mode, made.has_wallet] == ["prepaid", True]
    assert Wallet.objects.get(pk=cast.alice.organization.pk).mode == "postpaid"
    balance = allowances.balance(made.pk)
    assert balance is not None and balance.capacity == 0


def test_a_mode_needs_a_reason_and_a_limit_that_makes_sense(cast: Cast) -> None:
    def change(mode: BillingMode, limit: int | None, reason: str = "Agreed.") -> None:
        wallet_settings.set_mode(
            organization=cast.alice.organization, mode=mode, credit_limit_pico=limit, reason=reason, by=cast.alice.actor
        )

    with pytest.raises(ReasonMissing):
        change(BillingMode.PREPAID, None, " ")
    with pytest.raises(InvalidWallet):
        change(BillingMode.PREPAID, 5)
    with pytest.raises(InvalidWallet):
        change(BillingMode.POSTPAID, -1)
    assert Wallet.objects.get(pk=cast.alice.organization.pk).opened_at is None
