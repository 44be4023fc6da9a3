"""From a measured request to a paid invoice, with Stripe's SDK, the twin's HTTP and its signed webhooks."""

import datetime as dt
from collections.abc import Iterator

import pytest
from django.test import Client

from moorage.accounts.actor import Actor
from moorage.billing import closing, credit_notes, ledger, outbox, providers, rater, review, services, webhooks
from moorage.billing.ledger import Account
from moorage.billing.models import Invoice, InvoiceStatus, OutboxMessage, WebhookEvent
from moorage.kernel import clock
from moorage.kernel.clock import Period
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.measured import everything_shipped, price_list, use
from tests.cast import Cast
from tests.stripe_twin.process import API_KEY, SECRET, TwinProcess, running

LAST_MONTH = Period.containing(Period.containing(clock.now()).start - dt.timedelta(days=1))


@pytest.fixture(scope="module")
def started() -> Iterator[TwinProcess]:
    with running() as twin:
        yield twin


@pytest.fixture
def twin(started: TwinProcess, settings: object) -> TwinProcess:
    started.control("forget")
    settings.STRIPE_API_KEY = API_KEY  # type: ignore[attr-defined]
    settings.STRIPE_WEBHOOK_SECRETS = (SECRET,)  # type: ignore[attr-defined]
    settings.STRIPE_BASE_URL = started.url  # type: ignore[attr-defined]
    return started


@pytest.fixture
def approved(committed_cast: Cast, twin: TwinProcess) -> Invoice:
    """Last month of Alice's organization, 1.25 USD, approved by Ada."""
    price_list()
    use(committed_cast.alice.organization, tokens=(250_000, 0, 2_000_000), ended_at=LAST_MONTH.start)
    everything_shipped(clock.now() + dt.timedelta(days=1))
    rater.rate_all()
    closing.close_period(LAST_MONTH, LAST_MONTH.end + closing.GRACE)
    (invoice,) = review.review_queue()
    services.approve_invoice(invoice=invoice, by=Actor.person(committed_cast.ada))
    return invoice


def _tell(minutes: int = 0) -> outbox.Sent:
    return outbox.send_due(providers=providers.configured(), now=clock.now() + dt.timedelta(minutes=minutes))


def _hear(twin: TwinProcess) -> None:
    client = Client(headers={"host": "127.0.0.1"})
    for payload, signature in [*twin.signed_events(), *reversed(twin.signed_events())]:
        answer = client.post(
            "/webhooks/stripe", payload, content_type="application/json", headers={"stripe-signature": signature}
        )
        assert answer.status_code == 200, answer.content
    webhooks.apply_due(available=providers.configured(), now=clock.now() + dt.timedelta(hours=5))


@pytest.mark.urls("moorage.billing.urls")
def test_usage_becomes_a_paid_invoice(approved: Invoice, twin: TwinProcess) -> None:
    assert _tell().sent == 1
    approved.refresh_from_db()
    (theirs,) = twin.control("invoices")
    assert (theirs["id"], theirs["total"], theirs["status"]) == (approved.provider_reference, 125, "open")
    assert theirs["metadata"]["statement_sha256"] == approved.statement.sha256
    assert [item["amount"] for item in twin.control("items")] == [5, 120]

    twin.pay(approved.provider_reference)
    _hear(twin)

    approved.refresh_from_db()
    assert approved.status == InvoiceStatus.PAID
    assert ledger.balance(organization=approved.organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=approved.organization, kind=Account.STRIPE_CLEARING) == 125 * PICO_PER_CENT
    assert ledger.prove().is_clean
    assert not WebhookEvent.objects.filter(applied_at=None).exists()


@pytest.mark.urls("moorage.billing.urls")
def test_webhooks_that_are_faster_than_the_answer_lose_nothing(approved: Invoice, twin: TwinProcess) -> None:
    twin.fault("drop", "/v1/invoices", times=3, suffix="/send")
    assert _tell().later == 1
    (theirs,) = twin.control("invoices")

    twin.pay(theirs["id"])
    _hear(twin)
    _tell(minutes=30)

    approved.refresh_from_db()
    assert (approved.status, approved.provider_reference) == ("paid", theirs["id"])
    assert not OutboxMessage.objects.filter(sent_at=None).exists()
    assert len(twin.control("invoices")) == 1


@pytest.mark.urls("moorage.billing.urls")
def test_an_invoice_that_stripe_gives_up_is_uncollectible(approved: Invoice, twin: TwinProcess) -> None:
    _tell()
    approved.refresh_from_db()

    twin.give_up(approved.provider_reference)
    _hear(twin)

    approved.refresh_from_db()
    assert approved.status == InvoiceStatus.UNCOLLECTIBLE
    assert ledger.balance(organization=approved.organization, kind=Account.BAD_DEBT) == 125 * PICO_PER_CENT


def test_an_invoice_voided_here_is_void_at_stripe(approved: Invoice, twin: TwinProcess, committed_cast: Cast) -> None:
    _tell()
    approved.refresh_from_db()

    services.void_invoice(invoice=approved, by=Actor.person(committed_cast.ada), reason="Agreed.")
    assert _tell(minutes=1).sent == 1

    (theirs,) = twin.control("invoices")
    assert theirs["status"] == "void"


def test_a_lost_answer_on_the_way_makes_no_second_invoice(approved: Invoice, twin: TwinProcess) -> None:
    for path, suffix in [("/v1/customers", ""), ("/v1/invoices", "invoices"), ("/v1/invoiceitems", "")]:
        twin.fault("drop", path, times=3, suffix=suffix)

    minutes = 0
    while _tell(minutes).sent == 0:
        minutes += 60
        assert minutes < 600

    (theirs,) = twin.control("invoices")
    assert (theirs["total"], theirs["status"], len(twin.control("items"))) == (125, "open", 2)


@pytest.mark.urls("moorage.billing.urls")
def test_what_a_credit_note_gives_back_of_a_paid_invoice_leaves_clearing_once(
    approved: Invoice, twin: TwinProcess, committed_cast: Cast
) -> None:
    _tell()
    approved.refresh_from_db()
    twin.pay(approved.provider_reference)
    _hear(twin)
    approved.refresh_from_db()
    twin.fault("drop", "/v1/credit_notes", times=3, method="POST")

    credit_notes.issue(invoice=approved, reason="A mistake.", by=Actor.person(committed_cast.ada))
    later, again = _tell(minutes=1), _tell(minutes=60)

    (theirs,) = twin.all("credit_note")
    assert (later.later, again.sent, theirs["amount"]) == (1, 1, 125)
    assert ledger.balance(organization=approved.organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=approved.organization, kind=Account.STRIPE_CLEARING) == 0


@pytest.mark.urls("moorage.billing.urls")
def test_an_invoice_with_a_credit_note_is_paid_with_what_is_left(
    approved: Invoice, twin: TwinProcess, committed_cast: Cast
) -> None:
    _tell()
    approved.refresh_from_db()
    credit_notes.issue(invoice=approved, amount_cents=25, reason="A part.", by=Actor.person(committed_cast.ada))
    assert _tell(minutes=1).sent == 1

    twin.pay(approved.provider_reference)
    _hear(twin)

    approved.refresh_from_db()
    assert approved.status == InvoiceStatus.PAID
    assert ledger.balance(organization=approved.organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=approved.organization, kind=Account.STRIPE_CLEARING) == 100 * PICO_PER_CENT
