"""Whatever comes in whatever order, twice or never: one end. The twin's signed events, and the poller for misses."""

import datetime as dt
import json
import random

import pytest
from django.core.checks import run_checks
from django.db import transaction
from django.test import Client

from moorage.billing import closing, invoices, ledger, outbox, providers, rater, refunds, topups, webhooks
from moorage.billing.ledger import Account
from moorage.billing.models import (
    Dispute,
    EventCursor,
    Invoice,
    Refund,
    TopUp,
    WebhookEvent,
)
from moorage.billing.payments import Customer, PaymentProvider
from moorage.billing.payments_stripe import StripeProvider, StripeSettings
from moorage.billing.policy import ReviewPolicy
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.measured import LAST_MONTH, everything_shipped, price_list, use
from tests.cast import Cast
from tests.stripe_twin.process import API_KEY, SECRET, TwinProcess

WHOM = Customer(organization_id="org_a", name="Harbour", email="")
SHUFFLES = 200
#: The story's seven events, of all that the twin tells.
SEVEN = (
    "checkout.session.completed",
    "payment_intent.succeeded",
    "refund.created",
    "invoice.finalized",
    "invoice.paid",
    "charge.dispute.created",
    "charge.dispute.closed",
)


@pytest.fixture
def twin(twin: TwinProcess, settings: object) -> TwinProcess:
    """Stripe, while its webhook's secret is being changed."""
    settings.STRIPE_WEBHOOK_SECRETS = ("whsec_the_last_one", SECRET)  # type: ignore[attr-defined]
    return twin


@pytest.fixture
def story(committed_cast: Cast, twin: TwinProcess) -> list[tuple[bytes, str]]:
    """All has happened at Stripe and nobody here has heard of it: a top-up was paid, unused credit of an earlier one
    was paid back but the answer was lost; an invoice of 20.00 (40.00 of usage, less 20.00 of credit) was paid, disputed
    and lost."""
    alice = committed_cast.alice
    bought = topups.open_checkout(organization=alice.organization, cents=2500, by=alice.actor)
    twin.pay(bought.checkout_reference)
    topups.refresh(bought)
    twin.fault("drop", "/v1/refunds", times=3, method="POST")
    refunds.refund_credit(organization=alice.organization, cents=500, reason="Asked for.", key="1", by=alice.actor)
    outbox.send_due(providers=providers.configured(), now=clock.now())
    price_list()
    use(alice.organization, tokens=(200_000_000, 0, 0), ended_at=LAST_MONTH.start)
    rater.rate_all()
    everything_shipped(clock.now() + dt.timedelta(days=1))
    closing.close_period(
        LAST_MONTH, LAST_MONTH.end + closing.GRACE, policy=ReviewPolicy(above_cents=None, first_invoice=False)
    )
    waiting = topups.open_checkout(organization=alice.organization, cents=1000, by=alice.actor)
    outbox.send_due(providers=providers.configured(), now=clock.now() + dt.timedelta(hours=2))
    twin.pay(waiting.checkout_reference)
    invoice = Invoice.objects.get()
    twin.pay(invoice.provider_reference)
    (settled,) = twin.all("invoice_payment")
    dispute = twin.control("dispute", payment_intent=settled["payment"]["payment_intent"])
    twin.control("close_dispute", id=dispute["id"], status="lost")
    WebhookEvent.objects.update(applied_at=clock.now())
    EventCursor.objects.create(
        provider="stripe",
        read_until=clock.now() - dt.timedelta(minutes=5),
        polled_at=clock.now() - dt.timedelta(days=1),
    )
    last = {json.loads(payload)["type"]: (payload, signature) for payload, signature in twin.signed_events()}
    return [last[kind] for kind in SEVEN]


class Remembered(StripeProvider):
    """What Stripe said once: nothing happens there any more, and two hundred times the same question takes long."""

    def __init__(self, settings: StripeSettings) -> None:
        super().__init__(settings)
        self._answers: dict[tuple[str, object], object] = {}

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if not name.startswith("fetch_") and name != "events_since":
            return found
        answers = super().__getattribute__("_answers")

        def remembered(asked: object) -> object:
            key = (name, asked if name.startswith("fetch_") else "")
            if key not in answers:
                made = found(asked)
                answers[key] = made if name.startswith("fetch_") else list(made)
            return answers[key]

        return remembered


def _end() -> tuple[object, ...]:
    """Everything that money could have changed."""
    organization = Invoice.objects.get().organization
    return (
        tuple(TopUp.objects.order_by("id").values_list("cents", "status")),
        tuple(Refund.objects.values_list("cents", "status")),
        tuple(Dispute.objects.values_list("cents", "status")),
        tuple((one.status, one.disputed_at is not None, invoices.number_text(one)) for one in Invoice.objects.all()),
        tuple(
            (str(kind), ledger.balance(organization=organization, kind=kind) // PICO_PER_CENT)
            for kind in (Account.RECEIVABLE, Account.WALLET, Account.STRIPE_CLEARING, Account.DISPUTE_LOSS)
        ),
    )


def test_invariant_16_any_order_duplicates_and_gaps_come_to_the_same_end(
    story: list[tuple[bytes, str]], twin: TwinProcess
) -> None:
    ends = set()
    remembered = Remembered(StripeSettings(api_key=API_KEY, base_url=twin.url))
    available: dict[str, PaymentProvider] = {"stripe": remembered}
    shuffle, began = random.Random(16), clock.now()

    for _ in range(SHUFFLES):
        # Each event once to three times, three in ten of them never; then shuffled.
        delivered = [one for one in story for _ in range(shuffle.randint(1, 3)) if shuffle.random() > 0.3]
        shuffle.shuffle(delivered)
        now = clock.now()
        with transaction.atomic():
            for payload, signature in delivered:
                webhooks.receive(payload, signature, now=began)
                if shuffle.random() < 0.3:
                    webhooks.apply_due(available=available, now=now)
            now += dt.timedelta(minutes=1)
            webhooks.apply_due(available=available, now=now)
            webhooks.poll(available=available, now=now)
            for minutes in (0, 60):
                webhooks.apply_due(available=available, now=now + dt.timedelta(minutes=minutes))
            ends.add(_end())
            assert not WebhookEvent.objects.filter(applied_at=None).exists()
            transaction.set_rollback(True)

    assert ends == {
        (
            ((2500, "paid"), (1000, "paid")),
            ((500, "succeeded"),),
            ((2000, "lost"),),
            (("paid", True, "M-000001"),),
            # Credit: the second top-up. Clearing: 25 + 10 in, 5 paid back, 20 in and lost.
            (
                ("customer_receivable", 0),
                ("customer_wallet", -1000),
                ("stripe_clearing", 3000),
                ("dispute_loss", 2000),
            ),
        )
    }


@pytest.mark.parametrize(
    "wrong",
    [
        {"secret": "whsec_forged"},
        {"age_seconds": 301},
        {"age_seconds": -301},
        {"age_seconds": -3 * 365 * 24 * 3600},
    ],
)
@pytest.mark.urls("moorage.billing.urls")
def test_invariant_16_forged_stale_and_future_webhooks_change_nothing(
    db: None, twin: TwinProcess, wrong: dict[str, object]
) -> None:
    providers.configured()["stripe"].ensure_customer(WHOM, idempotency_key="c")
    client = Client(headers={"host": "127.0.0.1"})

    statuses = [
        client.post(
            "/webhooks/stripe", payload, content_type="application/json", headers={"stripe-signature": signature}
        ).status_code
        for payload, signature in twin.planned(**{"secret": SECRET, **wrong})  # type: ignore[arg-type]
    ]

    assert statuses == [400]
    assert not WebhookEvent.objects.exists()


@pytest.mark.parametrize("secrets", [(), ("",), ("whsec_one", " ")])
def test_the_process_does_not_start_with_an_empty_webhook_secret(secrets: tuple[str, ...], settings: object) -> None:
    settings.STRIPE_API_KEY = "sk_test_x"  # type: ignore[attr-defined]
    settings.STRIPE_WEBHOOK_SECRETS = secrets  # type: ignore[attr-defined]

    assert [one.id for one in run_checks(tags=["security"]) if one.id.startswith("billing.")] == ["billing.E001"]


def test_without_stripe_no_secret_is_needed(settings: object) -> None:
    settings.STRIPE_API_KEY = None  # type: ignore[attr-defined]
    settings.STRIPE_WEBHOOK_SECRETS = ()  # type: ignore[attr-defined]

    assert [one.id for one in run_checks(tags=["security"]) if one.id.startswith("billing.")] == []
