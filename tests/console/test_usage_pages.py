"""What a member sees of usage and money: the rows' own figures, only their own, and down to one request."""

import csv
import hashlib
import io
import json

import msgspec
import pytest
from django.test import Client

from moorage.accounts import queries as accounts
from moorage.accounts import services
from moorage.accounts.models import Membership, Role
from moorage.billing import queries as billing
from moorage.billing import rater
from moorage.billing import services as billing_services
from moorage.billing.models import Statement
from moorage.console import daily_chart
from moorage.metering import usage_table
from moorage.metering.queries import Usage
from tests.billing.measured import NOON, OCTOBER, price_list, request, run, use
from tests.cast import Cast
from tests.console.conftest import browser_of
from tests.console.usage_rows import DIGEST, MONTH, closed_october, deployed, line_of, october

PAGES = ("usage", "usage/requests", "statement", "statement.csv", "statement.json", "invoices")


@pytest.mark.parametrize("page", PAGES)
def test_a_stranger_finds_no_page_of_another_organization(cast: Cast, page: str) -> None:
    october(cast.alice.organization)

    answer = browser_of(cast.charlie.user).get(f"/harbour/{page}?period={MONTH}")

    assert answer.status_code == 404


def test_a_stranger_finds_no_request_line_or_invoice_by_its_id(cast: Cast) -> None:
    invoice = closed_october(cast.alice.organization)
    request_id = use(cast.alice.organization)
    line = line_of(cast.alice.organization, "output_tokens")
    charlie = browser_of(cast.charlie.user)

    answers = [
        charlie.get(f"/island/usage/requests/{request_id}"),
        charlie.get(f"/island/statement/lines/{line.id}?period={MONTH}"),
        charlie.get(f"/island/invoices/{invoice.id}"),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]


@pytest.mark.parametrize("role", Role)
def test_the_roles_that_may_see_the_bill_see_it(cast: Cast, role: Role) -> None:
    services.add_member(organization=cast.bob.organization, user=cast.bob.user, role=role, by=cast.alice.actor)
    expected = 200 if role in accounts.MAY_SEE_BILLING else 403

    answers = [browser_of(cast.bob.user).get(f"/harbour/{page}?period={MONTH}") for page in PAGES]

    assert {answer.status_code for answer in answers} == {expected}


def test_a_billing_member_sees_the_bill_and_does_not_deploy(cast: Cast) -> None:
    Membership.objects.filter(user=cast.bob.user).update(role=Role.BILLING)
    bob = browser_of(cast.bob.user)

    assert bob.get("/harbour/statement").status_code == 200
    assert bob.get("/harbour/deploy").status_code == 403


@pytest.mark.parametrize("by", ["deployment", "day", "key", "model", "revision"])
def test_the_usage_page_shows_the_sums_of_the_rows(cast: Cast, by: str) -> None:
    october(cast.alice.organization, tokens=(1234, 200, 567))

    answer = browser_of(cast.bob.user).get(f"/harbour/usage?period={MONTH}&by={by}")

    (row,) = answer.context["rows"]
    assert (row.usage.requests, row.usage.input_tokens, row.usage.cached_tokens) == (1, 1234, 200)
    assert row.usage.output_tokens == 567
    assert row.usage.replica_seconds == (0 if by in {"key", "model"} else 90)
    assert answer.context["total"].replica_seconds == 90
    page = answer.content.decode()
    assert "1\u202f234" in page
    assert 'class="number"' in page


def test_a_month_without_usage_says_how_to_make_some(cast: Cast) -> None:
    october(cast.alice.organization)

    alice = browser_of(cast.alice.user)

    before = alice.get("/harbour/usage?period=2026-09").content.decode()
    deployed(cast.alice.organization)
    after = alice.get("/harbour/usage?period=2026-09").content.decode()

    assert "Nothing was used in 2026-09" in before
    assert 'href="/harbour/deploy"' in before
    assert "/v1/chat/completions" in after
    assert "demo/llm" in after


@pytest.mark.parametrize("query", ["period=2026-13", "period=x", "period=1999-01", "by=colour", "period=2026-10&by="])
def test_an_address_that_makes_no_sense_does_not_exist(cast: Cast, query: str) -> None:
    assert browser_of(cast.alice.user).get(f"/harbour/usage?{query}").status_code == 404


@pytest.mark.parametrize("after", ["x", "1.req_%00", "99999999999999999999.req_a"])
def test_a_page_that_was_never_given_does_not_exist(cast: Cast, after: str) -> None:
    assert browser_of(cast.alice.user).get(f"/harbour/usage/requests?after={after}").status_code == 404


def test_requests_come_in_pages_that_miss_and_repeat_nothing(cast: Cast) -> None:
    made = {use(cast.alice.organization) for _ in range(60)}
    alice = browser_of(cast.alice.user)

    first = alice.get(f"/harbour/usage/requests?period={MONTH}").context["page"]
    second = alice.get(f"/harbour/usage/requests?period={MONTH}&after={first.after}").context["page"]

    shown = [event.request_id for page in (first, second) for event in page.requests]
    assert len(shown) == 60
    assert set(shown) == made
    assert second.after is None


def test_requests_are_narrowed_to_a_key_by_the_address(cast: Cast) -> None:
    use(cast.alice.organization)
    alice = browser_of(cast.alice.user)

    mine = alice.get(f"/harbour/usage/requests?period={MONTH}&key=key_a").context["page"]
    other = alice.get(f"/harbour/usage/requests?period={MONTH}&key=key_b").context["page"]

    assert (len(mine.requests), len(other.requests)) == (1, 0)


def test_one_request_shows_its_charges_and_the_prices_in_force(cast: Cast) -> None:
    request_id = october(cast.alice.organization, tokens=(1000, 400, 50))

    page = browser_of(cast.alice.user).get(f"/harbour/usage/requests/{request_id}").content.decode()

    assert "0.60 USD per 1M tokens" in page
    # 600 × 0.20 + 400 × 0.05 + 50 × 0.60, each per million.
    assert "0.00017 USD" in page
    assert "rev_a" in page


def test_an_answer_is_traced_to_the_bytes_and_the_command_behind_it(cast: Cast) -> None:
    replica = deployed(cast.alice.organization)
    event = msgspec.structs.replace(
        request(cast.alice.organization.id, tokens=(5, 0, 5)),
        revision_id=replica.revision_id,
        replica_id=replica.id,
    )
    usage_table.put([event])

    page = browser_of(cast.alice.user).get(f"/harbour/usage/requests/{event.request_id}").content.decode()

    for part in (replica.revision_id, DIGEST, "Q8_0", "llamacpp b6123", "--ctx-size"):
        assert part in page


def test_a_trace_shows_nothing_of_another_organization(cast: Cast) -> None:
    replica = deployed(cast.charlie.organization)
    event = msgspec.structs.replace(
        request(cast.alice.organization.id, tokens=(5, 0, 5)),
        revision_id=replica.revision_id,
        replica_id=replica.id,
    )
    usage_table.put([event])

    page = browser_of(cast.alice.user).get(f"/harbour/usage/requests/{event.request_id}").content.decode()

    assert DIGEST not in page
    assert "--ctx-size" not in page


def test_the_bars_of_a_month_are_shares_of_its_highest_day() -> None:
    days = [
        Usage(group="2026-10-01", input_tokens=300, output_tokens=100),
        Usage(group="2026-10-31", input_tokens=100),
        Usage(group="2026-10-15", output_tokens=1),
    ]

    chart = daily_chart.draw(days, OCTOBER)

    assert [bar.day for bar in chart.bars] == ["2026-10-01", "2026-10-15", "2026-10-31"]
    assert [(bar.input_height, bar.output_height) for bar in chart.bars] == [(75, 25), (0, 1), (25, 0)]
    assert chart.bars[-1].x + chart.bar_width <= chart.width


def test_the_statement_shows_every_line_and_the_exact_total(cast: Cast) -> None:
    october(cast.alice.organization, tokens=(1, 0, 0))

    answer = browser_of(cast.alice.user).get(f"/harbour/statement?period={MONTH}")

    view = billing.statement(organization=cast.alice.organization, period=OCTOBER)
    assert [row.line for row in answer.context["lines"]] == list(view.statement.lines)
    page = answer.content.decode()
    # One input token and 90 seconds of a replica.
    assert "0.0000002 USD" in page
    assert "0.0018002 USD" in page


def test_a_line_leads_to_the_requests_it_sums_up(cast: Cast) -> None:
    request_id = october(cast.alice.organization)
    line = line_of(cast.alice.organization, "output_tokens")

    answer = browser_of(cast.alice.user).get(f"/harbour/statement/lines/{line.id}?period={MONTH}")

    assert f"/harbour/usage/requests/{request_id}" in answer.content.decode()
    ((source, _),) = answer.context["sources"]
    assert (source.quantity, source.amount_pico) == (line.quantity, line.amount_pico)


def test_replica_time_in_a_line_is_no_request(cast: Cast) -> None:
    october(cast.alice.organization)
    line = line_of(cast.alice.organization, "replica_seconds")

    page = browser_of(cast.alice.user).get(f"/harbour/statement/lines/{line.id}?period={MONTH}").content.decode()

    assert "use_" in page
    assert "/usage/requests/use_" not in page


def test_usage_without_a_price_is_named_on_the_statement(cast: Cast) -> None:
    use(cast.alice.organization)
    rater.rate_all()

    page = browser_of(cast.alice.user).get(f"/harbour/statement?period={MONTH}").content.decode()

    assert "has no price" in page
    assert "demo/llm" in page


def test_the_csv_is_the_statement_and_no_cell_is_a_formula(cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, served_name="=HYPERLINK(A1)")
    run(cast.alice.organization, seconds=5, ended_at=NOON)
    rater.rate_all()

    answer = browser_of(cast.alice.user).get(f"/harbour/statement.csv?period={MONTH}")

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert answer["Content-Disposition"] == f'attachment; filename="harbour-{MONTH}.csv"'
    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    statement = billing.statement(organization=cast.alice.organization, period=OCTOBER).statement
    assert [row["line"] for row in rows[:-1]] == [line.id for line in statement.lines]
    assert rows[-1]["meter"] == "total"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@"))]


def test_the_json_of_a_frozen_month_is_what_its_hash_is_of(cast: Cast) -> None:
    closed_october(cast.alice.organization)
    alice = browser_of(cast.alice.user)

    download = alice.get(f"/harbour/statement.json?period={MONTH}").content
    page = alice.get(f"/harbour/statement?period={MONTH}").content.decode()

    assert hashlib.sha256(download).hexdigest() == Statement.objects.get().sha256
    assert Statement.objects.get().sha256 in page
    assert json.loads(download)["period"] == MONTH


def test_an_invoice_in_review_is_shown_as_not_owed_yet(cast: Cast) -> None:
    invoice = closed_october(cast.alice.organization)
    alice = browser_of(cast.alice.user)

    listed = alice.get("/harbour/invoices").content.decode()
    page = alice.get(f"/harbour/invoices/{invoice.id}").content.decode()

    assert invoice.id in listed
    assert "You owe nothing until then" in page


def test_an_approved_invoice_shows_its_number_and_its_lines(cast: Cast) -> None:
    invoice = closed_october(cast.alice.organization)
    billing_services.approve_invoice(invoice=invoice, by=cast.alice.actor, reason="Checked.")

    page = browser_of(cast.alice.user).get(f"/harbour/invoices/{invoice.id}").content.decode()

    assert "M-000001" in page
    assert "2,000,000 output tokens at 0.60 per 1M tokens" in page


@pytest.mark.parametrize("page", PAGES)
def test_every_page_asks_who_you_are(cast: Cast, page: str) -> None:
    answer = Client().get(f"/harbour/{page}")

    assert answer.status_code == 302
    assert answer["Location"].startswith("/sign-in")
