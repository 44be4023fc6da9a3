"""A month that is collected at Stripe, with credit that was bought, given back and disputed there."""

import datetime as dt
import types

import pytest

from moorage.accounts.actor import Actor
from moorage.billing import credit_notes, meter_export, providers, refunds, topups
from moorage.billing.models import Invoice, TopUp, TopUpStatus
from moorage.billing.payments import PaymentProvider
from moorage.billing.payments_stripe import StripeProvider
from moorage.billing.reconciliation.findings import Window
from moorage.kernel import clock
from tests.billing.bills import approved
from tests.billing.measured import LAST_MONTH
from tests.billing.stripe_post import hear, tell
from tests.cast import Cast
from tests.stripe_twin.process import TwinProcess

HOUR = dt.timedelta(hours=1)
METER = "moorage_usage_microusd"


@pytest.fixture
def metered(twin: TwinProcess, settings: types.SimpleNamespace) -> TwinProcess:
    """Stripe with a meter that usage is pushed to."""
    twin.control("meter", event_name=METER, display_name="Usage", default_aggregation={"formula": "sum"})
    settings.MOORAGE_STRIPE_METER = METER
    return twin


def later() -> Window:
    """Two hours from now: what happened is not on its way any more."""
    now = clock.now() + 2 * HOUR
    return Window(since=now - dt.timedelta(days=2), until=now, now=now)


def configured() -> dict[str, PaymentProvider]:
    """This instance's providers, as a comparison takes them."""
    return dict(providers.configured())


def stripe() -> StripeProvider:
    """The one that is Stripe."""
    found = configured()["stripe"]
    assert isinstance(found, StripeProvider)
    return found


@pytest.fixture
def collected(committed_cast: Cast, metered: TwinProcess) -> Invoice:
    """Last month of Alice's organization, 1.25 USD, exported to the meter, paid at the twin; and 25 USD of credit of
    which we have paid 5 back, somebody in the dashboard 3, and a bank has taken back 20 of a second 20."""
    alice, ada = committed_cast.alice, Actor.person(committed_cast.ada)
    invoice = approved(alice, by=committed_cast.ada, tokens=(250_000, 0, 2_000_000), ended_at=LAST_MONTH.end - HOUR)
    meter_export.export_due(provider=stripe(), now=clock.now())
    tell()
    invoice.refresh_from_db()
    metered.pay(invoice.provider_reference)
    for cents in (2500, 2000):
        topups.open_checkout(organization=alice.organization, cents=cents, by=alice.actor)
        tell()
        metered.pay(TopUp.objects.get(status=TopUpStatus.STARTED).checkout_reference)
        hear(metered)
    first, second = TopUp.objects.order_by("id")
    dispute = metered.control("dispute", payment_intent=second.payment_reference)
    hear(metered)
    refunds.refund_credit(organization=alice.organization, cents=500, reason="Asked for.", key="1", by=ada)
    tell()
    metered.control("refund", payment_intent=first.payment_reference, amount=300)
    metered.control("close_dispute", id=dispute["id"], status="lost")
    hear(metered)
    credit_notes.issue(invoice=Invoice.objects.get(), amount_cents=25, reason="A part.", by=ada)
    tell(hours=1)
    hear(metered)
    invoice.refresh_from_db()
    return invoice
