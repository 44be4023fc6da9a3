"""R4, R5 and R6 against the provider they are about: the real SDK, the twin's HTTP, money in both directions."""

import datetime as dt
import types
from collections.abc import Iterator

import pytest
from django.test import Client

from moorage.accounts.actor import Actor
from moorage.billing import (
    closing,
    credit_notes,
    meter_export,
    outbox,
    providers,
    rater,
    refunds,
    review,
    services,
    topups,
    webhooks,
)
from moorage.billing.models import Dispute, Invoice, InvoiceStatus, Refund, TopUp, TopUpStatus
from moorage.billing.payments import PaymentProvider, UsageReport
from moorage.billing.payments_stripe import StripeProvider
from moorage.billing.reconciliation import invoices, meter, payments
from moorage.billing.reconciliation.findings import Window
from moorage.kernel import clock
from moorage.kernel.clock import Period
from tests.billing.measured import everything_shipped, price_list, use
from tests.cast import Cast
from tests.stripe_twin.process import API_KEY, SECRET, TwinProcess, running

HOUR = dt.timedelta(hours=1)
METER = "moorage_usage_microusd"
LAST_MONTH = Period.containing(Period.containing(clock.now()).start - dt.timedelta(days=1))


@pytest.fixture(scope="module")
def started() -> Iterator[TwinProcess]:
    with running() as twin:
        yield twin


@pytest.fixture
def twin(started: TwinProcess, settings: types.SimpleNamespace) -> TwinProcess:
    started.control("forget")
    started.control("meter", event_name=METER, display_name="Usage", default_aggregation={"formula": "sum"})
    settings.STRIPE_API_KEY = API_KEY
    settings.STRIPE_WEBHOOK_SECRETS = (SECRET,)
    settings.STRIPE_BASE_URL = started.url
    settings.MOORAGE_STRIPE_METER = METER
    return started


def later() -> Window:
    """Two hours from now: what happened is not on its way any more."""
    now = clock.now() + 2 * HOUR
    return Window(since=now - dt.timedelta(days=2), until=now, now=now)


def tell(hours: int = 0) -> None:
    outbox.send_due(providers=providers.configured(), now=clock.now() + hours * HOUR)


def hear(twin: TwinProcess) -> None:
    client = Client(headers={"host": "127.0.0.1"})
    for payload, signature in twin.signed_events():
        client.post(
            "/webhooks/stripe", payload, content_type="application/json", headers={"stripe-signature": signature}
        )
    webhooks.apply_due(available=providers.configured(), now=clock.now() + 5 * HOUR)


def configured() -> dict[str, PaymentProvider]:
    return dict(providers.configured())


def stripe() -> StripeProvider:
    found = configured()["stripe"]
    assert isinstance(found, StripeProvider)
    return found


@pytest.fixture
def collected(committed_cast: Cast, twin: TwinProcess) -> Invoice:
    """Last month of Alice's organization, 1.25 USD, exported to the meter, paid at the twin; and 25 USD of credit of
    which we have paid 5 back, somebody in the dashboard 3, and a bank has taken back 20 of a second 20."""
    price_list()
    alice, ada = committed_cast.alice, Actor.person(committed_cast.ada)
    use(alice.organization, tokens=(250_000, 0, 2_000_000), ended_at=LAST_MONTH.end - HOUR)
    everything_shipped(clock.now() + dt.timedelta(days=1))
    rater.rate_all()
    closing.close_period(LAST_MONTH, LAST_MONTH.end + closing.GRACE)
    (invoice,) = review.review_queue()
    services.approve_invoice(invoice=invoice, by=ada)
    meter_export.export_due(provider=stripe(), now=clock.now())
    tell()
    invoice.refresh_from_db()
    twin.pay(invoice.provider_reference)
    for cents in (2500, 2000):
        topups.open_checkout(organization=alice.organization, cents=cents, by=alice.actor)
        tell()
        twin.pay(TopUp.objects.get(status=TopUpStatus.STARTED).checkout_reference)
        hear(twin)
    first, second = TopUp.objects.order_by("id")
    dispute = twin.control("dispute", payment_intent=second.payment_reference)
    hear(twin)
    refunds.refund_credit(organization=alice.organization, cents=500, reason="Asked for.", key="1", by=ada)
    tell()
    twin.control("refund", payment_intent=first.payment_reference, amount=300)
    twin.control("close_dispute", id=dispute["id"], status="lost")
    hear(twin)
    credit_notes.issue(invoice=Invoice.objects.get(), amount_cents=25, reason="A part.", by=ada)
    tell(hours=1)
    hear(twin)
    invoice.refresh_from_db()
    return invoice


@pytest.mark.urls("moorage.billing.urls")
def test_where_all_is_well_each_is_clean_and_has_looked(collected: Invoice, twin: TwinProcess) -> None:
    found = {
        "R4": meter.meter(later(), providers=configured()),
        "R5": invoices.invoices(later(), providers=configured()),
        "R6": payments.payments(later(), providers=configured()),
    }

    assert collected.status == InvoiceStatus.PAID
    assert (Refund.objects.count(), Dispute.objects.get().status) == (2, "lost")
    assert {job: [one.sentence for one in result.findings] for job, result in found.items()} == {
        "R4": [],
        "R5": [],
        "R6": [],
    }
    # An organization's month; its invoice; three payments, three refunds, a dispute and one account.
    assert [result.compared for result in found.values()] == [1, 1, 8]


@pytest.mark.urls("moorage.billing.urls")
def test_what_differs_at_the_provider_is_found(collected: Invoice, twin: TwinProcess) -> None:
    first = TopUp.objects.order_by("id")[0]
    twin.control("change", id=collected.provider_reference, fields={"total": 126})
    # Refunded in the dashboard, and the webhook has not come.
    twin.control("refund", payment_intent=first.payment_reference, amount=100)
    customer = twin.all("customer")[0]["id"]
    stripe().push_usage(
        UsageReport(identifier="by hand", customer_reference=customer, value_micro=7, at=LAST_MONTH.end - HOUR),
        idempotency_key="by hand",
    )

    found = [
        [one.code for one in result.findings]
        for result in (
            meter.meter(later(), providers=configured()),
            invoices.invoices(later(), providers=configured()),
            payments.payments(later(), providers=configured()),
        )
    ]

    assert found == [["meter_differs"], ["total_differs"], ["clearing_differs"]]
    hear(twin)
    assert payments.payments(later(), providers=configured()).findings == ()
