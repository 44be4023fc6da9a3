"""R1 and R2, our own books: clean, and each error that they can have, planted and found."""

import dataclasses

import pytest

from moorage.accounts.models import Allowance, GatewayWorker, Lease
from moorage.billing import ledger, rater
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import UnratedUsage, Wallet
from moorage.billing.reconciliation import books, settled
from moorage.billing.reconciliation.books import Projection, TransactionSum
from moorage.billing.reconciliation.settled import MonthSum, Orphan, Settled
from moorage.kernel import clock
from moorage.kernel.money import PICO
from tests.billing.findings import HOUR, MINUTE, NOW, codes, window
from tests.billing.measured import NOON, OCTOBER, price_list, run, use
from tests.billing.tampering import tamper
from tests.cast import Cast

# R1


@pytest.mark.parametrize(
    ("transaction_sum", "found"),
    [
        (TransactionSum(id="txn_a", entries=2, pico=0), []),
        (TransactionSum(id="txn_a", entries=2, pico=1), ["transaction_unbalanced"]),
        (TransactionSum(id="txn_a", entries=3, pico=-PICO), ["transaction_unbalanced"]),
        (TransactionSum(id="txn_a", entries=1, pico=0), ["transaction_unbalanced"]),
        (TransactionSum(id="txn_a", entries=0, pico=0), ["transaction_unbalanced"]),
    ],
)
def test_a_transaction_sums_to_zero(transaction_sum: TransactionSum, found: list[str]) -> None:
    assert codes(books.compare_books([transaction_sum], [])) == found


@pytest.mark.parametrize(("kept", "summed", "found"), [(5, 5, []), (5, 4, ["hold_differs"]), (0, -1, ["hold_differs"])])
def test_what_is_kept_is_what_it_sums_up(kept: int, summed: int, found: list[str]) -> None:
    one = Projection(what="hold", code="hold", subject="org_a", organization_id="org_a", kept=kept, summed=summed)

    assert codes(books.compare_books([], [one])) == found


def test_books_that_add_up_are_clean(funded: Wallet) -> None:
    result = books.books(window())

    assert (result.findings, result.count) == ((), 0)
    assert result.compared >= 5, "transactions and projections were looked at"


@pytest.mark.parametrize(
    ("column", "code"),
    [("credit_pico", "wallet_credit"), ("owed_pico", "wallet_debt"), ("settled_pico", "wallet_usage")],
)
def test_a_wallet_that_is_not_its_entries_is_found(funded: Wallet, column: str, code: str) -> None:
    Wallet.objects.filter(pk=funded.pk).update(**{column: getattr(funded, column) + 1})

    (finding,) = books.books(window()).findings

    assert (finding.code, finding.organization_id) == (f"{code}_differs", funded.pk)


def test_grants_that_are_not_the_credit_are_found(funded: Wallet) -> None:
    tamper("UPDATE credit_grant SET remaining_pico = remaining_pico - 1")

    assert codes(books.books(window()).findings) == ["grants_differs"]


def test_a_hold_without_a_lease_is_found(cast: Cast) -> None:
    allowance = Allowance.objects.create(
        organization=cast.alice.organization,
        subject="key_a",
        measure="requests",
        window="minute",
        starts=0,
        ends=60,
        capacity=100,
        ceiling=100,
        leased=7,
    )
    worker = GatewayWorker.objects.create(boot_id="boot_a")
    Lease.objects.create(worker=worker, allowance=allowance, amount=7)
    before = books.books(window()).findings
    Lease.objects.update(amount=5)

    (finding,) = books.books(window()).findings

    assert before == ()
    assert (finding.code, finding.subject) == ("hold_differs", "key_a")


def test_an_unbalanced_transaction_is_found_though_nobody_can_post_one(cast: Cast) -> None:
    organization = cast.alice.organization
    posted = ledger.post(
        kind="test",
        idempotency_key="test",
        entries=[
            Entry(account=Account.RECEIVABLE, organization_id=organization.pk, pico=5),
            Entry(account=Account.REVENUE, organization_id=organization.pk, pico=-5),
        ],
        effective_at=NOON,
    )
    tamper("UPDATE ledger_entry SET amount_pico = amount_pico + 1 WHERE amount_pico > 0")

    (finding,) = books.books(window()).findings
    tamper("UPDATE ledger_entry SET amount_pico = amount_pico - 1 WHERE amount_pico > 0")

    assert (finding.code, finding.subject) == ("transaction_unbalanced", posted.pk)
    assert books.books(window()).findings == ()


# R2


FACT = Settled(
    source_id="req_a",
    organization_id="org_a",
    recorded_at=NOW - HOUR,
    measured=(10, 5, 7, 0),
    charged=(10, 5, 7, 0),
    is_waiting=False,
)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"measured": (0, 0, 0, 0), "charged": (0, 0, 0, 0)}, []),
        ({"charged": (0, 0, 0, 0)}, ["not_charged"]),
        ({"charged": (10, 5, 8, 0)}, ["quantity_differs"]),
        ({"charged": (20, 10, 14, 0)}, ["quantity_differs"]),
        ({"measured": (0, 0, 0, 0)}, ["quantity_differs"]),
        ({"is_waiting": True}, ["charged_and_waiting"]),
        ({"is_waiting": True, "charged": (0, 0, 0, 0)}, ["waits_too_long"]),
        ({"is_waiting": True, "charged": (0, 0, 0, 0), "is_unpriced": True}, []),
        ({"is_waiting": True, "charged": (0, 0, 0, 0), "recorded_at": NOW - MINUTE}, []),
    ],
)
def test_a_request_is_charged_once_for_what_was_measured(changes: dict[str, object], found: list[str]) -> None:
    fact = dataclasses.replace(FACT, **changes)  # type: ignore[arg-type]

    assert codes(settled.compare_settled([fact], [], [], now=NOW)) == found


def test_charges_for_nothing_and_months_that_differ_are_found() -> None:
    orphan = Orphan(source_id="req_x", organization_id="org_a", pico=5)
    even = MonthSum(organization_id="org_a", period_start=OCTOBER.start, rated_pico=5, posted_pico=5)
    odd = dataclasses.replace(even, posted_pico=4)

    found = settled.compare_settled([], [orphan], [even, odd], now=NOW)

    assert codes(found) == ["charge_without_usage", "month_differs"]


@pytest.fixture
def rated(cast: Cast) -> str:
    """A request and replica time of an hour ago, charged; the request's id."""
    price_list()
    request_id = use(cast.alice.organization, ended_at=clock.now() - HOUR)
    run(cast.alice.organization, seconds=30, ended_at=clock.now() - HOUR)
    rater.rate_all()
    return request_id


def test_requests_that_are_charged_as_measured_are_clean(rated: str) -> None:
    result = settled.settled(window())

    assert (result.findings, result.compared) == ((), 3), "a request, replica time, and their month"


def test_a_request_that_is_not_charged_is_found(cast: Cast, rated: str) -> None:
    lost = use(cast.alice.organization, ended_at=clock.now() - HOUR)
    UnratedUsage.objects.filter(pk=lost).delete()

    (finding,) = settled.settled(window()).findings

    assert (finding.code, finding.request_id) == ("not_charged", lost)


def test_a_charge_of_another_quantity_is_found_and_so_is_its_month(cast: Cast, rated: str) -> None:
    tamper(
        "UPDATE rated_usage SET quantity = quantity + 1, amount_pico = amount_pico + pico_per_unit"
        " WHERE source_id = %s AND meter = 'output_tokens'",
        rated,
    )

    found = settled.settled(window()).findings

    assert codes(found) == ["quantity_differs", "month_differs"]
    assert "51 output charged for 50 measured" in found[0].sentence


def test_a_charge_for_what_was_never_measured_is_found(rated: str) -> None:
    tamper("DELETE FROM usage_event WHERE request_id = %s", rated)

    (finding,) = settled.settled(window()).findings

    assert (finding.code, finding.subject) == ("charge_without_usage", rated)


def test_what_waits_too_long_is_found(cast: Cast, rated: str) -> None:
    waiting = use(cast.alice.organization, ended_at=clock.now() - HOUR)

    soon = settled.settled(window()).findings
    later = settled.settled(window(clock.now() + 10 * MINUTE)).findings

    assert (codes(soon), codes(later)) == ([], ["waits_too_long"])
    assert later[0].request_id == waiting
