"""What goes wrong with an organization in euro: reminders, disputes and minimums are in euro as well."""

import datetime as dt

import pytest
from django.core import mail

from moorage.billing import closing, collecting, ledger, outbox, provider_events, rater, topup_state
from moorage.billing.dunning import DunningPolicy
from moorage.billing.ledger import Account
from moorage.billing.models import Dispute, Invoice, ProviderCustomer, TopUp, TopUpKind
from moorage.billing.payments import Customer, ProviderDisputeStatus, TopUpDocument
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.policy import ReviewPolicy
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import minimum
from tests.billing.euro import pay_in
from tests.billing.measured import CLOSING, OCTOBER, everything_shipped, price_list, use
from tests.cast import Cast

DAY = dt.timedelta(days=1)


def _invoiced(cast: Cast) -> Invoice:
    use(cast.alice.organization, tokens=(0, 0, 2_000_000))
    rater.rate_all()
    everything_shipped()
    closing.close_period(OCTOBER, CLOSING, policy=ReviewPolicy(above_cents=None, first_invoice=False))
    return Invoice.objects.select_related("statement").get()


@pytest.fixture
def euro(committed_cast: Cast) -> Cast:
    price_list()
    pay_in(committed_cast.alice.organization)
    return committed_cast


def test_a_reminder_names_what_is_owed_in_euro(euro: Cast) -> None:
    invoice = _invoiced(euro)

    collecting.dun(
        now=CLOSING + 7 * DAY, policy_now=DunningPolicy(reminder_days=(7,), past_due_days=15, suspended_days=30)
    )
    outbox.send_due(providers={}, now=CLOSING + 7 * DAY)

    assert (invoice.currency, invoice.total_cents) == ("EUR", 140)
    assert "1.40 EUR" in mail.outbox[0].subject
    assert "USD" not in mail.outbox[0].subject + mail.outbox[0].body


def test_a_minimum_is_topped_up_in_euro(euro: Cast) -> None:
    minimum(euro.alice, 500 * PICO_PER_CENT)

    invoice = _invoiced(euro)

    assert (invoice.statement.currency, invoice.statement.total_pico) == ("EUR", 500 * PICO_PER_CENT)
    assert (invoice.currency, invoice.total_cents) == ("EUR", 500)
    assert ledger.prove().sums == {"EUR": 0}


def test_a_lost_dispute_is_a_loss_in_euro(euro: Cast) -> None:
    organization, provider = euro.alice.organization, MemoryProvider()
    customer = provider.ensure_customer(
        Customer(organization_id=organization.pk, name="Harbour", email=""), idempotency_key="c"
    )
    ProviderCustomer.objects.create(organization=organization, provider="memory", reference=customer)
    made = TopUp.objects.create(
        organization=organization,
        kind=TopUpKind.CHECKOUT,
        currency="EUR",
        cents=2500,
        provider="memory",
        source="a",
        created_by="alice",
    )
    document = TopUpDocument(
        top_up_id=made.id, customer_reference=customer, currency="EUR", cents=2500, asked_at=made.created_at
    )
    reference = provider.start_top_up(document, idempotency_key="k").reference
    provider.pay(reference)
    TopUp.objects.update(checkout_reference=reference, payment_reference=reference)
    topup_state.apply(provider.fetch_payment(reference), provider="memory", now=clock.now())

    dispute = provider.dispute(reference)
    for status in (None, ProviderDisputeStatus.LOST):
        if status is not None:
            provider.close_dispute(dispute, status)
        provider_events.apply("charge.dispute.updated", dispute, provider=provider, now=clock.now())

    assert Dispute.objects.get().currency == "EUR"
    assert ledger.balance(organization=organization, kind=Account.WALLET) == 0
    assert ledger.balance(organization=organization, kind=Account.MEMORY_CLEARING) == 0
    assert ledger.prove().sums == {"EUR": 0}
