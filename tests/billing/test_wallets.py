"""Credit: granted, used, taken back, expired, and proven against the ledger."""

import concurrent.futures
import datetime as dt
from collections.abc import Callable

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Organization
from moorage.billing import ledger, wallets
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import Grant, GrantKind, LedgerTransaction, Wallet
from moorage.kernel.money import PICO
from tests.billing.measured import NOON, OCTOBER
from tests.cast import Cast


def pay(organization: Organization, pico: int, source: str = "payment", **options: object) -> Grant:
    return wallets.grant(
        organization=organization,
        kind=GrantKind.PAID,
        pico=pico,
        source=source,
        by=MOORAGE,
        funded_by=Account.MEMORY_CLEARING,
        **options,  # type: ignore[arg-type]
    )


def give(organization: Organization, pico: int, source: str = "gift", **options: object) -> Grant:
    return wallets.grant(
        organization=organization,
        kind=GrantKind.PROMOTIONAL,
        pico=pico,
        source=source,
        by=MOORAGE,
        **options,  # type: ignore[arg-type]
    )


def charge(organization: Organization, pico: int, key: str) -> int:
    """Usage is posted as rating posts it, and captured."""
    ledger.post(
        kind="usage",
        idempotency_key=f"usage:{key}",
        entries=[
            Entry(account=Account.RECEIVABLE, organization_id=organization.id, pico=pico),
            Entry(account=Account.REVENUE, organization_id=organization.id, pico=-pico),
        ],
        effective_at=NOON,
    )
    return wallets.capture(
        organization_id=organization.id,
        pico=pico,
        period_start=OCTOBER.start,
        idempotency_key=f"capture:usage:{key}",
        at=NOON,
    )


def balances(organization: Organization, *kinds: Account) -> list[int]:
    return [ledger.balance(organization=organization, kind=kind) for kind in kinds]


def test_a_grant_is_credit_in_the_ledger_and_in_the_wallet(cast: Cast) -> None:
    harbour = cast.alice.organization

    pay(harbour, 5 * PICO)
    give(harbour, 2 * PICO)

    assert balances(harbour, Account.WALLET, Account.MEMORY_CLEARING, Account.PROMOTION) == [
        -7 * PICO,
        5 * PICO,
        2 * PICO,
    ]
    assert Wallet.objects.get(pk=harbour.pk).credit_pico == 7 * PICO
    assert wallets.prove().is_clean


def test_a_grant_is_made_once_for_its_source(cast: Cast) -> None:
    first, second = pay(cast.alice.organization, 5), pay(cast.alice.organization, 5)

    assert first.pk == second.pk
    assert Wallet.objects.get(pk=cast.alice.organization.pk).credit_pico == 5
    with pytest.raises(AssertionError, match="otherwise"):
        pay(cast.alice.organization, 6)


def test_usage_is_paid_from_credit_as_far_as_it_goes(cast: Cast) -> None:
    harbour = cast.alice.organization
    pay(harbour, 10)

    taken = [charge(harbour, 4, "a"), charge(harbour, 9, "b"), charge(harbour, 1, "c")]

    assert taken == [4, 6, 0]
    assert balances(harbour, Account.WALLET, Account.RECEIVABLE, Account.REVENUE) == [0, 4, -14]
    assert wallets.applied_in(harbour.id, OCTOBER.start) == 10
    assert wallets.applied_in(harbour.id, OCTOBER.end) == 0
    assert wallets.prove().is_clean


def test_a_capture_takes_once_whatever_happened_since(cast: Cast) -> None:
    harbour = cast.alice.organization
    pay(harbour, 10)
    assert charge(harbour, 15, "a") == 10
    assert charge(harbour, 3, "b") == 0
    pay(harbour, 100, source="another")

    assert charge(harbour, 15, "a") == 10
    assert charge(harbour, 3, "b") == 0

    assert Wallet.objects.get(pk=harbour.pk).credit_pico == 100
    assert wallets.prove().is_clean


def test_usage_of_an_organization_without_credit_is_owed(cast: Cast) -> None:
    assert charge(cast.alice.organization, 5, "a") == 0

    assert wallets.with_credit([cast.alice.organization.id]) == frozenset()
    assert balances(cast.alice.organization, Account.RECEIVABLE) == [5]
    assert Wallet.objects.get(pk=cast.alice.organization.pk).opened_at is None


def test_a_wallet_that_is_opened_late_knows_what_was_before(cast: Cast) -> None:
    charge(cast.alice.organization, 5, "a")

    pay(cast.alice.organization, 7)

    wallet = Wallet.objects.get(pk=cast.alice.organization.pk)
    assert [wallet.credit_pico, wallet.owed_pico, wallet.settled_pico] == [7, 5, 5]
    assert wallets.with_credit([cast.alice.organization.id]) == {cast.alice.organization.id}
    assert wallets.prove().is_clean


def test_what_is_taken_back_is_paid_credit_that_is_left_newest_first(cast: Cast) -> None:
    harbour = cast.alice.organization
    give(harbour, 100)
    older, newer = pay(harbour, 10, "older"), pay(harbour, 10, "newer")

    def revoke(pico: int, source: str) -> int:
        return wallets.revoke(
            organization=harbour, pico_most=pico, source=source, into=Account.MEMORY_CLEARING, by=cast.alice.actor
        )

    assert [revoke(12, "a"), revoke(12, "a"), revoke(50, "b")] == [12, 12, 8]

    older.refresh_from_db()
    newer.refresh_from_db()
    assert [older.remaining_pico, newer.remaining_pico] == [0, 0]
    assert balances(harbour, Account.WALLET, Account.MEMORY_CLEARING) == [-100, 0]
    assert wallets.prove().is_clean


def test_credit_expires_to_breakage_once(cast: Cast) -> None:
    harbour = cast.alice.organization
    give(harbour, 100, expires_at=NOON)
    pay(harbour, 10)
    charge(harbour, 30, "a")

    before = wallets.expire_due(now=NOON - dt.timedelta(seconds=1))
    expired = [wallets.expire_due(now=NOON), wallets.expire_due(now=NOON)]

    assert [before, *expired] == [0, 70, 0]
    assert balances(harbour, Account.WALLET, Account.BREAKAGE) == [-10, -70]
    assert wallets.prove().is_clean


def test_the_database_keeps_what_a_grant_is_and_what_was_drawn(cast: Cast) -> None:
    pay(cast.alice.organization, 10)
    charge(cast.alice.organization, 4, "a")

    for deed in (
        "UPDATE credit_grant SET remaining_pico = 7",
        "UPDATE credit_grant SET amount_pico = 70",
        "DELETE FROM credit_grant",
        "UPDATE credit_draw SET pico = 1",
        "DELETE FROM credit_taking",
        "UPDATE wallet SET credit_pico = -1",
    ):
        with pytest.raises((DatabaseError, IntegrityError)), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(deed)


@pytest.mark.parametrize(
    ("deed", "found"),
    [
        ("UPDATE wallet SET credit_pico = 5", "wallets"),
        ("UPDATE credit_grant SET remaining_pico = 3", "grants"),
    ],
)
def test_the_proof_finds_what_does_not_add_up(cast: Cast, deed: str, found: str) -> None:
    pay(cast.alice.organization, 10)
    charge(cast.alice.organization, 4, "a")

    with connection.cursor() as cursor:
        cursor.execute(deed)

    assert getattr(wallets.prove(), found)


def test_the_proof_finds_credit_that_no_grant_is_behind(cast: Cast) -> None:
    posted = ledger.post(
        kind="mistake",
        idempotency_key="mistake",
        entries=[
            Entry(account=Account.PROMOTION, organization_id=cast.alice.organization.id, pico=5),
            Entry(account=Account.WALLET, organization_id=cast.alice.organization.id, pico=-5),
        ],
        effective_at=NOON,
    )

    proof = wallets.prove()

    assert proof.transactions == (posted.id,)
    assert proof.wallets == (cast.alice.organization.id,)
    assert LedgerTransaction.objects.count() == 1


def test_charges_grants_refunds_and_sweeps_at_once_add_up(committed_cast: Cast) -> None:
    harbour, island = committed_cast.alice.organization, committed_cast.charlie.organization
    pay(harbour, 500)
    pay(island, 500, "island")

    def rate(worker: int, number: int) -> None:
        with transaction.atomic():  # as rating does: a batch posts for several organizations, then they are captured
            for organization in sorted((harbour, island), key=lambda one: one.id):
                charge(organization, 7, f"{organization.slug}:{worker}:{number}")

    def add(worker: int, number: int) -> None:
        give(harbour, 10, f"gift:{worker}:{number}", expires_at=NOON if number % 2 else None)

    def take(worker: int, number: int) -> None:
        wallets.revoke(
            organization=harbour,
            pico_most=5,
            source=f"refund:{worker}:{number}",
            into=Account.MEMORY_CLEARING,
            by=committed_cast.alice.actor,
        )

    def sweep(_worker: int, _number: int) -> None:
        wallets.expire_due(now=NOON)

    def work(deed: Callable[[int, int], None], worker: int) -> None:
        try:
            for number in range(15):
                deed(worker, number)
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        done = [pool.submit(work, deed, worker) for worker in range(2) for deed in (rate, add, take, sweep)]
        for one in done:
            one.result(60)

    assert wallets.prove().is_clean
    assert ledger.balance(organization=harbour, kind=Account.REVENUE) == -2 * 15 * 7
    captured = wallets.applied_in(harbour.id, OCTOBER.start)
    assert captured == 2 * 15 * 7, "there was always enough"
    moved = balances(harbour, Account.WALLET, Account.PROMOTION, Account.BREAKAGE, Account.MEMORY_CLEARING)
    assert sum(moved) == captured
