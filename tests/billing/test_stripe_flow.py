"""From a measured request to a paid invoice, with Stripe's SDK, the twin's HTTP and its signed webhooks."""

import pytest

from moorage.accounts.actor import Actor
from moorage.billing import credit_notes, ledger, services
from moorage.billing.ledger import Account
from moorage.billing.models import Invoice, InvoiceStatus, OutboxMessage, WebhookEvent
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import approved
from tests.billing.stripe_post import hear, tell
from tests.cast import Cast
from tests.stripe_twin.process import TwinProcess


@pytest.fixture
def invoice(committed_cast: Cast, twin: TwinProcess) -> Invoice:
    """Last month of Alice's organization, 1.25 USD, approved by Ada."""
    return approved(committed_cast.alice, by=committed_cast.ada, tokens=(250_000, 0, 2_000_000))


@pytest.mark.urls("moorage.billing.urls")
def test_usage_becomes_a_paid_invoice(invoice: Invoice, twin: TwinProcess) -> None:
    assert tell().sent == 1
    invoice.refresh_from_db()
    (theirs,) = twin.control("invoices")
    assert (theirs["id"], theirs["total"], theirs["status"]) == (invoice.provider_reference, 125, "open")
    assert theirs["metadata"]["statement_sha256"] == invoice.statement.sha256
    assert [item["amount"] for item in twin.control("items")] == [5, 120]

    twin.pay(invoice.provider_reference)
    hear(twin)

    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.PAID
    assert ledger.balance(organization=invoice.organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=invoice.organization, kind=Account.STRIPE_CLEARING) == 125 * PICO_PER_CENT
    assert ledger.prove().is_clean
    assert not WebhookEvent.objects.filter(applied_at=None).exists()


@pytest.mark.urls("moorage.billing.urls")
def test_webhooks_that_are_faster_than_the_answer_lose_nothing(invoice: Invoice, twin: TwinProcess) -> None:
    twin.fault("drop", "/v1/invoices", times=3, suffix="/send")
    assert tell().later == 1
    (theirs,) = twin.control("invoices")

    twin.pay(theirs["id"])
    hear(twin)
    tell(minutes=30)

    invoice.refresh_from_db()
    assert (invoice.status, invoice.provider_reference) == ("paid", theirs["id"])
    assert not OutboxMessage.objects.filter(sent_at=None).exists()
    assert len(twin.control("invoices")) == 1


@pytest.mark.urls("moorage.billing.urls")
def test_an_invoice_that_stripe_gives_up_is_uncollectible(invoice: Invoice, twin: TwinProcess) -> None:
    tell()
    invoice.refresh_from_db()

    twin.give_up(invoice.provider_reference)
    hear(twin)

    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.UNCOLLECTIBLE
    assert ledger.balance(organization=invoice.organization, kind=Account.BAD_DEBT) == 125 * PICO_PER_CENT


def test_an_invoice_voided_here_is_void_at_stripe(invoice: Invoice, twin: TwinProcess, committed_cast: Cast) -> None:
    tell()
    invoice.refresh_from_db()

    services.void_invoice(invoice=invoice, by=Actor.person(committed_cast.ada), reason="Agreed.")
    assert tell(minutes=1).sent == 1

    (theirs,) = twin.control("invoices")
    assert theirs["status"] == "void"


def test_a_lost_answer_on_the_way_makes_no_second_invoice(invoice: Invoice, twin: TwinProcess) -> None:
    for path, suffix in [("/v1/customers", ""), ("/v1/invoices", "invoices"), ("/v1/invoiceitems", "")]:
        twin.fault("drop", path, times=3, suffix=suffix)

    minutes = 0
    while tell(minutes=minutes).sent == 0:
        minutes += 60
        assert minutes < 600

    (theirs,) = twin.control("invoices")
    assert (theirs["total"], theirs["status"], len(twin.control("items"))) == (125, "open", 2)


@pytest.mark.urls("moorage.billing.urls")
def test_what_a_credit_note_gives_back_of_a_paid_invoice_leaves_clearing_once(
    invoice: Invoice, twin: TwinProcess, committed_cast: Cast
) -> None:
    tell()
    invoice.refresh_from_db()
    twin.pay(invoice.provider_reference)
    hear(twin)
    invoice.refresh_from_db()
    twin.fault("drop", "/v1/credit_notes", times=3, method="POST")

    credit_notes.issue(invoice=invoice, reason="A mistake.", by=Actor.person(committed_cast.ada))
    later, again = tell(minutes=1), tell(minutes=60)

    (theirs,) = twin.all("credit_note")
    assert (later.later, again.sent, theirs["amount"]) == (1, 1, 125)
    assert ledger.balance(organization=invoice.organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=invoice.organization, kind=Account.STRIPE_CLEARING) == 0


@pytest.mark.urls("moorage.billing.urls")
def test_an_invoice_with_a_credit_note_is_paid_with_what_is_left(
    invoice: Invoice, twin: TwinProcess, committed_cast: Cast
) -> None:
    tell()
    invoice.refresh_from_db()
    credit_notes.issue(invoice=invoice, amount_cents=25, reason="A part.", by=Actor.person(committed_cast.ada))
    assert tell(minutes=1).sent == 1

    twin.pay(invoice.provider_reference)
    hear(twin)

    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.PAID
    assert ledger.balance(organization=invoice.organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=invoice.organization, kind=Account.STRIPE_CLEARING) == 100 * PICO_PER_CENT
