"""Credit notes: exact mirrors, in whole or in part, never more than the invoice, numbered without gaps."""

import datetime as dt
from typing import Any

import pytest
from django.db import DatabaseError, IntegrityError, transaction
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry
from moorage.billing import credit_notes, credit_rules, invoices, ledger, owed, rounding, services
from moorage.billing.credit_rules import LineLeft, Part, TaxLeft
from moorage.billing.errors import CreditNoteNotFound, InvalidCredit, NothingToCredit, ReasonMissing
from moorage.billing.ledger import Account
from moorage.billing.models import CreditNote, Invoice, InvoiceStatus, OutboxMessage
from moorage.billing.owed import Amounts
from moorage.billing.policy import ReviewPolicy
from moorage.billing.tax import tax_of
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import invoiced
from tests.billing.measured import CLOSING
from tests.cast import Cast

#: The accounts that an invoice touches besides revenue.
TOUCHED = (Account.RECEIVABLE, Account.ROUNDING, Account.TAX, Account.BAD_DEBT)


@pytest.fixture
def ada(cast: Cast) -> Actor:
    """For ``by=``."""
    return Actor.person(cast.ada)


@pytest.fixture
def taxed(settings: Any) -> None:
    """19% on everything."""
    settings.MOORAGE_TAX_BASIS_POINTS = 1900


def balances(invoice: Invoice) -> dict[Account, int]:
    """What the organization's accounts hold."""
    return {account: ledger.balance(organization=invoice.organization, kind=account) for account in Account}


def test_a_whole_mirror_cancels_the_invoice_to_the_pico(cast: Cast, ada: Actor, taxed: None) -> None:
    invoice = invoiced(cast.alice, tokens=(123, 45, 678_901), names=("a", "b", "c"), seconds=77)
    exact = owed.exact_pico(invoice)
    assert exact % PICO_PER_CENT, "there is something to round"

    note = credit_notes.issue(invoice=invoice, reason="Our mistake.", by=ada)

    held = balances(invoice)
    assert {held[account] for account in TOUCHED} == {0}
    assert held[Account.ADJUSTMENT] == -held[Account.REVENUE] == exact == note.exact_pico
    assert (note.subtotal_cents, note.tax_cents, note.total_cents) == (
        invoice.subtotal_cents,
        invoice.tax_cents,
        invoice.total_cents,
    )
    assert [(line.description, line.amount_pico, line.amount_cents) for line in note.lines.order_by("position")] == [
        (line.description, line.amount_pico, line.amount_cents) for line in invoice.lines.order_by("position")
    ]
    assert owed.cents(invoice) == 0
    assert (invoice.status, invoice.reason) == ("paid", "C-000001 credits all that was owed.")
    assert ledger.prove().is_clean


def test_a_part_takes_its_share_of_the_tax_and_the_rest_is_still_owed(cast: Cast, ada: Actor, taxed: None) -> None:
    invoice = invoiced(cast.alice)

    note = credit_notes.issue(invoice=invoice, reason="An hour was slow.", by=ada, parts=[Part(position=0, cents=50)])

    assert (invoice.total_cents, note.subtotal_cents, note.tax_cents) == (143, 50, 10)
    assert (note.owed_cents, note.refund_cents) == (60, 0)
    assert invoice.status == "finalized"
    assert owed.cents(invoice) == 83
    assert ledger.balance(organization=invoice.organization, kind=Account.RECEIVABLE) == 83 * PICO_PER_CENT
    invoices.settle_paid(invoice=invoice, now=CLOSING, reason="Paid.")
    assert ledger.balance(organization=invoice.organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=invoice.organization, kind=Account.TRANSFER_CLEARING) == 83 * PICO_PER_CENT


def test_parts_and_then_the_rest_come_to_exactly_the_invoice(cast: Cast, ada: Actor, taxed: None) -> None:
    invoice = invoiced(cast.alice, tokens=(11, 3, 777_777), names=("a", "b", "c"))
    for cents in (1, 7, 30):
        credit_notes.issue(invoice=invoice, reason="A part.", by=ada, parts=[Part(position=2, cents=cents)])
    credit_notes.issue(invoice=invoice, reason="Some of all.", by=ada, amount_cents=20)

    credit_notes.issue(invoice=invoice, reason="And the rest.", by=ada)

    held = balances(invoice)
    assert {held[account] for account in TOUCHED} == {0}
    assert held[Account.ADJUSTMENT] == owed.exact_pico(invoice)
    assert sum(note.total_cents for note in credit_notes.of_invoice(invoice)) == invoice.total_cents
    with pytest.raises(NothingToCredit):
        credit_notes.issue(invoice=invoice, reason="More.", by=ada)


@pytest.mark.parametrize(
    "parts", [[Part(position=0, cents=121)], [Part(position=0, cents=0)], [Part(position=9, cents=1)], []]
)
def test_more_than_a_line_comes_to_is_refused(cast: Cast, ada: Actor, parts: list[Part]) -> None:
    invoice = invoiced(cast.alice)

    with pytest.raises(InvalidCredit):
        credit_notes.issue(invoice=invoice, reason="Too much.", by=ada, parts=parts)

    assert not CreditNote.objects.exists()


def test_credit_that_was_applied_bounds_what_can_be_taken_back(cast: Cast, ada: Actor) -> None:
    invoice = invoiced(cast.alice, credit_pico=100 * PICO_PER_CENT)
    assert invoice.total_cents == 20

    with pytest.raises(InvalidCredit):
        credit_notes.issue(invoice=invoice, reason="All of the usage.", by=ada, parts=[Part(position=0, cents=120)])
    note = credit_notes.issue(invoice=invoice, reason="What was due.", by=ada)

    assert [line.amount_cents for line in note.lines.order_by("position")] == [120, -100]
    assert note.total_cents == 20
    assert ledger.balance(organization=invoice.organization, kind=Account.RECEIVABLE) == 0


def test_the_database_itself_refuses_more_than_the_invoice(cast: Cast, ada: Actor) -> None:
    invoice = invoiced(cast.alice)
    note = credit_notes.issue(invoice=invoice, reason="Most of it.", by=ada, amount_cents=119)

    with pytest.raises(IntegrityError, match="never credited more"), transaction.atomic():
        CreditNote.objects.create(
            number=99,
            organization=note.organization,
            invoice=invoice,
            currency="USD",
            subtotal_cents=2,
            tax_cents=0,
            total_cents=2,
            exact_pico=2 * PICO_PER_CENT,
            owed_cents=2,
            refund_cents=0,
            reason="x",
            issued_by="x",
        )


@pytest.mark.parametrize("change", [{"total_cents": 1}, {"reason": "another"}, {"number": 7}])
def test_a_credit_note_never_changes_but_for_its_reference(cast: Cast, ada: Actor, change: dict[str, object]) -> None:
    note = credit_notes.issue(invoice=invoiced(cast.alice), reason="A gift.", by=ada)
    CreditNote.objects.filter(pk=note.pk).update(provider_reference="cn_stripe")

    with pytest.raises(DatabaseError, match=r"never changes|permission denied"), transaction.atomic():
        CreditNote.objects.filter(pk=note.pk).update(**change)


def test_a_paid_invoice_is_given_back_through_its_provider(cast: Cast, ada: Actor) -> None:
    invoice = invoiced(cast.alice)
    invoices.settle_paid(invoice=invoice, now=CLOSING, reason="Paid.")

    note = credit_notes.issue(invoice=invoice, reason="Paid twice.", by=ada, amount_cents=30)

    message = OutboxMessage.objects.get(topic=credit_notes.TOPIC, subject_id=note.pk)
    assert {name: message.body[name] for name in ("total_cents", "owed_cents", "refund_cents", "wallet_cents")} == {
        "total_cents": 30,
        "owed_cents": 0,
        "refund_cents": 30,
        "wallet_cents": 0,
    }
    assert sum(line["amount_cents"] for line in message.body["lines"]) == 30
    assert message.body["number"] == "C-000001"
    assert invoice.status == "paid"
    assert ledger.balance(organization=invoice.organization, kind=Account.RECEIVABLE) == -30 * PICO_PER_CENT


def test_a_paid_invoice_can_become_credit_instead(cast: Cast, ada: Actor) -> None:
    invoice = invoiced(cast.alice)
    invoices.settle_paid(invoice=invoice, now=CLOSING, reason="Paid.")

    note = credit_notes.issue(invoice=invoice, reason="For the trouble.", by=ada, amount_cents=30, is_to_wallet=True)

    message = OutboxMessage.objects.get(topic=credit_notes.TOPIC, subject_id=note.pk)
    assert (message.body["refund_cents"], message.body["wallet_cents"]) == (0, 30)
    assert ledger.balance(organization=invoice.organization, kind=Account.RECEIVABLE) == 0
    assert ledger.balance(organization=invoice.organization, kind=Account.WALLET) == -30 * PICO_PER_CENT


def test_what_was_given_up_is_credited_from_bad_debt(cast: Cast, ada: Actor, taxed: None) -> None:
    invoice = invoiced(cast.alice)
    services.mark_uncollectible(invoice=invoice, by=ada, reason="No answer.")

    credit_notes.issue(invoice=invoice, reason="Agreed.", by=ada)

    held = balances(invoice)
    assert {held[account] for account in TOUCHED} == {0}


def test_what_is_void_or_not_out_yet_cannot_be_credited(cast: Cast, ada: Actor) -> None:
    waiting = invoiced(cast.alice, policy=ReviewPolicy())
    with pytest.raises(NothingToCredit):
        credit_notes.issue(invoice=waiting, reason="x", by=ada)
    services.void_invoice(invoice=waiting, by=ada, reason="A test.")

    with pytest.raises(NothingToCredit):
        credit_notes.issue(invoice=waiting, reason="x", by=ada)


def test_voiding_takes_back_what_no_note_took(cast: Cast, ada: Actor, taxed: None) -> None:
    invoice = invoiced(cast.alice, tokens=(123, 45, 678_901))
    credit_notes.issue(invoice=invoice, reason="A part.", by=ada, amount_cents=11)

    services.void_invoice(invoice=invoice, by=ada, reason="And the rest.")

    held = balances(invoice)
    assert {held[account] for account in TOUCHED} == {0}
    assert held[Account.ADJUSTMENT] == -held[Account.REVENUE]


def test_notes_have_numbers_of_their_own_without_gaps_and_an_audit(cast: Cast, ada: Actor) -> None:
    first = credit_notes.issue(invoice=invoiced(cast.alice), reason="One.", by=ada, amount_cents=1)
    with pytest.raises(RuntimeError), transaction.atomic():
        credit_notes.issue(invoice=first.invoice, reason="Never.", by=ada, amount_cents=1)
        raise RuntimeError
    second = credit_notes.issue(invoice=invoiced(cast.charlie), reason="Two.", by=ada)

    assert [credit_notes.number_text(note) for note in (first, second)] == ["C-000001", "C-000002"]
    entry = AuditEntry.objects.get(subject=second.pk)
    assert (entry.action, entry.actor, entry.detail["reason"]) == ("credit_note.issued", cast.ada.id, "Two.")
    with pytest.raises(ReasonMissing):
        credit_notes.issue(invoice=first.invoice, reason="  ", by=ada)


def test_a_stranger_finds_no_credit_note(cast: Cast, ada: Actor) -> None:
    note = credit_notes.issue(invoice=invoiced(cast.alice), reason="One.", by=ada)

    assert credit_notes.one_of(organization=cast.alice.organization, credit_note_id=note.pk) == note
    with pytest.raises(CreditNoteNotFound):
        credit_notes.one_of(organization=cast.charlie.organization, credit_note_id=note.pk)
    assert not credit_notes.of_organization(cast.charlie.organization).exists()


@given(
    amounts=st.lists(st.integers(0, 10**14), min_size=1, max_size=12),
    credit_part=st.integers(0, 100),
    basis_points=st.sampled_from([0, 1, 700, 775, 1900, 9999]),
    data=st.data(),
)
@hypothesis_settings(max_examples=10_000, deadline=None)
def test_whatever_is_taken_back_piece_by_piece_comes_to_exactly_the_invoice(
    amounts: list[int], credit_part: int, basis_points: int, data: st.DataObject
) -> None:
    """10,000 random statements: lines add up to the total; however it is credited, the pieces mirror it."""
    credit = sum(amounts) * credit_part // 100
    rows = [*amounts, -credit] if credit else amounts
    subtotal, shares = rounding.to_cents(rows)
    assert sum(shares) == subtotal
    assert abs(subtotal * PICO_PER_CENT - sum(rows)) * 2 <= PICO_PER_CENT
    tax_cents = tax_of(subtotal, basis_points)
    lines = [
        LineLeft(position=place, description="x", pico=pico, cents=cents)
        for place, (pico, cents) in enumerate(zip(rows, shares, strict=True))
    ]
    left = Amounts(subtotal_cents=subtotal, tax_cents=tax_cents, exact_pico=sum(rows))
    credited_tax, credited = 0, Amounts(subtotal_cents=0, tax_cents=0, exact_pico=0)
    while left.total_cents > 0:
        tax = [TaxLeft(position=0, name="VAT", basis_points=basis_points, cents=tax_cents, credited_cents=credited_tax)]
        chargeable = min(left.subtotal_cents, sum(line.cents for line in lines if line.cents > 0))
        if chargeable == 0 or data.draw(st.booleans()):
            taken = credit_rules.whole(lines=lines, tax=tax, left=left)
        else:
            wanted = credit_rules.spread(data.draw(st.integers(1, chargeable)), lines=lines)
            taken = credit_rules.parts(wanted, lines=lines, tax=tax, left=left, subtotal_cents=subtotal)
        assert sum(line.cents for line in taken.lines) == taken.amounts.subtotal_cents
        assert all(cents >= 0 for _, cents in taken.tax)
        assert sum(owed.undone(taken.amounts, claimed_by=Account.RECEIVABLE).values()) == 0
        credited_tax += taken.amounts.tax_cents
        left, credited = _less(left, taken.amounts), _more(credited, taken.amounts)
        gone = {line.position: line for line in taken.lines}
        lines = [
            LineLeft(
                position=line.position,
                description="x",
                pico=line.pico - (gone[line.position].pico if line.position in gone else 0),
                cents=line.cents - (gone[line.position].cents if line.position in gone else 0),
            )
            for line in lines
        ]
    if subtotal > 0:
        assert credited == Amounts(subtotal_cents=subtotal, tax_cents=tax_cents, exact_pico=sum(rows))


def _less(one: Amounts, other: Amounts) -> Amounts:
    return Amounts(
        subtotal_cents=one.subtotal_cents - other.subtotal_cents,
        tax_cents=one.tax_cents - other.tax_cents,
        exact_pico=one.exact_pico - other.exact_pico,
    )


def _more(one: Amounts, other: Amounts) -> Amounts:
    return Amounts(
        subtotal_cents=one.subtotal_cents + other.subtotal_cents,
        tax_cents=one.tax_cents + other.tax_cents,
        exact_pico=one.exact_pico + other.exact_pico,
    )


def test_an_invoice_that_is_open_longer_than_a_note_knows_its_due_day(cast: Cast) -> None:
    invoice = invoiced(cast.alice)

    assert invoice.status == InvoiceStatus.FINALIZED
    assert invoice.due_at == CLOSING + dt.timedelta(days=14)
