"""Credit that comes after the usage pays what is owed: once, of a prepaid organization at once, else at closing."""

import concurrent.futures
import dataclasses

import pytest
from django.db import connection

from moorage.accounts import allowances
from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Organization
from moorage.billing import (
    credit_notes,
    invoices,
    ledger,
    outbox,
    provider_state,
    rater,
    settlement,
    wallet_allowance,
    wallet_settings,
    wallets,
)
from moorage.billing.ledger import Account
from moorage.billing.models import BillingMode, Invoice, InvoiceStatus, Statement, Taking, Wallet
from moorage.billing.payments import ProviderInvoice, ProviderStatus
from moorage.billing.payments_transfer import TransferProvider
from moorage.billing.provider_state import StateMismatch
from moorage.kernel import clock
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import closed, invoiced
from tests.billing.measured import OCTOBER, price_list, use
from tests.billing.test_wallets import balances, give, pay
from tests.cast import Cast

#: What TOKENS of bills.py cost.
COST = 120 * PICO_PER_CENT


def prepaid(cast: Cast) -> Organization:
    organization = cast.alice.organization
    wallet_settings.set_mode(organization=organization, mode=BillingMode.PREPAID, reason="agreed", by=MOORAGE)
    return organization


def used(cast: Cast, tokens: int = 2_000_000) -> None:
    price_list()
    use(cast.alice.organization, tokens=(0, 0, tokens))
    rater.rate_all()
    wallet_allowance.keep()


def test_a_top_up_pays_a_prepaid_organizations_open_usage_at_once_and_once(cast: Cast) -> None:
    harbour = prepaid(cast)
    used(cast)
    assert balances(harbour, Account.RECEIVABLE) == [COST]
    pay(harbour, 3 * COST)

    paid = [settlement.settle_due(now=clock.now()) for _ in range(3)]

    assert paid == [COST, 0, 0]
    assert balances(harbour, Account.RECEIVABLE, Account.WALLET) == [0, -2 * COST]
    assert wallets.applied_in(harbour.pk, OCTOBER.start) == COST
    assert list(ledger.prove().differences()) == []


def test_credit_that_does_not_suffice_pays_what_it_can_and_the_next_pays_the_rest(cast: Cast) -> None:
    harbour = prepaid(cast)
    used(cast)
    pay(harbour, COST // 3, "first")
    settlement.settle_due(now=clock.now())

    pay(harbour, COST, "second")
    paid = settlement.settle_due(now=clock.now())

    assert paid == COST - COST // 3
    assert balances(harbour, Account.RECEIVABLE) == [0]
    assert Taking.objects.filter(pk__startswith="settle:").count() == 2
    assert list(ledger.prove().differences()) == []


def test_what_is_left_to_spend_is_what_the_debt_leaves(cast: Cast) -> None:
    harbour = prepaid(cast)
    used(cast)
    allowances.add_used(harbour.pk, COST)
    pay(harbour, 3 * COST)

    settlement.settle_due(now=clock.now())

    balance = allowances.balance(harbour.pk)
    assert balance is not None
    assert balance.unheld == 2 * COST


def test_credit_that_a_request_holds_pays_no_debt(cast: Cast) -> None:
    harbour = prepaid(cast)
    used(cast)
    pay(harbour, COST)
    allowances.add_used(harbour.pk, COST + COST // 2)

    paid = settlement.settle_due(now=clock.now())

    assert paid == COST - COST // 2
    assert balances(harbour, Account.RECEIVABLE) == [COST // 2]


def test_a_postpaid_organizations_credit_pays_at_closing(cast: Cast) -> None:
    harbour = cast.alice.organization
    used(cast)
    give(harbour, COST // 4)
    assert settlement.settle_due(now=clock.now()) == 0
    assert balances(harbour, Account.RECEIVABLE) == [COST]

    invoice = closed(cast.alice)

    frozen = Statement.objects.get()
    assert (frozen.credit_applied_pico, frozen.due_pico) == (COST // 4, COST - COST // 4)
    assert invoice.total_cents == 90
    assert wallets.applied_in(harbour.pk, OCTOBER.start) == COST // 4
    assert list(ledger.prove().differences()) == []


def test_an_unpaid_invoice_is_paid_from_credit_as_a_whole_and_taken_back_at_the_provider(committed_cast: Cast) -> None:
    invoice = invoiced(committed_cast.alice)
    available = {TransferProvider.name: TransferProvider()}
    outbox.send_due(providers=available, now=clock.now())
    harbour = prepaid(committed_cast)
    pay(harbour, COST - 1, "too little")
    assert settlement.settle_due(now=clock.now()) == 0

    pay(harbour, 2, "enough")
    paid = [settlement.settle_due(now=clock.now()) for _ in range(2)]

    invoice.refresh_from_db()
    assert paid == [COST, 0]
    assert (invoice.status, invoice.reason) == (InvoiceStatus.PAID, "Paid from credit.")
    assert balances(harbour, Account.RECEIVABLE, Account.WALLET) == [0, -1]
    outbox.send_due(providers=available, now=clock.now())
    invoice.refresh_from_db()
    assert available["transfer"].fetch_invoice(invoice.provider_reference).status is ProviderStatus.VOID
    theirs = available["transfer"].fetch_invoice(invoice.provider_reference)
    provider_state.apply(theirs, provider="transfer", now=clock.now())
    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.PAID
    assert list(ledger.prove().differences()) == []


def test_a_postpaid_organizations_invoice_is_paid_as_invoices_are(cast: Cast) -> None:
    invoice = invoiced(cast.alice)
    pay(cast.alice.organization, 5 * COST)

    settlement.settle_due(now=clock.now())

    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.FINALIZED


def test_a_disputed_invoice_is_left_alone(cast: Cast) -> None:
    invoice = invoiced(cast.alice)
    harbour = prepaid(cast)
    pay(harbour, 5 * COST)
    Invoice.objects.filter(pk=invoice.pk).update(disputed_at=clock.now())

    assert settlement.settle_due(now=clock.now()) == 0


def test_an_invoice_that_was_given_up_is_paid_too(cast: Cast) -> None:
    invoice = invoiced(cast.alice)
    invoices.give_up(invoice=invoice, now=clock.now(), reason="gone")
    harbour = prepaid(cast)
    used(cast, tokens=500_000)  # there is something owed: November's
    pay(harbour, 5 * COST)

    settlement.settle_due(now=clock.now())

    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.PAID
    assert balances(harbour, Account.BAD_DEBT, Account.RECEIVABLE) == [0, 0]
    assert list(ledger.prove().differences()) == []


def test_a_credit_note_of_an_invoice_that_credit_paid_is_credit_again(cast: Cast) -> None:
    invoice = invoiced(cast.alice)
    harbour = prepaid(cast)
    pay(harbour, COST)
    settlement.settle_due(now=clock.now())
    invoice.refresh_from_db()

    note = credit_notes.issue(invoice=invoice, reason="It did not answer.", by=MOORAGE)

    assert note.is_to_wallet
    assert Wallet.objects.get(pk=harbour.pk).credit_pico == COST
    assert list(ledger.prove().differences()) == []


def paid_from_credit() -> provider_state.Ours:
    return provider_state.Ours(
        invoice_id="inv_1",
        status=InvoiceStatus.PAID,
        currency="USD",
        total_cents=120,
        statement_sha256="f" * 64,
        customer_reference="cus_1",
        is_from_credit=True,
    )


def test_money_for_an_invoice_that_credit_has_paid_is_said_aloud() -> None:
    ours = paid_from_credit()
    theirs = ProviderInvoice(
        reference="in_1",
        status=ProviderStatus.PAID,
        currency="USD",
        total_cents=120,
        paid_cents=120,
        payment_url="",
        customer_reference="cus_1",
        invoice_id="inv_1",
        statement_sha256="f" * 64,
    )

    with pytest.raises(StateMismatch, match="credit had paid"):
        provider_state.decide(ours, theirs)
    void = dataclasses.replace(theirs, status=ProviderStatus.VOID, paid_cents=0)
    assert provider_state.decide(ours, void) is provider_state.Move.NOTHING


def test_many_who_look_at_once_pay_once(committed_cast: Cast) -> None:
    harbour = prepaid(committed_cast)
    used(committed_cast)
    pay(harbour, 5 * COST)

    def look() -> int:
        try:
            return settlement.settle_due(now=clock.now())
        finally:
            connection.close()

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        paid = list(pool.map(lambda _: look(), range(8)))

    assert sum(paid) == COST
    assert balances(harbour, Account.RECEIVABLE, Account.WALLET) == [0, -4 * COST]
    assert list(ledger.prove().differences()) == []
