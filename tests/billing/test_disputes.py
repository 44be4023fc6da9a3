"""Disputes: credit taken back as far as unused, the loss booked when lost, everything back when won; each once."""

import datetime as dt
import itertools
import random

import pytest
from django.db import transaction

from moorage.billing import disputes, ledger, provider_events, topup_state, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import Dispute, DisputeStatus, ProviderCustomer, TopUp, TopUpKind
from moorage.billing.payments import Customer, ProviderDisputeStatus, TopUpDocument
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.provider_state import StateMismatch
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT
from tests.cast import Cast

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)
LOST, WON, OPEN = ProviderDisputeStatus.LOST, ProviderDisputeStatus.WON, ProviderDisputeStatus.OPEN


@pytest.fixture
def provider() -> MemoryProvider:
    return MemoryProvider()


@pytest.fixture
def top_up(cast: Cast, provider: MemoryProvider) -> TopUp:
    """25 USD that Alice's organization has paid; nothing of it is granted before the provider is asked."""
    organization = cast.alice.organization
    whom = Customer(organization_id=organization.pk, name="Harbour", email="")
    customer = provider.ensure_customer(whom, idempotency_key="c")
    ProviderCustomer.objects.create(organization=organization, provider="memory", reference=customer)
    made = TopUp.objects.create(
        organization=organization,
        kind=TopUpKind.CHECKOUT,
        currency="USD",
        cents=2500,
        provider="memory",
        source="a",
        created_by="alice",
    )
    document = TopUpDocument(
        top_up_id=made.id, customer_reference=customer, currency="USD", cents=2500, asked_at=made.created_at
    )
    reference = provider.start_top_up(document, idempotency_key="k").reference
    provider.pay(reference)
    TopUp.objects.update(checkout_reference=reference, payment_reference=reference)
    made.refresh_from_db()
    return made


def _cents(cast: Cast, account: Account) -> int:
    return ledger.balance(organization=cast.alice.organization, kind=account) // PICO_PER_CENT


def _books(cast: Cast) -> tuple[int, int, int]:
    """Credit, clearing, loss in cents."""
    return (
        -_cents(cast, Account.WALLET),
        _cents(cast, Account.MEMORY_CLEARING),
        _cents(cast, Account.DISPUTE_LOSS),
    )


def _use(cast: Cast, cents: int) -> None:
    """Usage of so many cents, paid with credit."""
    organization, pico = cast.alice.organization, cents * PICO_PER_CENT
    ledger.post(
        kind="usage",
        idempotency_key="u",
        entries=[
            ledger.Entry(account=Account.RECEIVABLE, organization_id=organization.pk, pico=pico),
            ledger.Entry(account=Account.REVENUE, organization_id=organization.pk, pico=-pico),
        ],
        effective_at=clock.now(),
    )
    wallets.capture(
        organization_id=organization.pk,
        pico=pico,
        period_start=dt.datetime(2026, 11, 1, tzinfo=dt.UTC),
        idempotency_key="capture:u",
        at=clock.now(),
    )


def _hear(provider: MemoryProvider, reference: str, times: int = 2) -> None:
    for _ in range(times):
        provider_events.apply("charge.dispute.updated", reference, provider=provider, now=NOW)


def test_a_disputed_top_up_loses_what_is_unused_of_it(cast: Cast, provider: MemoryProvider, top_up: TopUp) -> None:
    topup_state.apply(provider.fetch_payment(top_up.payment_reference), provider="memory", now=NOW)
    _use(cast, 1000)

    _hear(provider, provider.dispute(top_up.payment_reference))

    top_up.refresh_from_db()
    assert top_up.disputed_at == NOW
    assert _books(cast) == (0, 2500, -1500)


def test_a_lost_dispute_costs_what_was_used(cast: Cast, provider: MemoryProvider, top_up: TopUp) -> None:
    topup_state.apply(provider.fetch_payment(top_up.payment_reference), provider="memory", now=NOW)
    _use(cast, 1000)
    reference = provider.dispute(top_up.payment_reference)
    _hear(provider, reference)

    provider.close_dispute(reference, LOST)
    _hear(provider, reference)

    assert _books(cast) == (0, 0, 1000)
    assert Dispute.objects.get().status == DisputeStatus.LOST


def test_a_won_dispute_leaves_everything_as_it_was(cast: Cast, provider: MemoryProvider, top_up: TopUp) -> None:
    topup_state.apply(provider.fetch_payment(top_up.payment_reference), provider="memory", now=NOW)
    _use(cast, 1000)
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
