"""What passes between this instance and Stripe: messages that are due go out, signed events come in."""

import datetime as dt

from django.test import Client

from moorage.billing import outbox, providers, webhooks
from moorage.kernel import clock
from tests.stripe_twin.process import TwinProcess


def tell(*, minutes: int = 0, hours: int = 0) -> outbox.Sent:
    """What is due by then is sent."""
    now = clock.now() + dt.timedelta(minutes=minutes, hours=hours)
    return outbox.send_due(providers=providers.configured(), now=now)


def hear(twin: TwinProcess) -> None:
    """Every event so far comes in twice, the second time in the other order, and is applied. The test needs the
    console's or billing's addresses."""
    client = Client(headers={"host": "127.0.0.1"})
    for payload, signature in [*twin.signed_events(), *reversed(twin.signed_events())]:
        answer = client.post(
            "/webhooks/stripe", payload, content_type="application/json", headers={"stripe-signature": signature}
        )
        assert answer.status_code == 200, answer.content
    webhooks.apply_due(available=providers.configured(), now=clock.now() + dt.timedelta(hours=5))
