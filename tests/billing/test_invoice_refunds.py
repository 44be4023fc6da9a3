"""Refunds of invoices' payments that somebody made at the provider: found by R6, booked once, as a person says."""

import dataclasses

import pytest
from django.test import override_settings

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry
from moorage.billing import credit_notes, invoice_refunds, invoices, ledger, outbox, services
from moorage.billing.errors import ApprovalPending, InvalidCredit, NothingToBook, ReasonMissing
from moorage.billing.invoice_refunds import BookedAs
from moorage.billing.ledger import Account
from moorage.billing.models import CreditNote, Invoice, OutboxMessage
from moorage.billing.payments import ProviderRefundStatus
from moorage.billing.payments_memory import MemoryProvider
from moorage.billing.reconciliation import payments
from moorage.billing.reconciliation.findings import Result, Window
from moorage.kernel import clock
from moorage.kernel.money import PICO
from tests.billing.bills import invoiced
from tests.billing.paid_credit import cents_of
from tests.cast import Cast

CREDIT_NOTE, LOSS = BookedAs.CREDIT_NOTE, BookedAs.LOSS


@pytest.fixture
def cast(committed_cast: Cast) -> Cast:
    """Committed: a network call holds no locks."""
    return committed_cast


@pytest.fixture
def provider() -> MemoryProvider:
    """What is Stripe to the rest of the instance, in this process."""
    return MemoryProvider(name="stripe")


@pytest.fixture
def paid(cast: Cast, provider: MemoryProvider) -> Invoice:
    """Alice's October, 1.20 USD, paid at the provider."""
    return paid_at(provider, cast)


def paid_at(provider: MemoryProvider, cast: Cast) -> Invoice:
    """October of Alice's organization: issued, paid there, and known to be paid here."""
    with override_settings(STRIPE_API_KEY="sk_test_x"):
        invoice = invoiced(cast.alice)
    outbox.send_due(providers={provider.name: provider}, now=clock.now())
    invoice.refresh_from_db()
    provider.pay(invoice.provider_reference)
    invoices.settle_paid(invoice=invoice, now=clock.now(), reason="It came.")
    return invoice


def book(
    invoice: Invoice, provider: MemoryProvider, cast: Cast, *, booked_as: BookedAs = CREDIT_NOTE, reason: str = "Yes."
) -> bool:
    """Whether it is done."""
    return invoice_refunds.book(
        invoice=invoice,
        booked_as=booked_as,
        by=Actor.person(cast.ada),
        reason=reason,
        available={provider.name: provider},
    ).is_done


def compared(provider: MemoryProvider) -> Result:
    """R6, two hours later."""
    later = clock.now() + 2 * payments.ON_ITS_WAY
    return payments.payments(Window(since=later, until=later, now=later), providers={provider.name: provider})


def books(cast: Cast) -> tuple[int, int, int, int]:
    """Clearing, receivable, adjustment, revenue in cents."""
    return (
        cents_of(cast, Account.STRIPE_CLEARING),
        cents_of(cast, Account.RECEIVABLE),
        cents_of(cast, Account.ADJUSTMENT),
        -cents_of(cast, Account.REVENUE),
    )


def test_the_finding_names_the_invoice_and_is_gone_once_it_is_booked(
    cast: Cast, paid: Invoice, provider: MemoryProvider
) -> None:
    theirs = provider.refund_by_hand(paid.provider_reference, 120)

    named, whole = compared(provider).findings

    assert (named.code, named.invoice_id, named.subject) == ("refund_unbooked", paid.pk, theirs.reference)
    assert "1.20 USD went back" in named.sentence and whole.code == "clearing_differs"

    assert book(paid, provider, cast)
    assert compared(provider).findings == ()


def test_as_a_credit_note_the_charge_is_taken_back_and_the_provider_told_nothing(
    cast: Cast, paid: Invoice, provider: MemoryProvider
) -> None:
    provider.refund_by_hand(paid.provider_reference, 120)

    assert book(paid, provider, cast)

    note = CreditNote.objects.get()
    assert (note.total_cents, note.refund_cents, note.is_to_wallet) == (120, 120, False)
    assert books(cast)[:2] == (0, 0)
    assert not OutboxMessage.objects.filter(topic=credit_notes.TOPIC).exists()
    outbox.send_due(providers={provider.name: provider}, now=clock.now())
    assert sum(one.cents for one in provider.refunds_of_invoice(paid.provider_reference)) == 120
    assert list(ledger.prove().differences()) == []


def test_as_a_loss_the_bill_stands(cast: Cast, paid: Invoice, provider: MemoryProvider) -> None:
    revenue = books(cast)[3]
    provider.refund_by_hand(paid.provider_reference, 50)

    assert book(paid, provider, cast, booked_as=LOSS)

    assert books(cast) == (70, 0, 50, revenue)
    assert not CreditNote.objects.exists()
    assert compared(provider).findings == ()


def test_what_is_booked_is_booked_once_and_a_later_refund_on_its_own(
    cast: Cast, paid: Invoice, provider: MemoryProvider
) -> None:
    provider.refund_by_hand(paid.provider_reference, 50)
    book(paid, provider, cast, booked_as=LOSS)

    with pytest.raises(NothingToBook):
        book(paid, provider, cast, booked_as=CREDIT_NOTE)
    provider.refund_by_hand(paid.provider_reference, 20)
    book(paid, provider, cast)

    assert CreditNote.objects.get().total_cents == 20
    assert books(cast)[:3] == (50, 0, 50 + 20)
    assert AuditEntry.objects.filter(action="invoice.refund_booked", subject=paid.pk).count() == 2
    assert list(ledger.prove().differences()) == []


def test_a_refund_by_a_credit_note_of_ours_is_none_of_these(
    cast: Cast, paid: Invoice, provider: MemoryProvider
) -> None:
    credit_notes.issue(invoice=paid, reason="Ours.", by=Actor.person(cast.ada), amount_cents=30)
    outbox.send_due(providers={provider.name: provider}, now=clock.now())

    assert invoice_refunds.unbooked(paid, provider) is None
    with pytest.raises(NothingToBook):
        book(paid, provider, cast)


def test_a_refund_that_is_not_through_yet_is_not_booked(cast: Cast, paid: Invoice, provider: MemoryProvider) -> None:
    theirs = provider.refund_by_hand(paid.provider_reference, 50)
    provider._refunds[theirs.reference] = dataclasses.replace(theirs, status=ProviderRefundStatus.PENDING)

    with pytest.raises(NothingToBook):
        book(paid, provider, cast)


def test_more_than_is_left_of_the_invoice_is_no_credit_note_and_can_be_a_loss(
    cast: Cast, paid: Invoice, provider: MemoryProvider
) -> None:
    credit_notes.issue(invoice=paid, reason="Ours.", by=Actor.person(cast.ada), amount_cents=100, is_to_wallet=True)
    provider.refund_by_hand(paid.provider_reference, 50)

    with pytest.raises(InvalidCredit):
        book(paid, provider, cast)
    assert book(paid, provider, cast, booked_as=LOSS)
    assert list(ledger.prove().differences()) == []


def test_a_reason_is_asked_for(cast: Cast, paid: Invoice, provider: MemoryProvider) -> None:
    provider.refund_by_hand(paid.provider_reference, 50)

    with pytest.raises(ReasonMissing):
        book(paid, provider, cast, reason=" ")


@override_settings(MOORAGE_FOUR_EYES_PICO=PICO)
@pytest.mark.parametrize("booked_as", [CREDIT_NOTE, LOSS])
def test_much_money_waits_for_another_administrator(
    cast: Cast, paid: Invoice, provider: MemoryProvider, booked_as: BookedAs
) -> None:
    provider.refund_by_hand(paid.provider_reference, 120)

    assert not book(paid, provider, cast, booked_as=booked_as)
    with pytest.raises(ApprovalPending):
        book(paid, provider, cast, booked_as=booked_as)
    assert books(cast)[0] == 120
    waits = services.approvals.waiting().get()
    services.approve_request(request_id=waits.pk, by=Actor.person(cast.bob.user))

    assert books(cast)[0] == 0
    assert CreditNote.objects.exists() is (booked_as is CREDIT_NOTE)
