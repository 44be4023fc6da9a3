"""What goes wrong with an organization in euro: reminders, disputes and minimums are in euro as well."""

import datetime as dt

import pytest
from django.core import mail

from moorage.billing import collecting, ledger, outbox, provider_events, topup_state
from moorage.billing.dunning import DunningPolicy
from moorage.billing.ledger import Account
from moorage.billing.models import Dispute
from moorage.billing.payments import ProviderDisputeStatus
from moorage.billing.payments_memory import MemoryProvider
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import invoiced, minimum
from tests.billing.euro import pay_in
from tests.billing.measured import CLOSING, price_list
from tests.billing.paid_credit import paid_and_unheard
from tests.cast import Cast

DAY = dt.timedelta(days=1)


@pytest.fixture
def euro(committed_cast: Cast) -> Cast:
    price_list()
    pay_in(committed_cast.alice.organization)
    return committed_cast


def test_a_reminder_names_what_is_owed_in_euro(euro: Cast) -> None:
    invoice = invoiced(euro.alice)

    collecting.dun(
        now=CLOSING + 7 * DAY, policy_now=DunningPolicy(reminder_days=(7,), past_due_days=15, suspended_days=30)
    )
    outbox.send_due(providers={}, now=CLOSING + 7 * DAY)

    assert (invoice.currency, invoice.total_cents) == ("EUR", 140)
    assert "1.40 EUR" in mail.outbox[0].subject
    assert "USD" not in mail.outbox[0].subject + mail.outbox[0].body


def test_a_minimum_is_topped_up_in_euro(euro: Cast) -> None:
    minimum(euro.alice, 500 * PICO_PER_CENT)

    invoice = invoiced(euro.alice)

    assert (invoice.statement.currency, invoice.statement.total_pico) == ("EUR", 500 * PICO_PER_CENT)
    assert (invoice.currency, invoice.total_cents) == ("EUR", 500)
    assert ledger.prove().sums == {"EUR": 0}


def test_a_lost_dispute_is_a_loss_in_euro(euro: Cast) -> None:
    organization, provider = euro.alice.organization, MemoryProvider()
    reference = paid_and_unheard(euro.alice, provider, currency="EUR").payment_reference
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
