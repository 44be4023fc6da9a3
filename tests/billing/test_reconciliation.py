"""The eight comparisons: clean, and each error that a job can find, planted and found."""

import dataclasses
import datetime as dt
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from moorage.accounts.actor import Actor
from moorage.accounts.models import Allowance, AuditEntry, GatewayWorker, Lease
from moorage.billing import ledger, outbox, rater, wallets
from moorage.billing import services as billing
from moorage.billing.errors import ReasonMissing, ReviewItemNotFound
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import (
    BankTransfer,
    EngineReading,
    GrantKind,
    Invoice,
    InvoiceStatus,
    OutboxMessage,
    ProviderCustomer,
    ReconciliationRun,
    UnratedUsage,
    UsagePush,
    Wallet,
)
from moorage.billing.payments import (
    Customer,
    PaymentProvider,
    ProviderInvoice,
    ProviderStatus,
    ProviderUnavailable,
    UsageReport,
)
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.payments_transfer import TransferProvider
from moorage.billing.reconciliation import books, engines, invoices, journals, meter, payments, replicas, runs, settled
from moorage.billing.reconciliation.books import Projection, TransactionSum
from moorage.billing.reconciliation.findings import Finding, Result, Window
from moorage.billing.reconciliation.invoices import Asked
from moorage.billing.reconciliation.jobs import JOBS, Job, is_due
from moorage.billing.reconciliation.journals import Recorded, Written
from moorage.billing.reconciliation.meter import Pushed
from moorage.billing.reconciliation.payments import Cleared, Moved
from moorage.billing.reconciliation.replicas import Metered
from moorage.billing.reconciliation.settled import MonthSum, Orphan, Settled
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.fleet.engine_counters import Counters, parse
from moorage.fleet.errors import RuntimeUnreachable
from moorage.fleet.runtime import Container
from moorage.kernel import clock
from moorage.kernel.money import PICO, PICO_PER_CENT
from moorage.metering import services as metering
from moorage.metering import usage_table
from moorage.metering.models import JournalSegment
from moorage.wire import journal
from tests.billing.measured import NOON, OCTOBER, price_list, request, run, use
from tests.billing.tampering import tamper
from tests.cast import Cast
from tests.console.usage_rows import closed_october, deployed

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
MINUTE, HOUR, DAY = dt.timedelta(minutes=1), dt.timedelta(hours=1), dt.timedelta(days=1)


def window(now: dt.datetime | None = None) -> Window:
    """Everything of the last day, up to now."""
    moment = now or clock.now() + MINUTE
    return Window(since=moment - DAY, until=moment, now=moment)


def codes(findings: tuple[Finding, ...]) -> list[str]:
    """What was found."""
    return [finding.code for finding in findings]


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


@pytest.fixture
def funded(cast: Cast) -> Wallet:
    """Harbour with ten dollars of credit and some usage."""
    price_list()
    wallets.grant(
        organization=cast.alice.organization,
        kind=GrantKind.PROMOTIONAL,
        pico=10 * PICO,
        source="t",
        by=cast.alice.actor,
    )
    use(cast.alice.organization, ended_at=clock.now() - HOUR)
    rater.rate_all()
    return Wallet.objects.get(organization=cast.alice.organization)


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


# R3

WRITTEN = Written(request_id="req_a", organization_id="org_a", place="gateway.log", tokens=(10, 4, 5))


@pytest.mark.parametrize(
    ("recorded", "found"),
    [
        ({"req_a": Recorded(tokens=(10, 4, 5))}, []),
        ({}, ["usage_missing"]),
        ({"req_b": Recorded(tokens=(10, 4, 5))}, ["usage_missing"]),
        ({"req_a": Recorded(tokens=(10, 4, 6))}, ["tokens_differ"]),
        ({"req_a": Recorded(tokens=(10, 5, 5))}, ["tokens_differ"]),
        ({"req_a": Recorded(tokens=(0, 0, 0), is_lost=True)}, []),
    ],
)
def test_what_a_gateway_wrote_down_is_in_the_usage(recorded: dict[str, Recorded], found: list[str]) -> None:
    assert codes(journals.compare_journals([WRITTEN], recorded)) == found


def test_journals_that_nobody_has_read_are_found() -> None:
    found = journals.compare_journals([], {}, set_aside=["b-1.journal.damaged"], unsettled_boots=["boot_a"])

    assert codes(found) == ["segment_set_aside", "boot_not_shipped"]


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    """A journal directory and one of logs, both empty."""
    found = tmp_path / "journal", tmp_path / "logs"
    for path in found:
        path.mkdir()
    return found


def test_committed_closes_are_compared_and_what_is_not_committed_is_not(cast: Cast, places: tuple[Path, Path]) -> None:
    directory, logs = places
    events = [request(cast.alice.organization.pk, tokens=(10, 4, 5 + number)) for number in range(3)]
    head = journal.MAGIC + journal.encode_open(events[0]) + journal.encode_close(events[0])
    head += journal.encode_close(events[1])
    (directory / "boot_a-1.journal").write_bytes(head + journal.encode_close(events[2]) + bytes(64))
    JournalSegment.objects.create(name="boot_a-1.journal", offset=len(head))
    usage_table.put(events[:2])

    clean = journals.journals(window(), directory=directory, logs=logs)
    tamper("DELETE FROM usage_event WHERE request_id = %s", events[1].request_id)
    (finding,) = journals.journals(window(), directory=directory, logs=logs).findings

    assert (clean.findings, clean.compared) == ((), 2)
    assert "no access log" in clean.note
    assert (finding.code, finding.subject) == ("usage_missing", events[1].request_id)


def test_the_access_log_is_compared(cast: Cast, places: tuple[Path, Path]) -> None:
    directory, logs = places
    known = use(cast.alice.organization, tokens=(10, 4, 5))
    unknown = request(cast.alice.organization.pk, tokens=(1, 0, 1)).request_id
    metering.mark_shipped(until=clock.now() + HOUR)

    def line(request_id: str, tokens: tuple[int, int, int]) -> str:
        return (
            f"request_settled request={request_id} path=/v1/chat/completions status=200 outcome=completed"
            f" organization={cast.alice.organization.pk} deployment=dep_a key=key_a replica=rep_a stream=0"
            f" input={tokens[0]} cached={tokens[1]} output={tokens[2]} source=engine ms=12 held_ms=0\n"
        )

    log = logs / "gateway.log"
    log.write_text("gateway_started\n" + line(known, (10, 4, 5)))
    clean = journals.journals(window(), directory=directory, logs=logs)
    log.write_text(line(known, (10, 4, 6)) + line(unknown, (1, 0, 1)))
    found = journals.journals(window(), directory=directory, logs=logs).findings
    metering_mark_back()
    unshipped = journals.journals(window(), directory=directory, logs=logs)

    assert (clean.findings, clean.compared, clean.note) == ((), 1, "")
    assert sorted(codes(found)) == ["tokens_differ", "usage_missing"]
    assert (unshipped.findings, unshipped.compared) == ((), 0), "what has not been shipped yet is not missed"


def metering_mark_back() -> None:
    """The shipper has only come to yesterday."""
    tamper("UPDATE shipping_mark SET complete_until = %s", clock.now() - DAY)


def test_a_machine_without_journals_says_so(db: None, tmp_path: Path) -> None:
    result = journals.journals(window(), directory=tmp_path / "none", logs=tmp_path / "none")

    assert result.count == 0
    assert "There is no journal directory on this machine." in result.note


def test_a_dead_worker_that_was_never_settled_is_found(db: None, places: tuple[Path, Path]) -> None:
    directory, logs = places
    GatewayWorker.objects.create(boot_id="boot_dead", heartbeat_at=clock.now() - 2 * HOUR)
    GatewayWorker.objects.create(boot_id="boot_alive")
    (directory / "boot_x-3.journal.damaged").write_bytes(b"?")

    found = journals.journals(window(), directory=directory, logs=logs).findings

    assert [(one.code, one.subject) for one in found] == [
        ("segment_set_aside", "boot_x-3.journal.damaged"),
        ("boot_not_shipped", "boot_dead"),
    ]


# R4

MONTH = Pushed(
    organization_id="org_a",
    period=OCTOBER,
    ledger_micro=100,
    acked_micro=100,
    underway_micro=0,
    last_window_end=OCTOBER.end,
    provider_micro=100,
)


@pytest.mark.parametrize(
    ("changes", "now", "found"),
    [
        ({}, NOW, []),
        ({"provider_micro": None}, NOW, []),
        ({"acked_micro": 101, "provider_micro": 101}, NOW, ["pushed_too_much"]),
        ({"acked_micro": 60, "underway_micro": 41, "provider_micro": 60}, NOW, ["pushed_too_much"]),
        ({"acked_micro": 99, "provider_micro": 99}, NOW, ["pushed_too_little"]),
        ({"acked_micro": 99, "provider_micro": 99}, OCTOBER.end, []),
        ({"provider_micro": 99}, NOW, ["meter_differs"]),
        ({"provider_micro": 200}, NOW, ["meter_differs"]),
        ({"provider_micro": 99}, OCTOBER.end + MINUTE, []),
        ({"stuck": 1}, NOW, ["push_stuck"]),
    ],
)
def test_the_meter_is_what_is_rated(changes: dict[str, object], now: dt.datetime, found: list[str]) -> None:
    assert codes(meter.compare_meter([dataclasses.replace(MONTH, **changes)], now=now)) == found  # type: ignore[arg-type]


def test_without_the_export_a_row_says_that_it_is_off(db: None) -> None:
    result = meter.meter(window(), providers={})

    assert result.count == result.compared == 0
    assert "not exported" in result.note


@pytest.mark.parametrize(
    ("acked", "told", "found"),
    [
        (True, 2_000, ["pushed_too_much"]),
        (True, 1_000, ["meter_differs", "pushed_too_little"]),
        (False, 1_000, ["push_stuck", "pushed_too_little"]),
    ],
)
def test_pushes_are_read_from_where_they_are(cast: Cast, acked: bool, told: int, found: list[str]) -> None:
    price_list()
    harbour, provider = cast.alice.organization, MemoryProvider(has_meter=True)
    customer = provider.ensure_customer(
        Customer(organization_id=harbour.pk, name="Harbour", email=""), idempotency_key="c"
    )
    ProviderCustomer.objects.create(organization=harbour, provider=provider.name, reference=customer)
    use(harbour, tokens=(0, 0, 2_500))  # 1,500 micro-dollars
    rater.rate_all()
    UsagePush.objects.create(
        organization=harbour,
        seq=1,
        period_start=OCTOBER.start,
        window_start=OCTOBER.start,
        window_end=OCTOBER.end,
        value_micro=told,
        status="acked" if acked else "uncertain",
    )
    if told == 2_000:
        provider.push_usage(
            UsageReport(identifier="u", customer_reference=customer, value_micro=told, at=NOON), idempotency_key="u"
        )

    result = meter.meter(window(NOW), providers={provider.name: provider})

    assert sorted(codes(result.findings)) == found
    assert result.compared == 1


# R5

THEIRS = ProviderInvoice(
    reference="in_1",
    status=ProviderStatus.OPEN,
    currency="USD",
    total_cents=119,
    paid_cents=0,
    payment_url="",
    customer_reference="cus_1",
    invoice_id="inv_a",
    statement_sha256="a" * 64,
)
OURS = Asked(
    invoice_id="inv_a",
    organization_id="org_a",
    number="M-000001",
    status=InvoiceStatus.FINALIZED,
    currency="USD",
    total_cents=119,
    tax_cents=19,
    statement_cents=100,
    line_cents=100,
    statement_sha256="a" * 64,
    settled_at=NOW - DAY,
    theirs=THEIRS,
)


@pytest.mark.parametrize(
    ("ours", "theirs", "found"),
    [
        ({}, {}, []),
        ({}, {"total_cents": 118}, ["total_differs"]),
        ({}, {"currency": "EUR"}, ["total_differs"]),
        ({}, {"statement_sha256": "b" * 64}, ["statement_hash_differs"]),
        ({}, {"status": ProviderStatus.PAID}, ["status_differs"]),
        ({"settled_at": NOW - MINUTE}, {"status": ProviderStatus.PAID}, []),
        ({"status": InvoiceStatus.PAID}, {"status": ProviderStatus.PAID}, []),
        ({"status": InvoiceStatus.PAID}, {}, ["status_differs"]),
        ({"status": InvoiceStatus.VOID}, {}, ["status_differs"]),
        ({"status": InvoiceStatus.UNCOLLECTIBLE}, {}, []),
        ({"theirs": None}, None, ["invoice_missing"]),
        ({"statement_cents": 99}, {}, ["statement_differs"]),
        ({"line_cents": 101}, {}, ["lines_differ"]),
    ],
)
def test_the_provider_asks_for_what_the_statement_comes_to(
    ours: dict[str, object], theirs: dict[str, object] | None, found: list[str]
) -> None:
    one = dataclasses.replace(OURS, **ours)  # type: ignore[arg-type]
    if theirs is not None:
        one = dataclasses.replace(one, theirs=dataclasses.replace(THEIRS, **theirs))  # type: ignore[arg-type]

    assert codes(invoices.compare_invoices([one], now=NOW)) == found


# R6

ACCOUNT = Cleared(organization_id="org_a", customer_reference="cus_1", pico=700 * PICO_PER_CENT)
PAID = Moved(customer_reference="cus_1", reference="pi_1", cents=1000, at=NOW - DAY)
REFUNDED = Moved(customer_reference="cus_1", reference="re_1", cents=-300, at=NOW - DAY)


@pytest.mark.parametrize(
    ("moved", "pico", "found"),
    [
        ([PAID, REFUNDED], 700, []),
        ([PAID], 700, ["clearing_differs"]),
        ([REFUNDED], 700, ["clearing_differs"]),
        ([PAID, PAID, REFUNDED], 700, ["clearing_differs"]),
        ([], 0, []),
        ([], 1, ["clearing_differs"]),
        ([PAID, dataclasses.replace(REFUNDED, at=NOW - MINUTE)], 1000, []),
        ([PAID, dataclasses.replace(REFUNDED, at=NOW - MINUTE)], 700, []),
        ([PAID, dataclasses.replace(REFUNDED, at=NOW - MINUTE)], 600, ["clearing_differs"]),
        ([PAID, dataclasses.replace(REFUNDED, is_settled=False)], 1000, []),
        ([PAID, dataclasses.replace(REFUNDED, is_settled=False)], 700, []),
        ([PAID, dataclasses.replace(REFUNDED, is_settled=False)], 699, ["clearing_differs"]),
        ([dataclasses.replace(PAID, at=NOW - MINUTE)], 0, []),
        ([dataclasses.replace(PAID, at=NOW - MINUTE)], 1000, []),
        ([dataclasses.replace(PAID, at=NOW - MINUTE)], 1001, ["clearing_differs"]),
    ],
)
def test_the_clearing_account_is_what_the_provider_has(moved: list[Moved], pico: int, found: list[str]) -> None:
    account = dataclasses.replace(ACCOUNT, pico=pico * PICO_PER_CENT)

    findings, strangers = payments.compare_payments(moved, [account], now=NOW)

    assert (codes(findings), strangers) == (found, 0)


def test_half_a_cent_in_the_clearing_account_is_found() -> None:
    odd = dataclasses.replace(ACCOUNT, pico=ACCOUNT.pico + 1)

    assert codes(payments.compare_payments([PAID, REFUNDED], [odd], now=NOW)[0]) == ["clearing_differs"]


def test_money_of_strangers_is_counted_and_no_finding() -> None:
    stranger = dataclasses.replace(PAID, customer_reference="cus_other")

    assert payments.compare_payments([PAID, REFUNDED, stranger], [ACCOUNT], now=NOW) == ((), 1)


@pytest.fixture
def issued(cast: Cast) -> tuple[Invoice, dict[str, PaymentProvider]]:
    """October's invoice, issued through bank transfer."""
    invoice = closed_october(cast.alice.organization)
    billing.approve_invoice(invoice=invoice, by=Actor.person(cast.ada))
    provider = TransferProvider()
    outbox._send(OutboxMessage.objects.get(subject_id=invoice.pk), {provider.name: provider}, clock.now())
    BankTransfer.objects.update(created_at=clock.now() - 2 * HOUR)
    invoice.refresh_from_db()
    return invoice, {provider.name: provider}


def test_an_invoice_at_the_provider_is_compared_with_ours(issued: tuple[Invoice, dict[str, PaymentProvider]]) -> None:
    invoice, providers = issued
    clean = invoices.invoices(window(), providers=providers)
    tamper("UPDATE bank_transfer SET total_cents = total_cents + 1, statement_sha256 = 'x'")
    other = invoices.invoices(window(), providers=providers)
    tamper("DELETE FROM bank_transfer")

    missing = invoices.invoices(window(), providers=providers)
    without = invoices.invoices(window(), providers={})

    assert (clean.findings, clean.compared) == ((), 1)
    assert codes(other.findings) == ["total_differs", "statement_hash_differs"]
    assert codes(missing.findings) == ["invoice_missing"]
    assert missing.findings[0].invoice_id == invoice.pk
    assert "not set up" in without.note


def test_money_at_the_provider_is_compared_with_the_clearing_account(
    cast: Cast, issued: tuple[Invoice, dict[str, PaymentProvider]]
) -> None:
    invoice, providers = issued
    before = payments.payments(window(), providers=providers)
    tamper("UPDATE bank_transfer SET paid_at = now()")
    unbooked = payments.payments(window(), providers=providers)
    tamper("UPDATE bank_transfer SET paid_at = NULL")
    billing.mark_paid(invoice=invoice, by=Actor.person(cast.ada), reason="Line 17.")

    booked = payments.payments(window(), providers=providers)

    assert (before.findings, booked.findings) == ((), ())
    assert booked.compared == 2
    assert codes(unbooked.findings) == ["clearing_differs"]


# R7

SERVES = Metered(
    replica_id="rep_a",
    organization_id="org_a",
    deployment_id="dep_a",
    is_serving=True,
    ready_at=NOW - HOUR,
    ended_at=None,
    seconds=3600,
    metered_until=NOW,
)
RUNS = Container(
    name="moorage-x-rep_a-1",
    replica_id="rep_a",
    epoch=1,
    spec_hash="",
    status="running",
    started_at=NOW - HOUR - MINUTE,
)
OVER = {"is_serving": False, "ended_at": NOW - 30 * MINUTE}


@pytest.mark.parametrize(
    ("metered", "container", "found"),
    [
        ({}, {}, []),
        ({"seconds": 3604}, {}, []),
        ({"seconds": 3700}, {}, ["metered_too_long"]),
        ({"ready_at": None}, {}, ["metered_before_ready"]),
        ({"seconds": 3000, "metered_until": NOW - 10 * MINUTE}, {}, ["not_metered"]),
        ({"seconds": 0, "metered_until": None}, {}, ["not_metered"]),
        ({"seconds": 3590, "metered_until": NOW - 10 * dt.timedelta(seconds=1)}, {}, []),
        ({}, None, ["no_container"]),
        ({}, {"started_at": NOW - 30 * MINUTE}, ["metered_longer_than_ran"]),
        ({}, {"status": "exited", "finished_at": NOW - 20 * MINUTE}, ["metered_after_exit"]),
        ({}, {"status": "exited", "finished_at": NOW - MINUTE / 2}, ["metered_longer_than_ran"][:0]),
        ({**OVER, "seconds": 1800, "metered_until": NOW - 30 * MINUTE}, None, []),
        ({**OVER, "seconds": 1700, "metered_until": NOW - 30 * MINUTE}, None, ["metered_too_short"]),
        ({**OVER, "seconds": 1900, "metered_until": NOW - 30 * MINUTE}, None, ["metered_too_long"]),
    ],
)
def test_a_replica_is_metered_as_long_as_it_ran(
    metered: dict[str, object], container: dict[str, object] | None, found: list[str]
) -> None:
    one = dataclasses.replace(SERVES, **metered)  # type: ignore[arg-type]
    known = {} if container is None else {"rep_a": dataclasses.replace(RUNS, **container)}  # type: ignore[arg-type]

    assert codes(replicas.compare_replicas([one], known, now=NOW)) == found


class Runtime:
    """A runtime that knows these containers."""

    def __init__(self, *containers: Container) -> None:
        self._containers = containers

    def list(self) -> tuple[Container, ...]:
        """See the port."""
        return self._containers


def served(cast: Cast, *, seconds: int) -> Replica:
    """A replica of harbour that is ready since an hour, with so many metered seconds."""
    replica, now = deployed(cast.alice.organization), clock.now()
    Replica.objects.filter(pk=replica.pk).update(
        status=ReplicaStatus.READY,
        created_at=now - 2 * HOUR,
        ready_at=now - HOUR,
        metered_until=now,
        socket="/run/a.sock",
    )
    metering.record_replica_time(
        organization_id=cast.alice.organization.pk,
        deployment_id=replica.deployment_id,
        revision_id=replica.revision_id,
        replica_id=replica.pk,
        model_key="llm",
        started_at=now - dt.timedelta(seconds=seconds),
        ended_at=now,
    )
    return replica


def test_replica_seconds_are_read_from_where_they_are(cast: Cast) -> None:
    replica = served(cast, seconds=3600)
    ran = dataclasses.replace(RUNS, replica_id=replica.pk, started_at=clock.now() - HOUR - MINUTE)
    lied = dataclasses.replace(ran, started_at=clock.now() - 10 * MINUTE)

    clean = replicas.replicas(window(clock.now()), runtime=Runtime(ran))  # type: ignore[arg-type]
    (finding,) = replicas.replicas(window(clock.now()), runtime=Runtime(lied)).findings  # type: ignore[arg-type]

    assert (clean.findings, clean.compared) == ((), 1)
    assert (finding.code, finding.subject) == ("metered_longer_than_ran", replica.pk)


# R8

READING = engines.Reading(
    replica_id="rep_a",
    organization_id="org_a",
    engine_output=50_000,
    earlier_input=90_000,
    earlier_output=49_000,
    metered_input=90_000,
    metered_output=50_000,
    completed_output=50_000,
)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({}, []),
        ({"completed_output": 50_001}, ["metered_more_than_generated"]),
        ({"metered_output": 60_000}, []),
        ({"metered_output": 40_000, "completed_output": 40_000}, ["output_not_metered"]),
        ({"metered_output": 46_000, "completed_output": 46_000}, []),
        ({"metered_input": 80_000}, ["input_not_metered"]),
        ({"earlier_output": 0, "earlier_input": 0, "metered_output": 0, "completed_output": 0}, []),
    ],
)
def test_an_engine_counts_what_is_metered(changes: dict[str, int], found: list[str]) -> None:
    assert codes(engines.compare_engines([dataclasses.replace(READING, **changes)])) == found  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "counters"),
    [
        (
            "# TYPE llamacpp:prompt_tokens_total counter\nllamacpp:prompt_tokens_total 120\n"
            "llamacpp:tokens_predicted_total 45\nllamacpp:prompt_seconds_total 1.5\n",
            Counters(input_tokens=120, output_tokens=45),
        ),
        (
            'vllm:prompt_tokens_total{engine="0",model_name="m"} 1.234e+06\n'
            'vllm:prompt_tokens_total{engine="1",model_name="m"} 6.0\n'
            'vllm:generation_tokens_total{engine="0",model_name="m"} 7.0\n',
            Counters(input_tokens=1_234_006, output_tokens=7),
        ),
        ("llamacpp:prompt_tokens_total 120\n", None),
        ("llamacpp:prompt_tokens_total 1e99\nllamacpp:tokens_predicted_total 4\n", None),
        ("llamacpp:prompt_tokens_total NaN\nllamacpp:tokens_predicted_total -4\n", None),
        ("", None),
    ],
)
def test_counters_are_read_from_what_engines_say(text: str, counters: Counters | None) -> None:
    assert parse(text) == counters


def test_a_counter_that_went_back_has_begun_anew() -> None:
    before = EngineReading(
        replica_id="rep_a", organization_id="org_a", read_at=NOW, raw_input=90, raw_output=50, engine_output=50
    )

    after = engines.advance(
        before, Counters(input_tokens=10, output_tokens=8), engines.MeteredTokens(output_tokens=8), now=NOW
    )

    assert (after.engine_output, after.earlier_output, after.raw_output, after.metered_output) == (58, 50, 8, 8)


def at_replica(cast: Cast, replica: Replica, output: int) -> None:
    """A request of so many output tokens, answered by ``replica``."""
    event = request(cast.alice.organization.pk, tokens=(10, 0, output), ended_at=clock.now() - MINUTE)
    usage_table.put([msgspec.structs.replace(event, replica_id=replica.pk)])


def test_tokens_that_went_past_the_gateway_are_found_one_reading_later(cast: Cast) -> None:
    replica = served(cast, seconds=60)
    at_replica(cast, replica, 5_000)
    told = {"output": 5_000}

    def ask(_socket: Path) -> Counters:
        return Counters(input_tokens=10, output_tokens=told["output"])

    moment = clock.now() + MINUTE
    first = engines.engines(window(moment), ask=ask)
    told["output"] = 90_000
    second = engines.engines(window(moment + 5 * MINUTE), ask=ask)
    hasty = engines.engines(window(moment + 6 * MINUTE), ask=ask)
    third = engines.engines(window(moment + 10 * MINUTE), ask=ask)

    assert (first.findings, first.compared) == ((), 1)
    assert second.findings == (), "those requests may be running still"
    assert hasty.compared == 0, "a reading just after another says nothing"
    assert codes(third.findings) == ["output_not_metered"]


def test_more_metered_than_generated_is_found_and_usage_is_added_up_once(cast: Cast) -> None:
    replica = served(cast, seconds=60)
    moment = clock.now() + MINUTE
    at_replica(cast, replica, 700)
    engines.engines(window(moment), ask=lambda _: Counters(input_tokens=10, output_tokens=700))
    again = engines.engines(window(moment + 5 * MINUTE), ask=lambda _: Counters(input_tokens=10, output_tokens=700))
    tamper("UPDATE engine_reading SET completed_output = completed_output + 1")

    found = engines.engines(window(moment + 10 * MINUTE), ask=lambda _: Counters(input_tokens=10, output_tokens=700))

    assert again.findings == ()
    assert EngineReading.objects.get().metered_output == 700
    assert codes(found.findings) == ["metered_more_than_generated"]


def test_an_engine_that_does_not_answer_is_said_and_no_finding(cast: Cast) -> None:
    served(cast, seconds=60)

    result = engines.engines(window(), ask=lambda _: None)

    assert (result.count, result.compared) == (0, 0)
    assert result.note == "1 of 1 engines did not tell their counters."


# Rows


def clean(_window: Window) -> Result:
    """A comparison that agrees."""
    return Result(compared=3)


def dirty(_window: Window) -> Result:
    """One that does not."""
    return Result(compared=3, findings=(Finding(code="differs", sentence="It differs.", subject="x"),), finding_count=9)


@pytest.mark.parametrize("job", list(Job))
def test_a_job_is_due_when_its_interval_has_passed(job: Job) -> None:
    every = JOBS[job].every

    assert is_due(job, last_started_at=None, now=NOW)
    assert is_due(job, last_started_at=NOW - every, now=NOW)
    assert not is_due(job, last_started_at=NOW - every + dt.timedelta(seconds=1), now=NOW)


def test_a_clean_run_is_a_row_too(db: None) -> None:
    (row,) = runs.run_due({Job.BOOKS: clean}, now=NOW)

    kept = ReconciliationRun.objects.get()
    assert kept.pk == row.pk
    assert (kept.job, kept.is_clean, kept.compared, kept.findings, kept.started_at) == ("R1", True, 3, [], NOW)
    assert runs.run_due({Job.BOOKS: clean}, now=NOW + MINUTE) == ()
    assert len(runs.run_due({Job.BOOKS: clean}, now=NOW + 5 * MINUTE)) == 1


def test_a_dirty_run_stays_open_until_somebody_says_what_was_done(cast: Cast) -> None:
    (row,) = runs.run_due({Job.BOOKS: dirty}, now=NOW)
    ada = Actor.person(cast.ada)

    assert [run.pk for run in runs.open_runs()] == [row.pk]
    assert (row.finding_count, row.findings[0]["sentence"]) == (9, "It differs.")
    with pytest.raises(ReasonMissing):
        runs.acknowledge(job=Job.BOOKS, until=row.pk, by=ada, reason=" ")
    runs.acknowledge(job=Job.BOOKS, until=row.pk, by=ada, reason="Our own test.")

    assert not runs.open_runs().exists()
    entry = AuditEntry.objects.get(action="reconciliation.acknowledged")
    assert (entry.actor, entry.detail["reason"]) == (ada.id, "Our own test.")
    with pytest.raises(ReviewItemNotFound):
        runs.acknowledge(job=Job.BOOKS, until=row.pk, by=ada, reason="Again.")


def test_the_button_runs_a_job_before_it_is_due_and_once(cast: Cast) -> None:
    runs.run_due({Job.PAYMENTS: clean}, now=NOW)
    asked = runs.ask(job=Job.PAYMENTS, by=Actor.person(cast.ada))

    again = runs.ask(job=Job.PAYMENTS, by=Actor.person(cast.ada))
    (ran,) = runs.run_due({Job.PAYMENTS: clean}, now=NOW + MINUTE)

    assert again.pk == asked.pk == ran.pk
    assert (ran.asked_by, ran.is_clean) == ("ada@example.com", True)
    assert AuditEntry.objects.filter(action="reconciliation.asked").count() == 1
    assert runs.run_due({Job.PAYMENTS: clean}, now=NOW + 2 * MINUTE) == ()


@pytest.mark.parametrize("error", [ProviderUnavailable("It did not answer."), RuntimeUnreachable("No answer.")])
def test_what_could_not_be_asked_is_not_clean_and_is_looked_at_again(db: None, error: Exception) -> None:
    seen: list[Window] = []

    def failing(asked: Window) -> Result:
        seen.append(asked)
        raise error

    def watching(asked: Window) -> Result:
        seen.append(asked)
        return Result(compared=1)

    runs.run_due({Job.SETTLED: clean}, now=NOW)
    (failed,) = runs.run_due({Job.SETTLED: failing}, now=NOW + HOUR)
    runs.run_due({Job.SETTLED: watching}, now=NOW + 2 * HOUR)

    assert failed.is_clean is False
    assert failed.findings[0]["code"] == "not_compared"
    assert seen[0].since == seen[1].since == NOW - runs.ARRIVED, "nothing falls between two runs"


def test_a_run_whose_worker_died_says_so_and_makes_room(db: None) -> None:
    ReconciliationRun.objects.create(job=Job.BOOKS, started_at=NOW - HOUR)

    (ran,) = runs.run_due({Job.BOOKS: clean}, now=NOW)

    died = ReconciliationRun.objects.order_by("pk")[0]
    assert (died.is_clean, ran.is_clean) == (False, True)
    assert "died" in died.findings[0]["sentence"]


def test_a_run_that_is_under_way_is_nobody_elses(db: None) -> None:
    ReconciliationRun.objects.create(job=Job.BOOKS, started_at=NOW - MINUTE)

    assert runs.run_due({Job.BOOKS: clean}, now=NOW + 10 * MINUTE) == ()


def test_rows_are_bounded_and_what_was_not_clean_stays_longer(db: None) -> None:
    old = ReconciliationRun(job=Job.BOOKS, started_at=NOW, ended_at=NOW, is_clean=False)
    rows = [ReconciliationRun(job=Job.BOOKS, started_at=NOW, ended_at=NOW, is_clean=True) for _ in range(520)]
    other = ReconciliationRun(job=Job.SETTLED, started_at=NOW, ended_at=NOW, is_clean=True)
    ReconciliationRun.objects.bulk_create([old, other, *rows])

    runs.run_due({Job.BOOKS: clean}, now=NOW + HOUR)

    assert ReconciliationRun.objects.filter(job=Job.BOOKS, is_clean=True).count() == runs.KEPT_ROWS
    assert ReconciliationRun.objects.filter(job=Job.BOOKS, is_clean=False).count() == 1
    assert ReconciliationRun.objects.filter(job=Job.SETTLED).count() == 1


def test_every_job_is_run_by_one_of_the_two_workers() -> None:
    here = set(runs.jobs(providers={}))
    there = set(runs.runtime_jobs(runtime=Runtime()))  # type: ignore[arg-type]

    assert here | there == set(Job)
    assert not here & there
    assert there == {job for job in Job if JOBS[job].needs_runtime}


def test_on_an_instance_where_all_is_well_every_job_is_clean(funded: Wallet) -> None:
    available: dict[Job, Callable[[Window], Result]] = {
        **runs.jobs(providers={}),
        **runs.runtime_jobs(runtime=Runtime()),  # type: ignore[arg-type]
    }

    ran = runs.run_due(available, now=clock.now() + 2 * MINUTE)

    assert {row.job: row.findings for row in ran} == {str(job): [] for job in Job}
