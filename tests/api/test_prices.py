"""Prices, costs, minimums and dry runs over REST: an administrator's, in words that people use."""

from typing import Any

import pytest

from moorage.accounts.models import AuditEntry
from moorage.billing import rater
from moorage.billing.models import MinimumCommitment, Price, UnitCost
from tests.api.conftest import Caller
from tests.billing.measured import price_list, use
from tests.cast import Cast

OUTPUT = {"meter": "output_tokens", "model": "demo/*"}


def refused(answer: Any, status: int) -> dict[str, Any]:
    """What went wrong."""
    assert answer.status_code == status, answer.content
    error: dict[str, Any] = answer.json()["error"]
    return error


def test_a_negotiated_graduated_price_is_set_and_listed(ada: Caller, cast: Cast) -> None:
    tiers = [{"begins": 0, "price": "0"}, {"begins": 1_000_000, "price": "0.25"}]

    made = ada("POST", "admin/prices", {**OUTPUT, "tiers": tiers, "organization": "harbour"})

    assert made.status_code == 201, made.content
    assert made.json()["organization"] == "harbour"
    assert made.json()["tiers"][1] == {"begins": 1_000_000, "price": "0.25", "pico_per_unit": "250000"}
    (entry,) = ada.get("admin/prices")["data"]
    assert (entry["organization"], entry["in_force"]["id"]) == ("harbour", made.json()["id"])


def test_a_price_is_ended(ada: Caller, db: None) -> None:
    price = ada("POST", "admin/prices", {**OUTPUT, "price": "0.60"}).json()

    ended = ada("POST", f"admin/prices/{price['id']}/end", {"note": "over"})

    assert ended.status_code == 201
    (entry,) = ada.get("admin/prices")["data"]
    assert entry["in_force"] is None
    assert entry["history"][0]["valid_to"] == ended.json()["valid_from"]
    assert refused(ada("POST", "admin/prices/pri_none/end", {}), 404)["code"] == "price_not_found"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (OUTPUT, 422),
        ({**OUTPUT, "price": "1", "tiers": [{"begins": 0, "price": "1"}]}, 422),
        ({**OUTPUT, "tiers": [{"begins": 3, "price": "1"}]}, 422),
        ({**OUTPUT, "price": "1", "state": "idle"}, 422),
        ({**OUTPUT, "price": "1", "organization": "nobody"}, 404),
        ({"model": "*", "price": "1"}, 422),
        ({"cost_id": "cost_none", "margin_basis_points": 1}, 404),
        ({"cost_id": "cost_none"}, 422),
    ],
)
def test_a_price_that_makes_no_sense_is_refused(ada: Caller, db: None, body: dict[str, Any], status: int) -> None:
    refused(ada("POST", "admin/prices", body), status)

    assert not Price.objects.exists()


def test_a_price_is_made_of_a_cost_exactly_or_not_at_all(ada: Caller, db: None) -> None:
    cost = ada("POST", "admin/costs", {"meter": "replica_seconds", "device_class": "h200", "cost": "0.0004"}).json()

    made = ada("POST", "admin/prices", {"cost_id": cost["id"], "margin_basis_points": 2500})
    inexact = ada("POST", "admin/costs", {"meter": "replica_seconds", "cost": "0.000000000003"}).json()
    error = refused(ada("POST", "admin/prices", {"cost_id": inexact["id"], "margin_basis_points": 1}), 422)

    assert (made.json()["price"], made.json()["device_class"], made.json()["cost_id"]) == ("0.0005", "h200", cost["id"])
    assert "The nearest that are" in error["message"]
    assert {one["id"] for one in ada.get("admin/costs")["data"]} == {cost["id"], inexact["id"]}
    assert AuditEntry.objects.filter(action="cost.set").count() == UnitCost.objects.count() == 2


def test_a_minimum_is_set_and_listed(ada: Caller, cast: Cast) -> None:
    body = {"organization": "harbour", "amount": "500.00", "period": "2026-11"}

    made = ada("POST", "admin/minimums", body)

    assert made.status_code == 201, made.content
    assert (made.json()["amount"]["pico"], made.json()["period"]) == (str(500 * 10**12), "2026-11")
    assert [one["id"] for one in ada.get("admin/minimums")["data"]] == [MinimumCommitment.objects.get().id]
    refused(ada("POST", "admin/minimums", {**body, "amount": "much"}), 422)
    refused(ada("POST", "admin/minimums", {**body, "period": "soon"}), 422)
    refused(ada("POST", "admin/minimums", {**body, "organization": "nobody"}), 404)


def test_a_dry_run_says_the_difference_by_organization(ada: Caller, cast: Cast) -> None:
    price_list()
    use(cast.alice.organization, tokens=(0, 0, 1_000_000))
    rater.rate_all()

    answer = ada("POST", "admin/prices/dry-run", {"period": "2026-10", "rows": "meter,price\noutput_tokens,0.75\n"})

    assert answer.status_code == 200, answer.content
    assert [total["difference"] for total in answer.json()["totals"]] == [
        {"pico": "150000000000", "amount": "0.15", "currency": "USD"}
    ]
    assert [one["organization"]["slug"] for one in answer.json()["organizations"]] == ["harbour"]


def test_a_bad_candidate_says_which_row(ada: Caller, db: None) -> None:
    answer = ada("POST", "admin/prices/dry-run", {"period": "2026-10", "rows": "meter,price\nsmiles,1\n"})

    error = refused(answer, 422)
    assert (error["code"], error["message"].split(":")[0]) == ("invalid_candidate", "Row 2")


@pytest.mark.parametrize("path", ["admin/prices", "admin/costs", "admin/minimums", "admin/prices/dry-run"])
def test_only_an_administrators_key_opens_them(alice: Caller, path: str) -> None:
    assert alice("POST", path, {}).status_code == 403
