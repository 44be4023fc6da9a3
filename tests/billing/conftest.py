"""Stripe as the provider of billing's tests, a month that it has collected, bought credit, and books in order."""

from tests.billing.collected import collected, metered
from tests.billing.findings import funded
from tests.billing.paid_credit import provider, top_up
from tests.stripe_twin.fixtures import started, twin

__all__ = ["collected", "funded", "metered", "provider", "started", "top_up", "twin"]
