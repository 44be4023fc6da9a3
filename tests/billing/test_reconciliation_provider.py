"""R4, R5 and R6, what the payment provider has of us: clean, and each error, planted and found."""

import dataclasses
import datetime as dt

import pytest

from moorage.accounts.actor import Actor
from moorage.billing import outbox, rater
from moorage.billing import services as billing
from moorage.billing.models import BankTransfer, Invoice, InvoiceStatus, OutboxMessage, ProviderCustomer, UsagePush
from moorage.billing.payments import Customer, PaymentProvider, ProviderInvoice, ProviderStatus, UsageReport
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.payments_transfer import TransferProvider
from moorage.billing.reconciliation import invoices, meter, payments
from moorage.billing.reconciliation.invoices import Asked
from moorage.billing.reconciliation.meter import Pushed
from moorage.billing.reconciliation.payments import Cleared, Moved
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.findings import DAY, HOUR, MINUTE, NOW, codes, window
from tests.billing.measured import NOON, OCTOBER, price_list, use
from tests.billing.tampering import tamper
from tests.cast import Cast
from tests.console.usage_rows import closed_october

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
