"""Closing a month: not too early, once, frozen for good; what comes late is charged in the next month."""

import datetime as dt

import pytest
from django.db import DatabaseError, transaction

from moorage.accounts.actor import Actor
from moorage.billing import closing, ledger, queries, rater, review, services
from moorage.billing.ledger import Account
from moorage.billing.models import Invoice, RatedUsage, Statement
from moorage.billing.statement import sha256
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.measured import CLOSING, NOON, NOVEMBER, OCTOBER, everything_shipped, is_closed, price_list, use
from tests.cast import Cast


@pytest.fixture
def used(cast: Cast) -> Cast:
    """Alice's organization has used 1.20 USD in October, and everything is shipped."""
    price_list()
    use(cast.alice.organization, tokens=(0, 0, 2_000_000))
    everything_shipped()
    return cast


def test_a_month_is_closed_two_hours_after_its_end_and_not_before(used: Cast) -> None:
    rater.rate_all()

    early = closing.close_due(now=OCTOBER.end + dt.timedelta(hours=1, minutes=59))
    (closed,) = closing.close_due(now=OCTOBER.end + dt.timedelta(hours=2))
    again = closing.close_due(now=CLOSING)

    assert (early, again) == ((), ())
    assert closed.organization_id == used.alice.organization.id
    assert is_closed(used.alice.organization)


def test_a_frozen_statement_is_its_text_and_its_hash(used: Cast) -> None:
    rater.rate_all()
    running = queries.statement(organization=used.alice.organization, period=OCTOBER)

    closing.close_due(now=CLOSING)

    frozen = queries.statement(organization=used.alice.organization, period=OCTOBER)
    text = queries.frozen_text(organization=used.alice.organization, period=OCTOBER)
    assert frozen.is_frozen and not running.is_frozen
    assert frozen.statement == running.statement
    assert text is not None
    assert frozen.sha256 == sha256(text)
    assert Statement.objects.get().total_pico == 2_000_000 * 600_000


def test_late_usage_is_charged_once_in_the_next_month_with_a_reference(used: Cast) -> None:
    organization = used.alice.organization
    rater.rate_all()
    closing.close_due(now=CLOSING)
    before = queries.frozen_text(organization=organization, period=OCTOBER)
    late = use(organization, tokens=(0, 0, 10), ended_at=NOON)
    use(organization, tokens=(0, 0, 5), ended_at=NOVEMBER.start)
    rater.rate_all()

    november = queries.statement(organization=organization, period=NOVEMBER)

    assert queries.frozen_text(organization=organization, period=OCTOBER) == before
    assert [(line.usage_month, line.quantity) for line in november.statement.lines] == [("2026-10", 10), ("2026-11", 5)]
    assert RatedUsage.objects.get(source_id=late).period_start == NOVEMBER.start
    closing.close_due(now=NOVEMBER.end + dt.timedelta(hours=3))
    assert sum(int(one.total_pico) for one in Statement.objects.all()) == (2_000_000 + 15) * 600_000


def test_a_closed_month_after_an_open_one_takes_nothing_from_it(used: Cast) -> None:
    assert rater.charged_in(NOON, {NOVEMBER.start}) == OCTOBER.start
    assert rater.charged_in(NOON, {OCTOBER.start}) == NOVEMBER.start
    assert rater.charged_in(NOON, {OCTOBER.start, NOVEMBER.start}) == NOVEMBER.end
    assert rater.charged_in(OCTOBER.end, set()) == NOVEMBER.start


def test_usage_that_waits_to_be_rated_holds_the_month(used: Cast) -> None:
    rater.rate_all()
    use(used.alice.organization, tokens=(0, 0, 1), ended_at=OCTOBER.end - dt.timedelta(microseconds=1))

    (held,) = closing.close_due(now=CLOSING)

    assert held.held_reason == "Some usage waits to be rated."
    assert not Statement.objects.exists()
    rater.rate_all()
    (closed,) = closing.close_due(now=CLOSING)
    assert closed.statement_id is not None


def test_usage_of_the_next_month_holds_nothing(used: Cast) -> None:
    rater.rate_all()
    use(used.alice.organization, tokens=(0, 0, 1), ended_at=OCTOBER.end)

    (closed,) = closing.close_due(now=CLOSING)

    assert closed.statement_id is not None


def test_usage_without_a_price_holds_the_month_and_says_which(cast: Cast) -> None:
    price_list()
    everything_shipped()
    use(cast.alice.organization, tokens=(0, 0, 1))
    use(cast.alice.organization, tokens=(0, 0, 1), ended_at=dt.datetime(2019, 5, 5, tzinfo=dt.UTC))
    rater.rate_all()

    held = closing.close_due(now=CLOSING)

    reason = "There is no price for output_tokens of demo/llm. Set one."
    assert {one.held_reason for one in held} == {reason}
    assert {month.held_reason for month in review.held_months()} == {reason}


def test_a_journal_that_is_not_shipped_holds_the_month(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization)
    rater.rate_all()
    everything_shipped(OCTOBER.end - dt.timedelta(seconds=1))

    (held,) = closing.close_due(now=CLOSING)

    assert "journals" in held.held_reason


def test_one_organization_that_is_held_keeps_no_other_from_closing(used: Cast) -> None:
    use(used.charlie.organization, tokens=(0, 0, 1))
    rater.rate_all()
    use(used.charlie.organization, tokens=(0, 0, 1))

    closed = closing.close_due(now=CLOSING)

    assert sorted((one.organization_id, one.statement_id is None) for one in closed) == sorted(
        [(used.alice.organization.id, False), (used.charlie.organization.id, True)]
    )


def test_a_statement_never_changes(used: Cast) -> None:
    rater.rate_all()
    closing.close_due(now=CLOSING)

    with pytest.raises(DatabaseError, match="append-only|permission denied"), transaction.atomic():
        Statement.objects.update(document="{}")


def test_what_rounding_adds_is_in_the_ledger(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, tokens=(0, 0, 9_999))
    everything_shipped()
    rater.rate_all()

    closing.close_due(now=CLOSING)

    invoice = Invoice.objects.get()
    assert (invoice.total_cents, invoice.status) == (1, "in_review")
    exact = 9_999 * 600_000
    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == exact
    services.approve_invoice(invoice=invoice, by=Actor.person(cast.ada))

    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == PICO_PER_CENT
    assert ledger.balance(organization=cast.alice.organization, kind=Account.ROUNDING) == exact - PICO_PER_CENT
    assert ledger.prove().is_clean
