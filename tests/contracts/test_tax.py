"""The contract of the TaxRule port: every adapter's lines are what anybody can recompute."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.billing.tax import Taxed, TaxRule, tax_of
from moorage.billing.tax_fixed import FixedTax
from moorage.billing.tax_none import NoTax

RULES: list[TaxRule] = [
    NoTax(),
    FixedTax(label="VAT", basis_points=1900),
    FixedTax(label="Sales tax", basis_points=775),
]


def asked(due_cents: int, *, country: str = "", tax_id: str = "") -> Taxed:
    """The question about so many cents."""
    return Taxed(organization_id="org_a", due_cents=due_cents, currency="USD", country=country, tax_id=tax_id)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
@given(due_cents=st.integers(0, 10**12), country=st.sampled_from(["", "DE", "US"]))
def test_every_line_is_its_rate_of_what_is_due(rule: TaxRule, due_cents: int, country: str) -> None:
    for line in rule.lines(asked(due_cents, country=country)):
        assert line.cents == tax_of(due_cents, line.basis_points)
        assert 0 < len(line.name) <= 80


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_the_same_question_gets_the_same_answer(rule: TaxRule) -> None:
    assert rule.lines(asked(12_345)) == rule.lines(asked(12_345))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_nothing_is_taxed_with_nothing(rule: TaxRule) -> None:
    assert sum(line.cents for line in rule.lines(asked(0))) == 0


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.name)
def test_a_rule_has_a_name_by_which_it_is_known(rule: TaxRule) -> None:
    assert rule.name in {"none", "fixed"}
