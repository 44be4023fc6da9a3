"""The ledger: balanced, appended to, once per key; the database says so itself."""

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.core.management import call_command
from django.db import DatabaseError, IntegrityError, connection, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.accounts.actor import MOORAGE, Actor
from moorage.accounts.models import AuditEntry, Organization
from moorage.billing import ledger
from moorage.billing.errors import NotReversible, ReasonMissing
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import LedgerAccount, LedgerEntry, LedgerTransaction
from moorage.billing.pico_field import PicoField
from tests.billing.measured import NOON
from tests.cast import Cast
from tests.conftest import test_database_url


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
    Organization.objects.filter(pk=cast.charlie.organization.pk).update(currency="EUR")
    with pytest.raises(IntegrityError, match="does not balance"), transaction.atomic():
        made = LedgerTransaction.objects.create(kind="test", idempotency_key="key", effective_at=NOON)
        for person, currency, pico in ((cast.alice, "USD", 1), (cast.charlie, "EUR", -1)):
            account = LedgerAccount.objects.create(organization=person.organization, kind="x", currency=currency)
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


def _write_off(cast: Cast, key: str = "written off", pico: int = 5) -> LedgerTransaction:
    organization_id = cast.alice.organization.id
    return ledger.post(
        kind="test",
        idempotency_key=key,
        entries=[
            Entry(account=Account.BAD_DEBT, organization_id=organization_id, pico=pico),
            Entry(account=Account.ROUNDING, organization_id=organization_id, pico=2 * pico),
            Entry(account=Account.ADJUSTMENT, organization_id=organization_id, pico=-3 * pico),
        ],
        effective_at=NOON,
    )


@pytest.mark.parametrize("picos", [(-5, -10, 15), (-4, -11, 15), (5, 10, -15), (-5, 5)])
def test_a_reversal_that_is_no_mirror_is_refused_by_the_database(cast: Cast, picos: tuple[int, ...]) -> None:
    made = _write_off(cast)
    accounts = (Account.BAD_DEBT, Account.ROUNDING, Account.ADJUSTMENT)
    entries = [
        Entry(account=account, organization_id=cast.alice.organization.id, pico=pico)
        for account, pico in zip(accounts, picos, strict=False)
    ]
    is_mirror = picos == (-5, -10, 15)

    with pytest.raises(IntegrityError, match="does not negate") if not is_mirror else contextlib.nullcontext():
        ledger.post(kind="reversal", idempotency_key="r", entries=entries, effective_at=NOON, reverses=made)
        _commit()


def test_nothing_is_added_to_what_is_reversed_in_the_same_transaction(cast: Cast) -> None:
    made = _write_off(cast)
    ledger.reverse(reversed_transaction=made, by=MOORAGE, reason="A mistake.")
    _commit()
    accounts = list(LedgerAccount.objects.order_by("id"))

    with pytest.raises(IntegrityError, match="does not negate"), transaction.atomic():
        LedgerEntry.objects.bulk_create(
            LedgerEntry(transaction=made, account=accounts[0], amount_pico=pico) for pico in (1, -1)
        )


def test_a_reversal_cancels_to_nothing_and_says_why(cast: Cast) -> None:
    made = _write_off(cast)

    reversal = ledger.reverse(reversed_transaction=made, by=Actor.person(cast.ada), reason="A mistake.")

    _commit()
    for kind in (Account.BAD_DEBT, Account.ROUNDING, Account.ADJUSTMENT):
        assert ledger.balance(organization=cast.alice.organization, kind=kind) == 0
    entry = AuditEntry.objects.get(action="ledger.reversed")
    assert (entry.subject, entry.detail["reason"], entry.detail["reversal"]) == (made.pk, "A mistake.", reversal.pk)
    assert ledger.prove().is_clean


def test_two_who_reverse_at_once_reverse_once(committed_cast: Cast) -> None:
    made = _write_off(committed_cast)
    together = threading.Barrier(8)

    def submit(_: int) -> str:
        try:
            together.wait(30)
            return ledger.reverse(reversed_transaction=made, by=MOORAGE, reason="Twice pressed.").pk
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as pool:
        reversals = set(pool.map(submit, range(8)))

    assert len(reversals) == 1
    assert LedgerTransaction.objects.filter(reverses=made).count() == 1
    assert AuditEntry.objects.filter(action="ledger.reversed").count() == 1
    assert ledger.balance(organization=committed_cast.alice.organization, kind=Account.BAD_DEBT) == 0


def test_usage_and_credit_have_corrections_of_their_own_and_a_reason_is_asked_for(cast: Cast) -> None:
    with pytest.raises(NotReversible):
        ledger.reverse(reversed_transaction=_post(cast), by=MOORAGE, reason="A mistake.")
    with pytest.raises(ReasonMissing):
        ledger.reverse(reversed_transaction=_write_off(cast), by=MOORAGE, reason=" ")


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    moved=st.lists(
        st.tuples(
            st.sampled_from([Account.BAD_DEBT, Account.ROUNDING, Account.ADJUSTMENT, Account.TAX]),
            st.integers(min_value=-(10**30), max_value=10**30).filter(bool),
        ),
        min_size=1,
        max_size=8,
    )
)
def test_any_reversal_negates_exactly(cast: Cast, moved: list[tuple[Account, int]]) -> None:
    organization = cast.alice.organization
    rest = -sum(pico for _, pico in moved)
    lines = [*moved, (Account.RECEIVABLE, rest)] if rest else [*moved, (Account.TAX, 1), (Account.TAX, -1)]
    with transaction.atomic():
        made = ledger.post(
            kind="test",
            idempotency_key="any",
            entries=[Entry(account=kind, organization_id=organization.id, pico=pico) for kind, pico in lines],
            effective_at=NOON,
        )

        ledger.reverse(reversed_transaction=made, by=MOORAGE, reason="A mistake.")

        _commit()
        assert all(ledger.balance(organization=organization, kind=kind) == 0 for kind in Account)
        assert ledger.prove().is_clean
        transaction.set_rollback(True)


def test_the_proof_is_printed_with_what_was_added_up(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    _write_off(cast)

    call_command("prove_ledger")

    said = capsys.readouterr()
    assert said.out.startswith("1 transactions, 3 entries\n")
    assert "bad_debt" in said.out and said.out.endswith("Everything adds up.\n")
    assert said.err == ""


def test_a_proof_that_finds_something_exits_with_one(cast: Cast, capsys: pytest.CaptureFixture[str]) -> None:
    _post(cast, pico=7)

    with pytest.raises(SystemExit) as ended:
        call_command("prove_ledger")

    assert ended.value.code == 1
    organization_id = cast.alice.organization.id
    assert capsys.readouterr().err.splitlines() == [
        f"{organization_id}: rated usage is -7 pico more than its revenue in the ledger.",
        f"{organization_id}: owes 7 pico more in the ledger than is due of it.",
    ]


def test_the_proof_finds_what_only_its_owner_could_have_done(committed_cast: Cast) -> None:
    made = _write_off(committed_cast)
    reversal = ledger.reverse(reversed_transaction=made, by=MOORAGE, reason="A mistake.")
    with psycopg.connect(test_database_url(), autocommit=True) as owner:
        owner.execute("SET session_replication_role = replica")
        owner.execute("UPDATE ledger_entry SET amount_pico = 16 WHERE amount_pico = 15")

    proof = ledger.prove()

    assert (proof.unbalanced, proof.unmirrored) == ((reversal.pk,), (reversal.pk,))


def test_the_proof_finds_revenue_that_nobody_used(cast: Cast) -> None:
    _post(cast, pico=7)

    proof = ledger.prove()

    assert proof.revenue_differs == ((cast.alice.organization.id, -7),)
    assert not proof.is_clean


def test_a_float_never_reaches_a_money_column() -> None:
    with pytest.raises(TypeError):
        PicoField().to_python(0.1)
