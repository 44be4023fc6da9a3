"""Closing a month: not too early, once, frozen for good; what comes late is charged in the next month."""

import datetime as dt

import pytest
from django.db import DatabaseError, transaction

from moorage.accounts.actor import Actor
from moorage.billing import closing, ledger, queries, rater, review, services
from moorage.billing.ledger import Account
from moorage.billing.models import Invoice, RatedUsage, Statement
from moorage.billing.policy import SanityBounds, is_parked, parking_reasons
from moorage.billing.statement import sha256
from moorage.kernel.money import PICO, PICO_PER_CENT
from tests.billing.bills import closed, graduated, invoiced, minimum
from tests.billing.measured import CLOSING, NOON, NOVEMBER, OCTOBER, everything_shipped, is_closed, price_list, use
from tests.cast import Cast

DOLLAR = PICO


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

    with pytest.raises(DatabaseError, match=r"append-only|permission denied"), transaction.atomic():
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


def test_late_usage_names_the_statement_it_would_have_belonged_to(used: Cast) -> None:
    organization = used.alice.organization
    rater.rate_all()
    closing.close_due(now=CLOSING)
    october = Statement.objects.get()
    use(organization, tokens=(0, 0, 10), ended_at=NOON)
    use(organization, tokens=(0, 0, 5), ended_at=NOVEMBER.start)
    rater.rate_all()

    closing.close_period(NOVEMBER, NOVEMBER.end + closing.GRACE)

    november = queries.statement(organization=organization, period=NOVEMBER).statement
    assert [(line.usage_month, line.late_of) for line in november.lines] == [
        ("2026-10", october.id),
        ("2026-11", ""),
    ]


def test_each_tier_is_a_line_at_its_own_rate(cast: Cast) -> None:
    price_list()
    graduated("demo/llm", [(0, 0), (100, 600_000), (1_000, 500_000)])
    for tokens in (60, 60, 2_000):
        use(cast.alice.organization, tokens=(0, 0, tokens))

    invoice = closed(cast.alice)

    frozen = queries.statement(organization=cast.alice.organization, period=OCTOBER).statement
    assert [(line.tier, line.quantity, line.pico_per_unit) for line in frozen.lines] == [
        (0, 100, 0),
        (1, 900, 600_000),
        (2, 1_120, 500_000),
    ]
    assert frozen.total_pico == 900 * 600_000 + 1_120 * 500_000
    assert "(tier 3)" in invoice.lines.order_by("-position")[0].description


def test_credit_is_taken_off_and_the_rest_is_due(cast: Cast) -> None:
    invoice = invoiced(cast.alice, credit_pico=50 * PICO_PER_CENT)

    frozen = Statement.objects.get()
    assert (frozen.credit_applied_pico, frozen.due_pico) == (50 * PICO_PER_CENT, 70 * PICO_PER_CENT)
    assert invoice.total_cents == 70
    last = invoice.lines.order_by("-position")[0]
    assert (last.description, last.amount_cents, last.amount_pico) == ("Credit applied", -50, -50 * PICO_PER_CENT)
    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == 70 * PICO_PER_CENT


def test_a_month_that_credit_paid_in_full_is_an_invoice_of_nothing(cast: Cast) -> None:
    invoice = invoiced(cast.alice, credit_pico=10**13)

    assert (invoice.total_cents, invoice.status) == (0, "paid")
    assert sum(line.amount_cents for line in invoice.lines.all()) == 0
    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == 0


def test_a_minimum_is_charged_posted_and_paid_by_credit_like_usage(cast: Cast) -> None:
    minimum(cast.alice, 200 * PICO_PER_CENT)

    invoice = invoiced(cast.alice, credit_pico=130 * PICO_PER_CENT)

    frozen = queries.statement(organization=cast.alice.organization, period=OCTOBER).statement
    assert [(line.meter, line.amount_pico) for line in frozen.lines] == [
        ("output_tokens", 120 * PICO_PER_CENT),
        ("minimum_commitment", 80 * PICO_PER_CENT),
    ]
    assert (frozen.total_pico, frozen.credit_applied_pico) == (200 * PICO_PER_CENT, 130 * PICO_PER_CENT)
    assert invoice.total_cents == 70
    assert invoice.lines.get(meter="minimum_commitment").description == "Minimum commitment for 2026-10, up to 2.00"
    assert ledger.balance(organization=cast.alice.organization, kind=Account.RECEIVABLE) == 70 * PICO_PER_CENT
    assert ledger.prove().is_clean


def test_a_minimum_is_charged_in_a_month_without_any_usage(cast: Cast) -> None:
    minimum(cast.alice, 200 * PICO_PER_CENT)
    everything_shipped()

    (closed_month,) = closing.close_due(now=CLOSING)

    assert closed_month.statement_id is not None
    assert Invoice.objects.get().total_cents == 200
    assert closing.close_due(now=CLOSING) == ()


def test_a_month_above_its_minimum_owes_no_more(cast: Cast) -> None:
    minimum(cast.alice, 100 * PICO_PER_CENT)

    assert invoiced(cast.alice).total_cents == 120


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"total_pico": 301 * DOLLAR, "highest_before_pico": 100 * DOLLAR}, "301.00 EUR is more than 3 times"),
        ({"total_pico": 300 * DOLLAR, "highest_before_pico": 100 * DOLLAR}, None),
        ({"total_pico": 100 * DOLLAR, "highest_before_pico": 1 * DOLLAR}, None),
        ({"total_pico": 100 * DOLLAR + 1, "highest_before_pico": 1 * DOLLAR}, "is more than 3 times"),
        ({"total_pico": 100 * DOLLAR, "highest_before_pico": None}, None),
        ({"total_pico": 101 * DOLLAR, "highest_before_pico": None}, "101.00 EUR is much for a first month."),
        ({"line_count": 1_001}, "It has 1,001 lines"),
        ({"line_count": 1_000}, None),
        ({"due_pico": -1}, "less than nothing"),
        ({"total_pico": -1}, "less than nothing"),
        ({"unpriced_count": 2}, "have no price"),
    ],
)
def test_a_strange_month_is_parked_with_a_reason(given: dict[str, int | None], says: str | None) -> None:
    sane: dict[str, int | None] = {
        "total_pico": DOLLAR,
        "due_pico": DOLLAR,
        "highest_before_pico": DOLLAR,
        "line_count": 3,
        "unpriced_count": 0,
    }

    reasons = parking_reasons(SanityBounds(), currency="EUR", **{**sane, **given})  # type: ignore[arg-type]

    assert (len(reasons) == 1 and says in reasons[0] and is_parked(reasons[0])) if says else reasons == ()


def test_a_parked_invoice_waits_although_no_review_was_asked_for(cast: Cast) -> None:
    invoiced(cast.alice)
    use(cast.alice.organization, tokens=(0, 0, 200_000_000), ended_at=NOVEMBER.start)

    parked = closed(cast.alice, period=NOVEMBER)

    assert (parked.status, parked.number) == ("in_review", None)
    assert parked.reason == ("Parked: 120.00 USD is more than 3 times the highest of the last twelve months, 1.20 USD.")
    services.approve_invoice(invoice=parked, by=Actor.person(cast.ada), reason="They launched.")
    assert parked.number == 2


def test_credit_does_not_hide_a_strange_month(cast: Cast) -> None:
    invoice = invoiced(cast.alice, tokens=(0, 0, 200_000_000), credit_pico=119 * DOLLAR)

    assert invoice.total_cents == 100
    assert is_parked(invoice.reason)


def test_bounds_are_settings(cast: Cast, settings: object) -> None:
    settings.MOORAGE_PARK_LINES = 1  # type: ignore[attr-defined]

    invoice = invoiced(cast.alice, names=("a", "b"))

    assert invoice.reason == "Parked: It has 2 lines; 1 are usual at most."
