"""platform/moorage/billing/BILL_RULE.md, line by line: the number in a test's name is the line's."""

import datetime as dt
import re
from pathlib import Path
from typing import Any

import pytest
from django.db import DatabaseError, transaction

from moorage.accounts.actor import Actor
from moorage.billing import closing, credit_notes, ledger, queries, rounding
from moorage.billing import statement as statements
from moorage.billing.ledger import Account
from moorage.billing.models import Invoice, OutboxMessage, RatedUsage, Statement
from moorage.billing.policy import is_parked
from moorage.billing.statement import Line
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import closed, exported, graduated, invoiced, minimum
from tests.billing.measured import NOON, NOVEMBER, OCTOBER, price_list, use
from tests.billing.test_verifier import lie_in
from tests.cast import Cast

PAGE = Path(closing.__file__).parent / "BILL_RULE.md"


def lines_of(cast: Cast) -> tuple[Line, ...]:
    """October's lines of Alice's organization."""
    return queries.statement(organization=cast.alice.organization, period=OCTOBER).statement.lines


def test_every_line_of_the_page_is_a_test_and_every_test_is_a_line() -> None:
    lines = [int(number) for number in re.findall(r"^(\d+)\. ", PAGE.read_text(), re.MULTILINE)]
    tested = {int(found[1]) for name in globals() if (found := re.match(r"test_line_(\d\d)_", name))}

    assert lines == list(range(1, len(lines) + 1))
    assert tested == set(lines)


def test_line_01_a_request_belongs_to_the_month_in_which_it_ended(cast: Cast) -> None:
    price_list()
    inside = use(cast.alice.organization, ended_at=OCTOBER.end - dt.timedelta(microseconds=1))
    after = use(cast.alice.organization, ended_at=OCTOBER.end)
    closed(cast.alice)

    assert set(RatedUsage.objects.filter(period_start=OCTOBER.start).values_list("source_id", flat=True)) == {inside}
    assert set(RatedUsage.objects.filter(period_start=NOVEMBER.start).values_list("source_id", flat=True)) == {after}


def test_line_02_an_amount_is_quantity_times_price_exactly(cast: Cast) -> None:
    invoiced(cast.alice, tokens=(7, 2, 3))

    assert {(line.meter, line.quantity, line.amount_pico) for line in lines_of(cast)} == {
        ("input_tokens", 5, 5 * 200_000),
        ("cached_input_tokens", 2, 2 * 50_000),
        ("output_tokens", 3, 3 * 600_000),
    }


def test_line_03_a_quantity_that_crosses_a_tier_is_split(cast: Cast) -> None:
    price_list()
    graduated("demo/llm", [(0, 9), (10, 5), (20, 1)])
    use(cast.alice.organization, tokens=(0, 0, 25))
    closed(cast.alice)

    assert [(line.tier, line.quantity, line.pico_per_unit) for line in lines_of(cast)] == [
        (0, 10, 9),
        (1, 10, 5),
        (2, 5, 1),
    ]


def test_line_04_a_line_is_the_exact_sum_of_its_requests(cast: Cast) -> None:
    invoiced(cast.alice, tokens=(0, 0, 1), names=("demo/llm", "demo/llm", "other"))

    assert [(line.served_name, line.quantity, line.sources, line.amount_pico) for line in lines_of(cast)] == [
        ("demo/llm", 2, 2, 1_200_000),
        ("other", 1, 1, 600_000),
    ]


def test_line_05_late_usage_names_the_statement_it_would_have_belonged_to(cast: Cast) -> None:
    first = invoiced(cast.alice)
    use(cast.alice.organization, tokens=(0, 0, 4), ended_at=NOON)
    closed(cast.alice, period=NOVEMBER)

    (line,) = queries.statement(organization=cast.alice.organization, period=NOVEMBER).statement.lines
    assert (line.usage_month, line.late_of, line.quantity) == ("2026-10", first.statement_id, 4)


def test_line_06_what_is_missing_to_a_minimum_is_a_line(cast: Cast) -> None:
    minimum(cast.alice, 200 * PICO_PER_CENT)
    invoiced(cast.alice)

    assert (lines_of(cast)[-1].meter, lines_of(cast)[-1].amount_pico) == (statements.MINIMUM, 80 * PICO_PER_CENT)


def test_line_07_what_credit_has_paid_is_taken_off(cast: Cast) -> None:
    invoice = invoiced(cast.alice, credit_pico=50 * PICO_PER_CENT)

    assert (invoice.statement.total_pico, invoice.statement.due_pico) == (120 * PICO_PER_CENT, 70 * PICO_PER_CENT)
    assert invoice.total_cents == 70


def test_line_08_a_frozen_statement_never_changes(cast: Cast) -> None:
    invoice = invoiced(cast.alice)

    assert statements.sha256(invoice.statement.document) == invoice.statement.sha256
    with pytest.raises(DatabaseError), transaction.atomic():
        Statement.objects.update(document="{}")


@pytest.mark.parametrize(
    ("pico", "cents"), [(4_999_999_999, 0), (5_000_000_000, 1), (-4_999_999_999, 0), (-5_000_000_000, -1)]
)
def test_line_09_half_a_cent_is_rounded_away_from_zero(pico: int, cents: int) -> None:
    assert rounding.to_cents([pico])[0] == cents


def test_line_10_lines_share_the_total_by_largest_remainder() -> None:
    third = PICO_PER_CENT * 100 // 3

    assert rounding.to_cents([third, third, third + 1]) == (100, (33, 33, 34))
    assert rounding.to_cents([PICO_PER_CENT // 2, PICO_PER_CENT // 2]) == (1, (1, 0))


def test_line_11_tax_is_rounded_once_for_each_tax(cast: Cast, settings: Any) -> None:
    settings.MOORAGE_TAX_BASIS_POINTS = 1875  # of 1.20 USD: 22.5 cents

    assert invoiced(cast.alice).tax_cents == 23


def test_line_12_what_rounding_did_stands_in_the_ledger(cast: Cast) -> None:
    invoice = invoiced(cast.alice, tokens=(0, 0, 9_999))

    rounded = -ledger.balance(organization=cast.alice.organization, kind=Account.ROUNDING)
    assert rounded == invoice.total_cents * PICO_PER_CENT - 9_999 * 600_000
    assert abs(rounded) < PICO_PER_CENT


def test_line_13_nobody_is_asked_to_pay_nothing(cast: Cast) -> None:
    invoice = invoiced(cast.alice, tokens=(0, 0, 1))

    assert (invoice.total_cents, invoice.status, invoice.number) == (0, "paid", 1)
    assert not OutboxMessage.objects.exists()


def test_line_14_whatever_has_a_number_never_changes(cast: Cast) -> None:
    first, second = invoiced(cast.alice), invoiced(cast.charlie)

    assert (first.number, second.number) == (1, 2)
    with pytest.raises(DatabaseError), transaction.atomic():
        Invoice.objects.filter(pk=first.pk).update(total_cents=1)


def test_line_15_a_strange_month_waits_for_a_person(cast: Cast) -> None:
    invoice = invoiced(cast.alice, tokens=(0, 0, 200_000_000))

    assert (invoice.status, invoice.number) == ("in_review", None)
    assert is_parked(invoice.reason)


def test_line_16_a_whole_credit_note_cancels_the_invoice(cast: Cast, settings: Any) -> None:
    settings.MOORAGE_TAX_BASIS_POINTS = 1900
    invoice = invoiced(cast.alice, tokens=(0, 0, 678_901))

    credit_notes.issue(invoice=invoice, reason="Ours.", by=Actor.person(cast.ada))

    for account in (Account.RECEIVABLE, Account.ROUNDING, Account.TAX):
        assert ledger.balance(organization=cast.alice.organization, kind=account) == 0
    taken_back = ledger.balance(organization=cast.alice.organization, kind=Account.ADJUSTMENT)
    assert taken_back == -ledger.balance(organization=cast.alice.organization, kind=Account.REVENUE)


def test_line_17_pieces_come_to_exactly_the_invoice(cast: Cast, settings: Any) -> None:
    settings.MOORAGE_TAX_BASIS_POINTS = 1900
    invoice = invoiced(cast.alice)
    for cents in (1, 33, 41):
        credit_notes.issue(invoice=invoice, reason="A part.", by=Actor.person(cast.ada), amount_cents=cents)

    credit_notes.issue(invoice=invoice, reason="The rest.", by=Actor.person(cast.ada))

    notes = list(credit_notes.of_invoice(invoice))
    assert sum(note.tax_cents for note in notes) == invoice.tax_cents
    assert sum(note.total_cents for note in notes) == invoice.total_cents


def test_line_18_everybody_can_recompute_it(cast: Cast) -> None:
    content = exported(invoiced(cast.alice))

    assert lie_in(content) is None
    assert lie_in(content.replace(b'"600000"', b'"600001"', 1)) is not None
