"""Disputes: credit taken back as far as unused, the loss booked when lost, everything back when won; each once."""

import itertools
import random

import pytest
from django.db import transaction

from moorage.billing import disputes, provider_events, topup_state
from moorage.billing.ledger import Account
from moorage.billing.models import Dispute, DisputeStatus, TopUp
from moorage.billing.payments import ProviderDisputeStatus
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.provider_state import StateMismatch
from tests.billing.paid_credit import NOW, cents_of, spend
from tests.cast import Cast

LOST, WON, OPEN = ProviderDisputeStatus.LOST, ProviderDisputeStatus.WON, ProviderDisputeStatus.OPEN


def _books(cast: Cast) -> tuple[int, int, int]:
    """Credit, clearing, loss in cents."""
    return (
        -cents_of(cast, Account.WALLET),
        cents_of(cast, Account.MEMORY_CLEARING),
        cents_of(cast, Account.DISPUTE_LOSS),
    )


def _hear(provider: MemoryProvider, reference: str, times: int = 2) -> None:
    for _ in range(times):
        provider_events.apply("charge.dispute.updated", reference, provider=provider, now=NOW)


def test_a_disputed_top_up_loses_what_is_unused_of_it(cast: Cast, provider: MemoryProvider, top_up: TopUp) -> None:
    topup_state.apply(provider.fetch_payment(top_up.payment_reference), provider="memory", now=NOW)
    spend(cast, 1000)

    _hear(provider, provider.dispute(top_up.payment_reference))

    top_up.refresh_from_db()
    assert top_up.disputed_at == NOW
    assert _books(cast) == (0, 2500, -1500)


def test_a_lost_dispute_costs_what_was_used(cast: Cast, provider: MemoryProvider, top_up: TopUp) -> None:
    topup_state.apply(provider.fetch_payment(top_up.payment_reference), provider="memory", now=NOW)
    spend(cast, 1000)
    reference = provider.dispute(top_up.payment_reference)
    _hear(provider, reference)

    provider.close_dispute(reference, LOST)
    _hear(provider, reference)

    assert _books(cast) == (0, 0, 1000)
    assert Dispute.objects.get().status == DisputeStatus.LOST


def test_a_won_dispute_leaves_everything_as_it_was(cast: Cast, provider: MemoryProvider, top_up: TopUp) -> None:
    topup_state.apply(provider.fetch_payment(top_up.payment_reference), provider="memory", now=NOW)
    spend(cast, 1000)
    reference = provider.dispute(top_up.payment_reference)
    _hear(provider, reference)

    for status in (LOST, WON):
        provider.close_dispute(reference, status)
        _hear(provider, reference)

    top_up.refresh_from_db()
    assert top_up.disputed_at is None
    assert _books(cast) == (1500, 2500, 0)


@pytest.mark.parametrize("end", [OPEN, LOST, WON])
def test_any_order_of_payment_and_dispute_comes_to_the_same_end(
    cast: Cast, provider: MemoryProvider, top_up: TopUp, end: ProviderDisputeStatus
) -> None:
    reference = provider.dispute(top_up.payment_reference)
    provider.close_dispute(reference, end)
    payment = top_up.payment_reference
    kinds = [
        ("checkout.session.completed", payment),
        ("payment_intent.succeeded", payment),
        ("charge.dispute.created", reference),
        ("charge.dispute.closed", reference),
    ]
    ends = set()

    for order in itertools.permutations(kinds):
        chance = random.Random(str(order))
        with transaction.atomic():
            for kind, object_id in order:
                for _ in range(chance.randrange(3)):
                    provider_events.apply(kind, object_id, provider=provider, now=NOW)
            provider_events.apply("charge.dispute.closed", reference, provider=provider, now=NOW)
            ends.add((*_books(cast), Dispute.objects.get().status))
            transaction.set_rollback(True)

    assert ends == {{OPEN: (0, 2500, -2500, "open"), LOST: (0, 0, 0, "lost"), WON: (2500, 2500, 0, "won")}[end]}


def test_a_dispute_of_more_than_was_paid_or_in_another_currency_changes_nothing(
    cast: Cast, provider: MemoryProvider, top_up: TopUp
) -> None:
    reference = provider.dispute(top_up.payment_reference, cents=2501)

    with pytest.raises(StateMismatch):
        _hear(provider, reference)

    assert not Dispute.objects.exists()
    assert _books(cast)[2] == 0


def test_a_dispute_of_something_that_is_not_paid_waits(cast: Cast, provider: MemoryProvider, top_up: TopUp) -> None:
    theirs = provider.fetch_dispute(provider.dispute(top_up.payment_reference))

    with pytest.raises(StateMismatch, match="not paid here"):
        disputes.apply(theirs, provider="memory", now=NOW)


def test_a_strangers_dispute_is_nothing_to_us(cast: Cast, provider: MemoryProvider, top_up: TopUp) -> None:
    theirs = provider.fetch_dispute(provider.dispute(top_up.payment_reference))

    assert disputes.apply(theirs, provider="stripe", now=NOW) is None
    assert not Dispute.objects.exists()
