"""Numbers without gaps and duplicates, however many finalize and credit at once."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connections, transaction

from moorage.accounts import services as accounts
from moorage.accounts.actor import Actor
from moorage.billing import closing, credit_notes, invoices, locks, rater, wallets
from moorage.billing.errors import InvalidCredit, InvoiceChanged, NothingToCredit
from moorage.billing.models import CreditNote, Invoice
from moorage.billing.policy import ReviewPolicy
from tests.billing.bills import TOKENS
from tests.billing.measured import CLOSING, OCTOBER, everything_shipped, price_list, use
from tests.cast import Cast
from tests.waiting import wait_until, waiting_for_a_lock

THREADS = 20


@pytest.fixture
def waiting(committed_cast: Cast) -> list[str]:
    """Twenty organizations with an invoice in review each; their ids."""
    price_list()
    for number in range(THREADS):
        made = accounts.create_organization(
            name=f"Berth {number}",
            slug=f"berth-{number}",
            owner=committed_cast.alice.user,
            by=committed_cast.alice.actor,
        )
        use(made, tokens=TOKENS)
    rater.rate_all()
    everything_shipped()
    closing.close_period(OCTOBER, CLOSING, policy=ReviewPolicy())
    return list(Invoice.objects.order_by("id").values_list("id", flat=True))


def _each_in_a_thread(count: int, act: object) -> list[object]:
    def closed(place: int) -> object:
        try:
            return act(place)  # type: ignore[operator]
        finally:
            connections.close_all()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(closed, range(count)))


def test_twenty_threads_that_finalize_leave_no_gap_and_no_duplicate(waiting: list[str]) -> None:
    def finalize(place: int) -> str:
        invoice = Invoice.objects.get(pk=waiting[place])
        if place % 4 == 3:  # every fourth gives up in the middle: its number must not be lost
            try:
                with transaction.atomic():
                    invoices.finalize(invoice=invoice, now=CLOSING, reason="Never.")
                    raise RuntimeError
            except RuntimeError:
                return "given up"
        invoices.finalize(invoice=invoice, now=CLOSING, reason="Checked.")
        return "finalized"

    done = _each_in_a_thread(THREADS, finalize)

    numbers = sorted(Invoice.objects.exclude(number=None).values_list("number", flat=True))
    assert done.count("finalized") == 15
    assert numbers == list(range(1, 16))


def test_one_invoice_gets_one_number_from_twenty_threads(waiting: list[str]) -> None:
    def finalize(_: int) -> bool:
        try:
            invoices.finalize(invoice=Invoice.objects.get(pk=waiting[0]), now=CLOSING, reason="Checked.")
        except InvoiceChanged:
            return False
        return True

    done = _each_in_a_thread(THREADS, finalize)

    assert done.count(True) == 1
    assert Invoice.objects.exclude(number=None).count() == 1


def test_twenty_threads_that_credit_one_invoice_never_credit_more_than_it(
    waiting: list[str], committed_cast: Cast
) -> None:
    invoices.finalize(invoice=Invoice.objects.get(pk=waiting[0]), now=CLOSING, reason="Checked.")
    ada = Actor.person(committed_cast.ada)

    def credit(_: int) -> bool:
        try:
            credit_notes.issue(invoice=Invoice.objects.get(pk=waiting[0]), reason="Ten cents.", by=ada, amount_cents=10)
        except (NothingToCredit, InvalidCredit):
            return False
        return True

    done = _each_in_a_thread(THREADS, credit)

    assert done.count(True) == 12  # of 1.20 USD
    assert sorted(CreditNote.objects.values_list("number", flat=True)) == list(range(1, 13))


def test_whoever_gives_out_a_number_holds_nobody_up_while_it_waits_for_a_wallet(waiting: list[str]) -> None:
    """A closing holds a wallet and then wants numbers: an approval that waits for that wallet must not have them."""
    invoice = Invoice.objects.get(pk=waiting[0])

    def approve() -> None:
        try:
            invoices.finalize(invoice=Invoice.objects.get(pk=waiting[0]), now=CLOSING, reason="Checked.")
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            wallets.open_wallet(invoice.organization_id)
            approving = pool.submit(approve)
            wait_until(lambda: waiting_for_a_lock() == 1, seconds=30)
            locks.number_invoices()
        approving.result(timeout=30)

    invoice.refresh_from_db()
    assert invoice.number == 1
