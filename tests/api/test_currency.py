"""What an organization pays in, over REST: set by an administrator, shown with every amount."""

import pytest

from moorage.accounts.models import AuditEntry, Organization
from moorage.billing import rater
from moorage.billing.models import Price, UnitCost
from tests.api.conftest import Caller, error_of
from tests.billing.euro import pay_in, price_in
from tests.billing.measured import price_list, run, use
from tests.cast import Cast

PATH = "admin/organizations/harbour/currency"
BODY = {"currency": "eur", "reason": "Rotterdam."}


def test_an_administrator_sets_what_an_organization_pays_in(ada: Caller, cast: Cast) -> None:
    price_list()
    price_in("EUR")

    before, answer = ada.get(PATH), ada("PUT", PATH, BODY)

    assert before == {"currency": "USD", "in_the_way": [], "priced": ["EUR", "USD"]}
    assert answer.status_code == 200 and answer.json()["currency"] == "EUR"
    assert Organization.objects.get(slug="harbour").currency == "EUR"
    assert AuditEntry.objects.get(action="organization.currency_changed").detail["reason"] == "Rotterdam."


def test_what_cannot_be_is_refused_with_a_code_and_a_sentence(ada: Caller, alice: Caller, cast: Cast) -> None:
    price_list()

    assert error_of(ada("PUT", PATH, BODY), 409)["code"] == "currency_unpriced"
    price_in("EUR")
    assert "hundred" in error_of(ada("PUT", PATH, {**BODY, "currency": "JPY"}), 422)["message"]
    error_of(ada("PUT", PATH, {"currency": "EUR"}), 422)
    error_of(ada("PUT", "admin/organizations/nobody/currency", BODY), 404)
    assert alice("PUT", PATH, BODY).status_code in (401, 403, 404)
    use(cast.alice.organization)
    rater.rate_all()
    refused = error_of(ada("PUT", PATH, BODY), 409)
    assert refused["code"] == "currency_in_use" and "usage was charged to it" in refused["message"]
    assert ada.get(PATH)["in_the_way"]


def test_every_amount_of_a_euro_organization_says_so(ada: Caller, alice: Caller, cast: Cast) -> None:
    price_list()
    pay_in(cast.alice.organization)
    use(cast.alice.organization, tokens=(0, 0, 1_000_000))
    use(cast.charlie.organization, tokens=(0, 0, 1_000_000))
    rater.rate_all()

    month = ada.get("admin/organizations?period=2026-10")["data"]
    statement = alice.get("statement?period=2026-10")
    wallet = alice.get("wallet")

    assert {row["organization"]["slug"]: row["amount"] for row in month} == {
        "harbour": {"pico": "700000000000", "amount": "0.70", "currency": "EUR"},
        "island": {"pico": "600000000000", "amount": "0.60", "currency": "USD"},
    }
    assert {statement["total"]["currency"], statement["lines"][0]["amount"]["currency"]} == {"EUR"}
    assert (wallet["currency"], wallet["owed"]) == ("EUR", statement["total"])


def test_a_price_is_set_in_a_currency(ada: Caller, cast: Cast) -> None:
    body = {"meter": "output_tokens", "model": "demo/*", "price": "0.5"}

    usual, euro = ada("POST", "admin/prices", body), ada("POST", "admin/prices", {**body, "currency": "EUR"})
    cost = ada("POST", "admin/costs", {"meter": "replica_seconds", "cost": "0.0005", "currency": "GBP"})

    assert [answer.json()["currency"] for answer in (usual, euro, cost)] == ["USD", "EUR", "GBP"]
    assert {entry["currency"] for entry in ada.get("admin/prices")["data"]} == {"EUR", "USD"}
    assert Price.objects.count() == 2 and UnitCost.objects.get().currency == "GBP"


def test_a_margin_is_of_one_currency_and_knows_no_cost_of_another(ada: Caller, cast: Cast) -> None:
    price_list()
    pay_in(cast.alice.organization)
    ada("POST", "admin/costs", {"meter": "replica_seconds", "cost": "0.00001", "valid_from": "2026-09-01T00:00:00Z"})
    for person in (cast.alice, cast.charlie):
        run(person.organization, seconds=100, device_class="H200")
    rater.rate_all()

    dollars, euros = (ada.get(f"admin/margin?period=2026-10&currency={one}") for one in ("USD", "EUR"))

    assert dollars["currencies"] == euros["currencies"] == ["EUR", "USD"]
    (row,) = dollars["rows"]
    assert (row["revenue"]["amount"], row["cost"]["amount"], row["margin"]["amount"]) == ("0.002", "0.001", "0.001")
    (row,) = euros["rows"]
    assert (row["revenue"]["amount"], row["revenue"]["currency"], row["cost"], row["margin"]) == (
        "0.003",
        "EUR",
        None,
        None,
    )
    assert row["cost_unknown"] == "Its devices have no cost in EUR, only in another currency."


@pytest.mark.parametrize("currency", ["", "USD"])
def test_a_dry_run_has_a_total_for_each_currency(ada: Caller, cast: Cast, currency: str) -> None:
    price_list()
    pay_in(cast.alice.organization)
    for person in (cast.alice, cast.charlie):
        use(person.organization, tokens=(0, 0, 1_000_000))
    rater.rate_all()
    rows = f"meter,model,price,currency\noutput_tokens,demo/llm,9,{currency}\n"

    found = ada("POST", "admin/prices/dry-run", {"period": "2026-10", "rows": rows}).json()

    assert {one["difference"]["currency"]: one["difference"]["amount"] for one in found["totals"]} == {
        "EUR": "0.00",
        "USD": "8.40",
    }
