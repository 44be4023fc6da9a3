"""A statement as text: one canonical form, a hash, and a CSV that no spreadsheet runs."""

import csv
import io
import json

import pytest

from moorage.billing import statement as statements
from moorage.billing import statement_csv
from moorage.billing.statement import Line, Statement
from tests.billing.measured import OCTOBER


def _line(**changes: object) -> Line:
    given: dict[str, object] = {
        "deployment_id": "dep_a",
        "deployment_name": "demo",
        "served_name": "demo/llm",
        "meter": "output_tokens",
        "price_id": "pri_a",
        "pico_per_unit": 600_000,
        "usage_month": "2026-10",
        "quantity": 3,
        "amount_pico": 1_800_000,
        "sources": 2,
    }
    return Line(**{**given, **changes})  # type: ignore[arg-type]


def _statement(*lines: Line) -> Statement:
    return statements.build(
        organization_id="org_a", organization_name="Harbour", currency="USD", period=OCTOBER, lines=lines
    )


def test_the_same_lines_in_any_order_are_the_same_text() -> None:
    first, second = _line(), _line(meter="input_tokens", pico_per_unit=1, amount_pico=3)

    assert statements.canonical(_statement(first, second)) == statements.canonical(_statement(second, first))


def test_a_statement_comes_back_from_its_text() -> None:
    built = _statement(_line(), _line(usage_month="2026-09", served_name="Kai–Ø"))

    text = statements.canonical(built)

    assert statements.parse(text) == built
    assert statements.canonical(statements.parse(text)) == text


def test_amounts_are_exact_strings_that_anybody_can_recompute() -> None:
    huge = 10**29 + 1
    built = _statement(_line(), _line(price_id="pri_b", pico_per_unit=1, quantity=huge, amount_pico=huge))

    found = json.loads(statements.canonical(built))

    for line in found["lines"]:
        assert int(line["amount_pico"]) == line["quantity"] * int(line["price"]["pico_per_unit"])
    assert int(found["total_pico"]) == huge + 1_800_000
    assert found["total"] == "100000000000000000.000001800001"


def test_a_line_that_is_not_quantity_times_price_is_no_line() -> None:
    with pytest.raises(AssertionError):
        _statement(_line(amount_pico=1))


def test_late_usage_names_its_month() -> None:
    (line,) = statements.document(_statement(_line(usage_month="2026-09")))["lines"]  # type: ignore[misc]

    assert line["is_late"] is True  # type: ignore[index]
    assert line["usage_month"] == "2026-09"  # type: ignore[index]


def test_a_line_keeps_its_id_while_the_month_grows() -> None:
    assert _line().id == _line(quantity=4, amount_pico=2_400_000, sources=3).id
    assert _line().id != _line(price_id="pri_b").id


@pytest.mark.parametrize("evil", ['=HYPERLINK("http://x")', "+1", "-1", "@SUM(A1)", "\tx", "\rx", "=1,2\n=3"])
def test_no_cell_of_the_csv_is_a_formula(evil: str) -> None:
    text = statement_csv.as_csv(_statement(_line(served_name=evil, deployment_name=evil)))

    rows = list(csv.reader(io.StringIO(text, newline="")))
    assert len(rows) == 3
    assert all(not cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row)
    assert evil in rows[1][4]


def test_the_csv_says_what_the_statement_says() -> None:
    head, line, total = csv.reader(io.StringIO(statement_csv.as_csv(_statement(_line())), newline=""))

    assert dict(zip(head, line, strict=True)) == {
        "period": "2026-10",
        "usage_month": "2026-10",
        "deployment": "demo",
        "deployment_id": "dep_a",
        "served_name": "demo/llm",
        "meter": "output_tokens",
        "quantity": "3",
        "price": "0.60",
        "price_per": "1M tokens",
        "amount": "0.0000018",
        "currency": "USD",
        "line": _line().id,
        "tier": "0",
        "late_of": "",
    }
    assert (total[5], total[9]) == ("total", "0.0000018")


def test_a_statement_of_the_first_version_is_read_and_written_as_it_was() -> None:
    text = (
        '{"currency":"USD","lines":[{"amount":"0.0000018","amount_pico":"1800000","deployment":{"id":"dep_a",'
        '"name":"demo"},"id":"LINE","is_late":true,"meter":"output_tokens","price":{"amount":"0.60","id":"pri_a",'
        '"per":"1M tokens","pico_per_unit":"600000"},"quantity":3,"served_name":"demo/llm","sources":2,'
        '"usage_month":"2026-09"}],"organization":{"id":"org_a","name":"Harbour"},"period":"2026-10",'
        '"period_end":"2026-11-01T00:00:00+00:00","period_start":"2026-10-01T00:00:00+00:00","total":"0.0000018",'
        '"total_pico":"1800000","unpriced":[],"version":1}'
    ).replace("LINE", _line(usage_month="2026-09").id)

    found = statements.parse(text)

    assert found.version == 1
    assert statements.canonical(found) == text
    assert (found.total_pico, found.credit_applied_pico, found.due_pico) == (1_800_000, 0, 1_800_000)


def test_tiers_scope_late_statements_and_credit_come_back_from_the_text() -> None:
    tiers = ((0, 0), (1000, 600_000))
    built = statements.build(
        organization_id="org_a",
        organization_name="Harbour",
        currency="USD",
        period=OCTOBER,
        lines=[
            _line(tier=0, tiers=tiers, pico_per_unit=0, amount_pico=0),
            _line(tier=1, tiers=tiers),
            _line(price_id="pri_b", usage_month="2026-09", late_of="st_a", scope="idle on cpu"),
        ],
        credit_applied_pico=600_000,
    )

    found = json.loads(statements.canonical(built))

    assert statements.parse(statements.canonical(built)) == built
    assert [line["late_of"] for line in found["lines"]] == ["st_a", None, None]
    assert [line["price"]["tier"] for line in found["lines"]] == [0, 0, 1]
    assert (found["credit_applied_pico"], found["due_pico"], found["due"]) == ("600000", "3000000", "0.000003")
    assert len({line["id"] for line in found["lines"]}) == 3


def test_a_rate_that_is_not_its_tiers_is_no_line() -> None:
    with pytest.raises(AssertionError):
        _statement(_line(tier=0, tiers=((0, 1), (10, 600_000))))


def test_a_minimum_is_what_is_missing_to_it_and_nothing_else() -> None:
    missing = statements.minimum_line(lines=[_line()], minimum_pico=2_000_000, minimum_id="min_a", period=OCTOBER)
    none = statements.minimum_line(lines=[_line()], minimum_pico=1_800_000, minimum_id="min_a", period=OCTOBER)

    assert missing is not None and none is None
    assert (missing.amount_pico, missing.quantity, missing.price_unit) == (200_000, 1, "month")
    built = _statement(missing, _line())
    assert [line.meter for line in built.lines] == ["output_tokens", statements.MINIMUM]
    assert built.total_pico == 2_000_000
    assert statements.parse(statements.canonical(built)) == built


def test_the_csv_names_credit_and_what_is_due() -> None:
    built = statements.build(
        organization_id="org_a",
        organization_name="Harbour",
        currency="USD",
        period=OCTOBER,
        lines=[_line()],
        credit_applied_pico=800_000,
    )

    rows = list(csv.reader(io.StringIO(statement_csv.as_csv(built), newline="")))

    assert [(row[5], row[9]) for row in rows[-3:]] == [
        ("total", "0.0000018"),
        ("credit_applied", "0.0000008"),
        ("due", "0.000001"),
    ]
