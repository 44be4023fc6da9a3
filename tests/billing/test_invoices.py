"""Invoices: lines that add up, a review where policy asks, numbers without gaps, statuses by the table alone."""

import datetime as dt
import itertools

import pytest
from django.db import IntegrityError, transaction

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry
from moorage.billing import closing, invoices, ledger, outbox, queries, rater, review, services, states
from moorage.billing.errors import InvoiceChanged, InvoiceNotFound, PaidElsewhere, ReasonMissing
from moorage.billing.ledger import Account
from moorage.billing.models import Invoice, InvoiceStatus, OutboxMessage
from moorage.billing.payments_transfer import TransferProvider
from moorage.billing.policy import ReviewPolicy, review_reasons
from moorage.kernel.clock import Period
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import NO_REVIEW, TOKENS, closed, invoiced
from tests.billing.measured import CLOSING, NOON, OCTOBER, everything_shipped, price_list, run, use
from tests.cast import Cast


def _issue(invoice: Invoice) -> Invoice:
    """What the outbox does, inside a test's transaction."""
    (message,) = OutboxMessage.objects.filter(subject_id=invoice.pk, topic=invoices.ISSUE)
    outbox._send(message, {"transfer": TransferProvider()}, CLOSING)
    invoice.refresh_from_db()
    return invoice


@pytest.mark.parametrize(
    ("policy", "total", "is_first", "count"),
    [
        (ReviewPolicy(), 5, True, 1),
        (ReviewPolicy(), 5, False, 0),
        (ReviewPolicy(above_cents=100), 101, False, 1),
        (ReviewPolicy(above_cents=100), 100, False, 0),
        (ReviewPolicy(above_cents=0), 101, True, 2),
        (NO_REVIEW, 10**9, True, 0),
        (ReviewPolicy(above_cents=0), 0, True, 0),
    ],
)
def test_policy_says_which_invoices_a_person_looks_at(
    policy: ReviewPolicy, total: int, is_first: bool, count: int
) -> None:
    assert len(review_reasons(policy, total_cents=total, is_first=is_first, currency="EUR")) == count


def test_the_lines_of_an_invoice_add_up_to_its_total(cast: Cast) -> None:
    price_list()
    for name in ("a", "b", "c"):
        use(cast.alice.organization, tokens=(0, 0, 5_556), served_name=name)
    run(cast.alice.organization, seconds=1)
    rater.rate_all()
    everything_shipped()

    closing.close_period(OCTOBER, CLOSING, policy=NO_REVIEW)

    invoice = Invoice.objects.get()
    lines = list(invoice.lines.order_by("position"))
    assert len(lines) == 4
    assert sum(line.amount_cents for line in lines) == invoice.total_cents == 1
    assert lines[0].description == "a: 5,556 output tokens at 0.60 per 1M tokens"
    assert lines[3].description == "llm: 1 replica seconds at 0.00002 per replica second"


def test_the_first_invoice_waits_for_an_administrator_and_the_next_does_not(cast: Cast) -> None:
    first = invoiced(cast.alice, policy=ReviewPolicy())
    assert (first.status, first.number) == ("in_review", None)
    assert list(review.review_queue()) == [first]

    services.approve_invoice(invoice=first, by=Actor.person(cast.ada), reason="Looks right.")

    november = Period.containing(OCTOBER.end)
    use(cast.alice.organization, tokens=TOKENS, ended_at=november.start)
    closed(cast.alice, period=november, policy=ReviewPolicy())
    first.refresh_from_db()
    assert (first.status, first.number, first.reviewed_by) == ("finalized", 1, "ada@example.com")
    assert Invoice.objects.exclude(pk=first.pk).get().status == "finalized"
    entry = AuditEntry.objects.get(subject=first.id, action="invoice.approved")
    assert (entry.actor, entry.detail["reason"]) == (cast.ada.id, "Looks right.")


def test_an_invoice_of_nothing_is_finalized_and_paid_at_once_and_sent_to_nobody(cast: Cast) -> None:
    invoice = invoiced(cast.alice, policy=ReviewPolicy(), tokens=(0, 0, 8_000))

    assert (invoice.total_cents, invoice.status, invoice.number) == (0, "paid", 1)
    assert not OutboxMessage.objects.exists()
    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == 0


def test_an_invoice_of_less_than_nothing_does_not_go_out(cast: Cast) -> None:
    invoice = invoiced(cast.alice, policy=ReviewPolicy())
    invoice.subtotal_cents = -1

    with pytest.raises(InvoiceChanged, match="less than nothing"):
        services.approve_invoice(invoice=invoice, by=Actor.person(cast.ada))

    assert Invoice.objects.get(pk=invoice.pk).number is None


def test_numbers_have_no_gaps(cast: Cast) -> None:
    first = invoiced(cast.alice)
    with pytest.raises(RuntimeError), transaction.atomic():
        use(cast.charlie.organization, tokens=TOKENS)
        rater.rate_all()
        closing.close_period(OCTOBER, CLOSING, policy=NO_REVIEW)
        raise RuntimeError

    second = invoiced(cast.charlie)

    assert (first.number, second.number) == (1, 2)
    assert invoices.number_text(second) == "M-000002"


def test_statuses_move_by_the_table_alone(cast: Cast) -> None:
    template = invoiced(cast.alice)
    for status, to in itertools.product(InvoiceStatus, repeat=2):
        with transaction.atomic():
            Invoice.objects.filter(pk=template.pk).update(status=status)
            invoice = Invoice.objects.get(pk=template.pk)
            if to in states.TRANSITIONS[status]:
                states.move(invoice, to=to, reason="test")
                assert Invoice.objects.get(pk=template.pk).status == to
            else:
                with pytest.raises(InvoiceChanged):
                    states.move(invoice, to=to, reason="test")
            transaction.set_rollback(True)


def test_whoever_comes_second_changes_nothing(cast: Cast) -> None:
    invoice = invoiced(cast.alice)
    stale = Invoice.objects.get(pk=invoice.pk)
    services.void_invoice(invoice=invoice, by=Actor.person(cast.ada), reason="A mistake of ours.")

    with pytest.raises(InvoiceChanged):
        services.mark_uncollectible(invoice=stale, by=Actor.person(cast.ada), reason="They are gone.")

    assert ledger.balance(organization=cast.alice.organization, kind=Account.BAD_DEBT) == 0


def test_a_bank_transfer_pays_an_invoice_once_with_a_reason(cast: Cast) -> None:
    invoice = _issue(invoiced(cast.alice))
    ada = Actor.person(cast.ada)
    with pytest.raises(ReasonMissing):
        services.mark_paid(invoice=invoice, by=ada, reason=" ")

    services.mark_paid(invoice=invoice, by=ada, reason="Line 7 of the bank's list of 5 November.")

    assert (invoice.status, invoice.provider_reference) == ("paid", "M-000001")
    with pytest.raises(InvoiceChanged):
        services.mark_paid(invoice=invoice, by=ada, reason="Again.")
    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=cast.alice.organization, kind=Account.TRANSFER_CLEARING) == 120 * PICO_PER_CENT
    assert AuditEntry.objects.filter(subject=invoice.id, action="invoice.paid", actor=cast.ada.id).count() == 1


def test_an_invoice_that_stripe_collects_is_not_paid_by_hand(cast: Cast, settings: object) -> None:
    settings.STRIPE_API_KEY = "sk_test_x"  # type: ignore[attr-defined]
    invoice = invoiced(cast.alice)

    assert invoice.provider == "stripe"
    with pytest.raises(PaidElsewhere):
        services.mark_paid(invoice=invoice, by=Actor.person(cast.ada), reason="Cash.")


def test_a_void_invoice_is_owed_by_nobody_and_the_provider_is_told(cast: Cast) -> None:
    invoice = _issue(invoiced(cast.alice))

    services.void_invoice(invoice=invoice, by=Actor.person(cast.ada), reason="Agreed with the customer.")

    assert (invoice.status, invoice.reason) == ("void", "Agreed with the customer.")
    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=cast.alice.organization, kind=Account.ADJUSTMENT) == 120 * PICO_PER_CENT
    assert OutboxMessage.objects.filter(topic=invoices.VOID, subject_id=invoice.pk).exists()
    assert ledger.prove().is_clean


def test_an_invoice_voided_in_review_never_had_a_number(cast: Cast) -> None:
    invoice = invoiced(cast.alice, policy=ReviewPolicy())

    services.void_invoice(invoice=invoice, by=Actor.person(cast.ada), reason="A test run.")

    assert invoice.number is None
    assert not OutboxMessage.objects.exists()
    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == 0


def test_money_that_comes_after_all_is_taken(cast: Cast) -> None:
    invoice = _issue(invoiced(cast.alice))
    ada = Actor.person(cast.ada)
    services.mark_uncollectible(invoice=invoice, by=ada, reason="No answer for a year.")
    assert ledger.balance(organization=cast.alice.organization, kind=Account.BAD_DEBT) == 120 * PICO_PER_CENT

    services.mark_paid(invoice=invoice, by=ada, reason="It came.")

    assert ledger.balance(organization=cast.alice.organization, kind=Account.BAD_DEBT) == 0
    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == 0


@pytest.mark.parametrize("change", [{"total_cents": 1}, {"number": 9}, {"currency": "EUR"}, {"finalized_at": NOON}])
def test_a_finalized_invoice_never_changes(cast: Cast, change: dict[str, object]) -> None:
    invoice = invoiced(cast.alice)

    with pytest.raises(IntegrityError, match="never changes"), transaction.atomic():
        Invoice.objects.filter(pk=invoice.pk).update(**change)


def test_a_stranger_finds_no_invoice(cast: Cast) -> None:
    invoice = invoiced(cast.alice)

    assert queries.invoice(organization=cast.alice.organization, invoice_id=invoice.id) == invoice
    with pytest.raises(InvoiceNotFound):
        queries.invoice(organization=cast.charlie.organization, invoice_id=invoice.id)


def test_an_administrator_goes_from_the_month_to_a_line_to_a_request_to_its_price(cast: Cast) -> None:
    price_list()
    organization = cast.alice.organization
    first = use(organization, tokens=TOKENS)
    second = use(organization, tokens=(0, 0, 1), ended_at=NOON + dt.timedelta(hours=1))
    use(cast.charlie.organization, tokens=(0, 0, 1))
    rater.rate_all()

    month = review.organizations_of_month(OCTOBER)[0]
    (line,) = queries.statement(organization=organization, period=OCTOBER).statement.lines
    page = queries.line_sources(organization=organization, period=OCTOBER, line_id=line.id, limit=1)
    rest = queries.line_sources(organization=organization, period=OCTOBER, line_id=line.id, limit=1, after=page.after)
    request = queries.rated_request(organization=organization, request_id=first)

    assert (month.organization, month.amount_pico) == (organization, 2_000_001 * 600_000)
    assert (month.usage.requests, month.usage.output_tokens, month.invoice) == (2, 2_000_001, None)
    assert {page.sources[0].source_id, rest.sources[0].source_id} == {first, second}
    assert rest.after is None
    assert request.is_rated
    assert (request.amount_pico, request.prices[0].pico_per_unit) == (2_000_000 * 600_000, 600_000)
