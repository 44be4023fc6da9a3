"""Credit that an organization has bought at a provider in memory, what it has spent of it, and what comes back."""

import datetime as dt

import pytest

from moorage.accounts.actor import Actor
from moorage.billing import credit_notes, invoices, ledger, provider_events, topup_state, wallets
from moorage.billing.ledger import Account
from moorage.billing.models import CreditNote, ProviderCustomer, TopUp, TopUpKind
from moorage.billing.payments import Customer, TopUpDocument
from moorage.billing.payments_memory import MemoryProvider
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import invoiced
from tests.cast import Cast, Person

NOW = dt.datetime(2026, 11, 22, 12, tzinfo=dt.UTC)


@pytest.fixture
def provider() -> MemoryProvider:
    """Where credit is bought, in this process."""
    return MemoryProvider()


@pytest.fixture
def top_up(cast: Cast, provider: MemoryProvider) -> TopUp:
    """25 USD that Alice's organization has paid; nothing of it is granted before the provider is asked."""
    return paid_and_unheard(cast.alice, provider)


def paid_and_unheard(person: Person, provider: MemoryProvider, *, currency: str = "USD", cents: int = 2500) -> TopUp:
    """Credit that ``person``'s organization has paid at ``provider``; none of it is granted before that is asked."""
    organization = person.organization
    whom = Customer(organization_id=organization.pk, name=organization.name, email="")
    customer = provider.ensure_customer(whom, idempotency_key="c")
    ProviderCustomer.objects.create(organization=organization, provider="memory", reference=customer)
    top_up = TopUp.objects.create(
        organization=organization,
        kind=TopUpKind.CHECKOUT,
        currency=currency,
        cents=cents,
        provider="memory",
        source="a",
        created_by=person.actor.label,
    )
    document = TopUpDocument(
        top_up_id=top_up.id, customer_reference=customer, currency=currency, cents=cents, asked_at=top_up.created_at
    )
    reference = provider.start_top_up(document, idempotency_key="k").reference
    provider.pay(reference)
    TopUp.objects.filter(pk=top_up.pk).update(checkout_reference=reference, payment_reference=reference)
    top_up.refresh_from_db()
    return top_up


def paid(top_up: TopUp, provider: MemoryProvider) -> str:
    """The top-up is paid and its credit granted; the payment's reference."""
    topup_state.apply(provider.fetch_payment(top_up.payment_reference), provider="memory", now=NOW)
    return top_up.payment_reference


def heard(provider: MemoryProvider, payment: str) -> None:
    """``charge.refunded`` comes twice, and the refund's own event."""
    for _ in range(2):
        provider_events.apply("charge.refunded", payment, provider=provider, now=NOW)
    for one in provider.refunds_of(payment):
        provider_events.apply("refund.created", one.reference, provider=provider, now=NOW)


def spend(cast: Cast, cents: int) -> None:
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


def cents_of(cast: Cast, account: Account) -> int:
    """What is in an account of Alice's organization."""
    return ledger.balance(organization=cast.alice.organization, kind=account) // PICO_PER_CENT


def note_of_a_paid_invoice(cast: Cast) -> CreditNote:
    """A credit note whose amount has to be paid out: by transfer, as the invoice was paid."""
    invoice = invoiced(cast.alice)
    invoices.settle_paid(invoice=invoice, now=clock.now(), reason="It came.")
    return credit_notes.issue(invoice=invoice, reason="It did not answer.", by=Actor.person(cast.ada))
