"""What an administrator asks and does: the queue, adjustments, credit, and where a request's figures come from."""

import datetime as dt

import msgspec
import pytest
from django.db import transaction

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry, GatewayWorker
from moorage.billing import closing, ledger, rater, review, review_queue, trouble
from moorage.billing import services as billing
from moorage.billing.errors import (
    InvalidAmount,
    InvalidCredit,
    InvoiceChanged,
    NothingToCredit,
    ReasonMissing,
    ReviewItemNotFound,
)
from moorage.billing.ledger import Account
from moorage.billing.models import CreditNote, Grant, Invoice, InvoiceStatus, OutboxMessage
from moorage.billing.provenance import provenance
from moorage.billing.review import InvoiceVerb
from moorage.kernel import clock
from moorage.kernel.money import PICO, PICO_PER_CENT
from moorage.metering import queries as metering
from moorage.metering import usage_table
from moorage.metering.models import JournalSegment, ShippedBoot
from tests.billing.measured import CLOSING, NOVEMBER, OCTOBER, everything_shipped, price_list, request, use
from tests.billing.tampering import tamper
from tests.cast import Cast


def ada(cast: Cast) -> Actor:
    """The administrator."""
    return Actor.person(cast.ada)


def invoiced(cast: Cast, *, tokens: int = 2_000_000) -> Invoice:
    """October's invoice of harbour, in review: 0.6 USD a million output tokens."""
    price_list()
    use(cast.alice.organization, tokens=(0, 0, tokens))
    rater.rate_all()
    everything_shipped()
    closing.close_period(OCTOBER, CLOSING)
    return Invoice.objects.get(organization=cast.alice.organization)


def test_disputed_invoices_come_first_and_then_the_oldest(cast: Cast) -> None:
    waiting = invoiced(cast)
    use(cast.charlie.organization, tokens=(0, 0, 4_000_000))
    rater.rate_all()
    closing.close_period(OCTOBER, CLOSING)
    disputed = Invoice.objects.get(organization=cast.charlie.organization)
    Invoice.objects.filter(pk=disputed.pk).update(disputed_at=clock.now())

    found = review_queue.queue()

    assert [one.invoice.pk for one in found] == [disputed.pk, waiting.pk]
    assert [one.is_disputed for one in found] == [True, False]
    assert found[1].why == waiting.reason != ""


def test_the_change_is_against_the_month_before(cast: Cast) -> None:
    billing.approve_invoice(invoice=invoiced(cast), by=ada(cast))
    use(cast.alice.organization, tokens=(0, 0, 3_000_000), ended_at=NOVEMBER.start)
    rater.rate_all()
    everything_shipped(NOVEMBER.end + dt.timedelta(days=1))
    closing.close_period(NOVEMBER, NOVEMBER.end + dt.timedelta(hours=3))
    november = Invoice.objects.get(statement__period_start=NOVEMBER.start)
    Invoice.objects.filter(pk=november.pk).update(disputed_at=clock.now())

    (one,) = review_queue.queue()

    assert (one.last_cents, one.change_cents, one.change_percent) == (120, 60, 50)


def test_without_a_month_before_there_is_no_change(cast: Cast) -> None:
    invoiced(cast)

    (one,) = review_queue.queue()

    assert (one.last_cents, one.change_cents, one.change_percent) == (None, None, None)


def test_what_is_approved_leaves_the_queue(cast: Cast) -> None:
    billing.approve_invoice(invoice=invoiced(cast), by=ada(cast))

    assert review_queue.queue() == ()


def test_only_what_is_in_review_is_sent_back_and_with_a_reason(cast: Cast) -> None:
    invoice = invoiced(cast)
    with pytest.raises(ReasonMissing):
        billing.send_back(invoice=invoice, by=ada(cast), reason=" ")
    billing.send_back(invoice=invoice, by=ada(cast), reason="Ask them.")
    billing.approve_invoice(invoice=invoice, by=ada(cast))

    with pytest.raises(InvoiceChanged):
        billing.send_back(invoice=invoice, by=ada(cast), reason="Too late.")

    assert AuditEntry.objects.filter(action="invoice.sent_back").count() == 1


def test_what_can_be_done_follows_the_status(cast: Cast) -> None:
    invoice = invoiced(cast)
    in_review = review.verbs_of(invoice)
    billing.approve_invoice(invoice=invoice, by=ada(cast))
    finalized = review.verbs_of(invoice)
    billing.adjust_invoice(invoice=invoice, by=ada(cast), reason="Ours.")
    credited = review.verbs_of(Invoice.objects.get(pk=invoice.pk))

    assert in_review == (InvoiceVerb.APPROVE, InvoiceVerb.SEND_BACK, InvoiceVerb.VOID)
    assert finalized == (InvoiceVerb.ADJUST, InvoiceVerb.VOID, InvoiceVerb.MARK_UNCOLLECTIBLE)
    assert credited == ()


def test_an_adjustment_moves_the_ledger_by_what_it_says(cast: Cast) -> None:
    invoice = invoiced(cast)
    organization = invoice.organization
    billing.approve_invoice(invoice=invoice, by=ada(cast))
    before = ledger.balance(organization=organization, kind=Account.RECEIVABLE)

    billing.adjust_invoice(invoice=invoice, by=ada(cast), reason="Our test.", amount_cents=20)

    assert ledger.balance(organization=organization, kind=Account.RECEIVABLE) == before - 20 * PICO_PER_CENT
    assert CreditNote.objects.get().total_cents == 20


@pytest.mark.parametrize("cents", [0, -1, 121])
def test_more_than_there_is_or_nothing_is_not_adjusted(cast: Cast, cents: int) -> None:
    invoice = invoiced(cast)
    billing.approve_invoice(invoice=invoice, by=ada(cast))

    with pytest.raises(InvalidCredit):
        billing.adjust_invoice(invoice=invoice, by=ada(cast), reason="x", amount_cents=cents)

    assert not CreditNote.objects.exists()


def test_an_invoice_without_a_number_is_not_adjusted(cast: Cast) -> None:
    with pytest.raises(NothingToCredit):
        billing.adjust_invoice(invoice=invoiced(cast), by=ada(cast), reason="x")


def test_credit_is_our_expense_and_given_once_for_a_key(cast: Cast) -> None:
    organization = cast.alice.organization

    for _ in range(2):
        billing.give_credit(organization=organization, pico=5 * PICO, by=ada(cast), reason="Sorry.", key="a")

    assert Grant.objects.get().amount_pico == 5 * PICO
    assert ledger.balance(organization=organization, kind=Account.PROMOTION) == 5 * PICO
    with pytest.raises(InvalidAmount):
        billing.give_credit(organization=organization, pico=0, by=ada(cast), reason="Sorry.", key="b")
    with pytest.raises(InvalidAmount):
        past = clock.now() - dt.timedelta(days=1)
        billing.give_credit(organization=organization, pico=1, by=ada(cast), reason="x", key="c", expires_at=past)
    with pytest.raises(ReasonMissing):
        billing.give_credit(organization=organization, pico=1, by=ada(cast), reason="", key="d")


def test_a_message_that_is_given_up_is_never_offered_again(cast: Cast) -> None:
    invoice = invoiced(cast)
    billing.approve_invoice(invoice=invoice, by=ada(cast))
    OutboxMessage.objects.update(parked_at=clock.now(), last_error="No such customer.")
    message = OutboxMessage.objects.get()

    with pytest.raises(ReasonMissing), transaction.atomic():
        trouble.give_up_message(message_id=message.pk, by=ada(cast), reason="")
    trouble.give_up_message(message_id=message.pk, by=ada(cast), reason="By hand.")

    assert not trouble.parked_messages().exists()
    assert AuditEntry.objects.get(action="outbox.given_up").detail["reason"] == "By hand."
    with pytest.raises(ReviewItemNotFound):
        trouble.give_up_message(message_id=message.pk, by=ada(cast), reason="Again.")


def test_a_request_leads_to_the_journal_that_brought_it(cast: Cast) -> None:
    event = request(cast.alice.organization.pk, tokens=(1, 0, 1))
    usage_table.put([msgspec.structs.replace(event, source="gateway", is_disputed=True)])
    tamper("UPDATE usage_event SET boot_id = 'boot_a'")
    GatewayWorker.objects.create(boot_id="boot_a")
    JournalSegment.objects.create(name="boot_a-2.journal", offset=99)
    JournalSegment.objects.create(name="boot_ab-1.journal", offset=7)

    found = provenance(metering.any_request(event.request_id))
    ShippedBoot.objects.create(boot_id="boot_a")

    assert (found.source, found.is_disputed, found.boot_id) == ("gateway", True, "boot_a")
    assert found.segments == (("boot_a-2.journal", 99),)
    assert found.worker_started_at is not None and found.shipped_at is None
    assert provenance(metering.any_request(event.request_id)).shipped_at is not None


def test_void_leaves_nothing_to_do(cast: Cast) -> None:
    invoice = invoiced(cast)
    billing.void_invoice(invoice=invoice, by=ada(cast), reason="Ours.")

    assert Invoice.objects.get().status == InvoiceStatus.VOID
    assert review.verbs_of(Invoice.objects.get()) == ()
