"""An organization in euro, from its prices to a refund, through Stripe's SDK and the twin: euro everywhere."""

import datetime as dt
import json
import subprocess
import sys
from pathlib import Path

import pytest

from moorage.accounts.actor import Actor
from moorage.billing import (
    bill_files,
    credit_notes,
    credit_verbs,
    ledger,
    meter_export,
    providers,
    queries,
    rater,
    topups,
    wallet_queries,
)
from moorage.billing.bill_files import FileKind
from moorage.billing.invoices import number_text
from moorage.billing.ledger import Account
from moorage.billing.models import Invoice, InvoiceStatus, OutboxMessage, Refund, RefundStatus, TopUp, TopUpStatus
from moorage.billing.payments import DocumentLine, InvoiceDocument, ProviderRefused
from moorage.billing.reconciliation.findings import Window
from moorage.billing.reconciliation.invoices import invoices as compare_invoices
from moorage.billing.reconciliation.payments import payments as compare_payments
from moorage.kernel import clock
from moorage.kernel.clock import Period
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import approved, exported
from tests.billing.euro import pay_in
from tests.billing.measured import LAST_MONTH, everything_shipped, price_list, use
from tests.billing.stripe_post import hear, tell
from tests.cast import Cast
from tests.stripe_twin.process import TwinProcess


@pytest.fixture
def euro(committed_cast: Cast, twin: TwinProcess) -> Cast:
    """Alice's organization pays in euro; in dollars everything has another price."""
    price_list()
    pay_in(committed_cast.alice.organization)
    everything_shipped(clock.now() + dt.timedelta(days=1))
    return committed_cast


def _bought(cast: Cast, twin: TwinProcess, cents: int) -> TopUp:
    topups.open_checkout(organization=cast.alice.organization, cents=cents, by=cast.alice.actor)
    top_up = topups.of(cast.alice.organization)[0]
    twin.pay(top_up.checkout_reference)
    hear(twin)
    top_up.refresh_from_db()
    return top_up


@pytest.mark.urls("moorage.billing.urls")
def test_euro_in_euro_out(euro: Cast, twin: TwinProcess, tmp_path: Path) -> None:
    organization = euro.alice.organization

    top_up = _bought(euro, twin, 500)
    assert (top_up.status, top_up.currency) == (TopUpStatus.PAID, "EUR")
    assert [intent["currency"] for intent in twin.all("payment_intent")] == ["eur"]
    assert wallet_queries.view(organization).credit_pico == 500 * PICO_PER_CENT

    # 10,000,000 tokens at 0.70: 7.00, of which the credit pays 5.00.
    invoice = approved(euro.alice, by=euro.ada, tokens=(0, 0, 10_000_000))
    statement = queries.statement(organization=organization, period=LAST_MONTH)
    assert (statement.statement.currency, statement.statement.due_pico) == ("EUR", 200 * PICO_PER_CENT)
    assert (invoice.currency, invoice.total_cents) == ("EUR", 200)
    _printed_in_euro(invoice, tmp_path)

    assert tell().sent == 1
    (theirs,) = twin.control("invoices")
    assert (theirs["currency"], theirs["total"]) == ("eur", 200)
    assert {item["currency"] for item in twin.control("items")} == {"eur"}
    invoice.refresh_from_db()
    twin.pay(invoice.provider_reference)
    hear(twin)
    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.PAID

    note = credit_notes.issue(invoice=invoice, amount_cents=50, reason="A part.", by=Actor.person(euro.ada))
    assert tell(minutes=1).sent == 1
    assert (note.currency, [one["amount"] for one in twin.all("credit_note")]) == ("EUR", [50])

    more = _bought(euro, twin, 300)
    outcome = credit_verbs.refund_credit(
        organization=organization, cents=300, reason="They leave.", key="r", by=Actor.person(euro.ada)
    )
    assert outcome.is_done and tell(minutes=2).sent == 1
    refund = Refund.objects.get(top_up=more)
    assert (refund.status, refund.currency) == (RefundStatus.SUCCEEDED, "EUR")
    assert {one["currency"] for one in twin.all("refund")} == {"eur"}

    assert ledger.balance(organization=organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=organization, kind=Account.STRIPE_CLEARING) == (500 + 200 - 50) * PICO_PER_CENT
    proof = ledger.prove()
    assert proof.is_clean and proof.sums == {"EUR": 0}
    assert not OutboxMessage.objects.filter(sent_at=None).exists()
    _reconciled()


def _printed_in_euro(invoice: Invoice, folder: Path) -> None:
    text = {kind: bill_files.of_invoice(invoice, kind).content for kind in (FileKind.CSV, FileKind.JSON)}
    assert b",EUR" in text[FileKind.CSV] and b"USD" not in text[FileKind.CSV]
    assert json.loads(text[FileKind.JSON])["currency"] == "EUR"
    export = folder / "export.jsonl"
    export.write_bytes(exported(invoice))
    program = folder / "verify.py"
    program.write_text(queries.verifier_program(), encoding="utf-8")
    ran = subprocess.run([sys.executable, program, export], capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "every amount is in EUR" in ran.stdout and "USD" not in ran.stdout
    export.write_bytes(exported(invoice).replace(b'"currency":"EUR"', b'"currency":"USD"'))
    ran = subprocess.run([sys.executable, program, export], capture_output=True, text=True, check=False)
    assert ran.returncode and f"invoice {number_text(invoice)} is in USD, the statement in EUR" in ran.stdout


def _reconciled() -> None:
    now = clock.now() + dt.timedelta(hours=3)
    window = Window(since=now - dt.timedelta(days=90), until=now, now=now)
    for compare in (compare_invoices, compare_payments):
        found = compare(window, providers=providers.configured())
        assert found.findings == () and found.compared > 0


def test_a_customer_of_stripe_is_invoiced_in_one_currency(euro: Cast, twin: TwinProcess) -> None:
    approved(euro.alice, by=euro.ada, tokens=(0, 0, 10_000_000))
    tell()
    (theirs,) = twin.control("invoices")
    document = InvoiceDocument(
        invoice_id="inv_other",
        number="M-9",
        customer_reference=theirs["customer"],
        currency="USD",
        total_cents=100,
        lines=(DocumentLine(description="usage", amount_cents=100),),
        statement_sha256="",
        period="2026-10",
        due_days=14,
    )

    with pytest.raises(ProviderRefused, match="cannot combine currencies on a single customer"):
        providers.configured()["stripe"].issue_invoice(document, idempotency_key="x")


def test_the_meter_of_micro_dollars_is_not_told_of_euro(euro: Cast, twin: TwinProcess, settings: object) -> None:
    settings.MOORAGE_STRIPE_METER = "moorage_usage_microusd"  # type: ignore[attr-defined]
    use(euro.alice.organization, tokens=(0, 0, 10_000_000), ended_at=clock.now() - dt.timedelta(minutes=1))
    use(euro.charlie.organization, tokens=(0, 0, 10_000_000), ended_at=clock.now() - dt.timedelta(minutes=1))
    rater.rate_all()
    provider = providers.configured()["stripe"]
    now = clock.now() + dt.timedelta(hours=2)

    meter_export.export_due(provider=provider, now=now)

    start = Period.containing(clock.now()).start
    assert not meter_export.UsagePush.objects.filter(organization=euro.alice.organization).exists()
    assert meter_export.UsagePush.objects.filter(organization=euro.charlie.organization).exists()
    asked = {"period_start": start, "provider": provider, "now": now}
    assert meter_export.why_unsent(organization_id=euro.alice.organization.pk, **asked) == ""  # type: ignore[arg-type]
