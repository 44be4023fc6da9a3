"""Flow C: a month ends, its statement is frozen, an administrator approves the invoice, Stripe collects, it is paid."""

import datetime as dt
import hashlib
from collections.abc import Callable, Iterator

import httpx
import pytest

from moorage.accounts.models import Scope
from moorage.billing.models import Invoice, InvoiceStatus, LedgerEntry, Statement
from tests.billing.measured import LAST_MONTH, use
from tests.cast import Cast
from tests.flows.stack import Stack
from tests.stripe_twin.process import API_KEY, SECRET, TwinProcess, running
from tests.waiting import wait_until


@pytest.fixture(scope="module")
def twin() -> Iterator[TwinProcess]:
    """A stand-in for Stripe, as a real HTTP process that the real SDK speaks to."""
    with running() as started:
        yield started


@pytest.fixture(scope="module")
def stack_environment(twin: TwinProcess) -> dict[str, str]:
    """The processes are pointed at it."""
    return {"STRIPE_API_KEY": API_KEY, "STRIPE_WEBHOOK_SECRET": SECRET, "STRIPE_BASE_URL": twin.url}


@pytest.fixture
def sweep(stack: Stack) -> Callable[[], None]:
    """What beat does every half minute, now."""
    return lambda: stack.send_task("moorage.billing.tasks.sweep")


def test_a_month_becomes_a_paid_invoice(
    committed_cast: Cast, stack: Stack, twin: TwinProcess, sweep: Callable[[], None]
) -> None:
    alice = committed_cast.alice
    use(alice.organization, tokens=(250_000, 0, 2_000_000), ended_at=LAST_MONTH.end - dt.timedelta(minutes=1))

    def drafted() -> Invoice | None:
        sweep()
        return Invoice.objects.filter(status=InvoiceStatus.IN_REVIEW).first()

    invoice = wait_until(drafted, seconds=60, what="an invoice in review")
    statement = Statement.objects.get(pk=invoice.statement_id)
    assert statement.sha256 == hashlib.sha256(statement.document.encode()).hexdigest()

    review = alice.key(Scope.ADMIN, name="review")
    with stack.api(review) as api:
        listed = api.get("/admin/invoices").json()["data"]
        assert [one["id"] for one in listed] == [invoice.pk]
        approved = api.post(f"/admin/invoices/{invoice.pk}/approve", json={"reason": "looks right"})
        assert approved.status_code == 200, approved.text

    def is_at_stripe() -> bool:
        sweep()
        invoice.refresh_from_db()
        return bool(invoice.provider_reference)

    wait_until(is_at_stripe, seconds=60, what="the invoice to reach Stripe")
    (theirs,) = twin.control("invoices")
    assert theirs["total"] == invoice.total_cents
    assert theirs["metadata"]["statement_sha256"] == statement.sha256

    forged = httpx.post(f"{stack.console_url}/webhooks/stripe", content=b"{}", headers={"stripe-signature": "t=1,v1=0"})
    assert forged.status_code == 400
    twin.pay(invoice.provider_reference)
    for payload, signature in [*twin.signed_events(), *twin.signed_events()]:
        told = httpx.post(
            f"{stack.console_url}/webhooks/stripe", content=payload, headers={"stripe-signature": signature}
        )
        assert told.status_code == 200, told.text

    def is_paid() -> bool:
        sweep()
        invoice.refresh_from_db()
        return invoice.status == InvoiceStatus.PAID

    wait_until(is_paid, seconds=60, what="the invoice to be paid")
    assert sum(LedgerEntry.objects.values_list("amount_pico", flat=True)) == 0

    with stack.api(alice.key(Scope.MANAGE, name="owner")) as api:
        assert api.get("/invoices").json()["data"][0]["status"] == "paid"
        shown = api.get("/statement", params={"period": str(LAST_MONTH)}).json()
        assert shown["sha256"] == statement.sha256

    late = use(alice.organization, ended_at=LAST_MONTH.end - dt.timedelta(minutes=1))
    wait_until(lambda: _running_refers_to(stack, alice.key(Scope.MANAGE, name="late"), late), seconds=30)
    statement.refresh_from_db()
    assert statement.sha256 == hashlib.sha256(statement.document.encode()).hexdigest()


def _running_refers_to(stack: Stack, secret: str, _request_id: str) -> bool:
    with stack.api(secret) as api:
        lines = api.get("/statement").json()["lines"]
    return any(line.get("late_from") or line.get("is_late") or "late" in str(line).lower() for line in lines)
