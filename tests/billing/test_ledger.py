"""The ledger: balanced, appended to, once per key; the database says so itself."""

import pytest
from django.db import DatabaseError, IntegrityError, connection, transaction

from moorage.billing import ledger
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import LedgerAccount, LedgerEntry, LedgerTransaction
from moorage.billing.pico_field import PicoField
from tests.billing.measured import NOON
from tests.cast import Cast


def _post(cast: Cast, key: str = "key", pico: int = 5) -> LedgerTransaction:
    organization_id = cast.alice.organization.id
    return ledger.post(
        kind="test",
        idempotency_key=key,
        entries=[
            Entry(account=Account.RECEIVABLE, organization_id=organization_id, pico=pico),
            Entry(account=Account.REVENUE, organization_id=organization_id, pico=-pico),
        ],
        effective_at=NOON,
    )


def _commit() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_balances_are_sums_of_entries(cast: Cast) -> None:
    _post(cast, "a", 5)
    _post(cast, "b", 10**30)

    _commit()

    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == 10**30 + 5
    assert ledger.balance(organization=cast.alice.organization, kind=Account.REVENUE) == -(10**30) - 5
    assert ledger.balance(organization=cast.charlie.organization, kind=Account.RECEIVABLE) == 0


def test_the_same_key_posts_once(cast: Cast) -> None:
    first, second = _post(cast), _post(cast)

    assert first.pk == second.pk
    assert LedgerEntry.objects.count() == 2


def test_a_known_key_with_other_entries_is_a_mistake(cast: Cast) -> None:
    _post(cast, pico=5)

    with pytest.raises(AssertionError, match="other entries"):
        _post(cast, pico=6)


@pytest.mark.parametrize("picos", [(5, -4), (5,), (0, 0), (5, -5, 0)])
def test_what_does_not_balance_is_refused_before_it_is_written(cast: Cast, picos: tuple[int, ...]) -> None:
    entries = [
        Entry(account=Account.RECEIVABLE, organization_id=cast.alice.organization.id, pico=pico) for pico in picos
    ]

    with pytest.raises(AssertionError):
        ledger.post(kind="test", idempotency_key="key", entries=entries, effective_at=NOON)


def test_the_database_refuses_what_does_not_balance_at_commit(cast: Cast) -> None:
    account = LedgerAccount.objects.create(organization=cast.alice.organization, kind="x", currency="USD")

    with pytest.raises(IntegrityError, match="does not balance"), transaction.atomic():
        made = LedgerTransaction.objects.create(kind="test", idempotency_key="key", effective_at=NOON)
        for pico in (2, -1):
            LedgerEntry.objects.create(transaction=made, account=account, amount_pico=pico)
        _commit()


def test_currencies_do_not_balance_each_other(cast: Cast) -> None:
    with pytest.raises(IntegrityError, match="does not balance"), transaction.atomic():
        made = LedgerTransaction.objects.create(kind="test", idempotency_key="key", effective_at=NOON)
        for currency, pico in (("USD", 1), ("EUR", -1)):
            account = LedgerAccount.objects.create(organization=cast.alice.organization, kind="x", currency=currency)
            LedgerEntry.objects.create(transaction=made, account=account, amount_pico=pico)
        _commit()


@pytest.mark.parametrize(
    "table", ["ledger_transaction", "ledger_entry", "rated_usage", "price", "statement", "invoice_line"]
)
@pytest.mark.parametrize("deed", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_rows_about_money_are_never_changed_or_removed(cast: Cast, table: str, deed: str) -> None:
    _post(cast)

    with pytest.raises(DatabaseError), transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(deed.format(table))


def test_nothing_is_added_to_a_transaction_that_is_committed(committed_cast: Cast) -> None:
    made = _post(committed_cast)
    accounts = list(LedgerAccount.objects.all())

    with pytest.raises(IntegrityError, match="is closed"), transaction.atomic():
        for account, pico in zip(accounts, (1, -1), strict=True):
            LedgerEntry.objects.create(transaction=made, account=account, amount_pico=pico)


def test_a_transaction_is_reversed_at_most_once(cast: Cast) -> None:
    made = _post(cast)
    entries = [
        Entry(account=Account.RECEIVABLE, organization_id=cast.alice.organization.id, pico=-5),
        Entry(account=Account.REVENUE, organization_id=cast.alice.organization.id, pico=5),
    ]
    ledger.post(kind="reversal", idempotency_key="r1", entries=entries, effective_at=NOON, reverses=made)

    with pytest.raises(IntegrityError), transaction.atomic():
        ledger.post(kind="reversal", idempotency_key="r2", entries=entries, effective_at=NOON, reverses=made)


def test_the_proof_finds_revenue_that_nobody_used(cast: Cast) -> None:
    _post(cast, pico=7)

    proof = ledger.prove()

    assert proof.revenue_differs == ((cast.alice.organization.id, -7),)
    assert not proof.is_clean


def test_a_float_never_reaches_a_money_column() -> None:
    with pytest.raises(TypeError):
        PicoField().to_python(0.1)
