"""Usage, statements and invoices over REST, for an organization and for the administrator."""

import csv
import datetime as dt
import io

import msgspec
import pytest

from moorage.accounts.models import AuditEntry, Scope
from moorage.billing import closing, rater
from moorage.billing.models import Invoice, Statement
from moorage.fleet.models import Node
from moorage.kernel.clock import Period
from moorage.metering import services as metering
from tests.api.conftest import Caller, calling, error_of
from tests.billing import measured
from tests.billing.measured import CLOSING, NOON, OCTOBER, use
from tests.cast import Cast


@pytest.fixture
def used(cast: Cast) -> list[str]:
    """Alice's three requests in October, rated; the ids in the order of their ends."""
    measured.pricing.ensure_default_prices()
    found = [
        use(cast.alice.organization, ended_at=NOON + dt.timedelta(minutes=minute), tokens=(1000, 400, 50))
        for minute in range(3)
    ]
    rater.rate_all()
    return found


@pytest.fixture
def closed(cast: Cast, used: list[str]) -> Invoice:
    """October with 1.23051 USD in all, frozen; its invoice is the first, so it is in review."""
    use(cast.alice.organization, tokens=(0, 0, 2_050_000))
    rater.rate_all()
    metering.mark_shipped(until=CLOSING)
    closing.close_period(OCTOBER, CLOSING)
    return Invoice.objects.get()


def test_a_months_usage_is_summed_by_what_is_asked_for(alice: Caller, used: list[str]) -> None:
    by_day = alice.get("usage?period=2026-10&group=day")
    by_deployment = alice.get("usage?period=2026-10")

    (row,) = by_day["data"]
    assert (row["group"], row["requests"]) == ("2026-10-15", 3)
    assert (row["input_tokens"], row["cached_tokens"], row["output_tokens"]) == (3000, 1200, 150)
    assert by_deployment["data"][0]["group"] == "dep_a" and by_deployment["grouped_by"] == "deployment"
    assert by_day["total"]["output_tokens"] == 150
    assert (by_day["period_start"], by_day["period_end"]) == ("2026-10-01T00:00:00Z", "2026-11-01T00:00:00Z")


def test_replica_time_is_told_by_state(alice: Caller, cast: Cast) -> None:
    for state, seconds in (("pull", 5), ("load", 3), ("frozen", 100), ("idle", 40), ("busy", 20), ("", 7)):
        measured.run(cast.alice.organization, seconds=seconds, state=state)

    total = alice.get("usage?period=2026-10")["total"]

    assert total["replica_states"] == {"pull": 5, "load": 3, "frozen": 100, "idle": 40, "busy": 20}
    assert total["replica_seconds"] == 67


def test_usage_by_key_carries_the_keys_name(alice: Caller, cast: Cast) -> None:
    key_id = alice.get("whoami")["key"]["id"]
    event = measured.request(cast.alice.organization.id, tokens=(1, 0, 1))
    measured.usage_table.put([msgspec.structs.replace(event, key_id=key_id)])

    assert alice.get("usage?period=2026-10&group=key")["data"][0]["label"] == "a key"


def test_a_month_without_usage_is_nought(alice: Caller) -> None:
    found = alice.get("usage?period=2020-01")

    assert found["data"] == [] and found["total"]["requests"] == 0


@pytest.mark.parametrize("period", ["2026", "2026-13", "26-1", "0000-01", "9999-12"])
@pytest.mark.parametrize("door", ["usage", "usage/requests", "statement"])
def test_what_is_no_month_is_refused(alice: Caller, door: str, period: str) -> None:
    assert error_of(alice("GET", f"{door}?period={period}"), 422)["code"] == "invalid_period"


def test_requests_come_newest_first_in_pages(alice: Caller, used: list[str]) -> None:
    first = alice.get("usage/requests?period=2026-10&limit=2")
    second = alice.get(f"usage/requests?period=2026-10&limit=2&cursor={first['next_cursor']}")

    assert [row["id"] for row in first["data"] + second["data"]] == used[::-1]
    assert second["next_cursor"] is None
    error_of(alice("GET", "usage/requests?cursor=nonsense"), 422)


def test_requests_are_filtered(alice: Caller, used: list[str]) -> None:
    assert len(alice.get("usage/requests?period=2026-10&served_name=demo/llm")["data"]) == 3
    assert alice.get("usage/requests?period=2026-10&key_id=key_none")["data"] == []


def test_a_request_shows_every_charge_with_its_price(alice: Caller, used: list[str]) -> None:
    found = alice.get(f"usage/requests/{used[0]}")

    charges = {charge["meter"]: charge for charge in found["charges"]}
    assert found["is_rated"] is True
    assert charges["output_tokens"]["quantity"] == 50
    assert (
        charges["output_tokens"]["price"]["price"] == "0.60" and charges["output_tokens"]["price"]["per"] == "1M tokens"
    )
    assert charges["output_tokens"]["amount"] == {"pico": "30000000", "amount": "0.00003", "currency": "USD"}
    assert found["amount"]["pico"] == str(sum(int(charge["amount"]["pico"]) for charge in found["charges"]))


def test_a_statement_adds_up(alice: Caller, used: list[str]) -> None:
    found = alice.get("statement?period=2026-10")

    assert found["is_frozen"] is False and found["period"] == "2026-10"
    for line in found["lines"]:
        assert int(line["amount"]["pico"]) == line["quantity"] * int(line["price"]["pico_per_unit"])
    assert int(found["total"]["pico"]) == sum(int(line["amount"]["pico"]) for line in found["lines"])
    assert found["total"]["amount"] == "0.00051"


@pytest.mark.parametrize(("query", "accept"), [("&format=csv", "*/*"), ("", "text/csv")])
def test_a_statement_downloads_as_csv(alice: Caller, used: list[str], query: str, accept: str) -> None:
    answer = alice("GET", f"statement?period=2026-10{query}", accept=accept)

    rows = list(csv.DictReader(io.StringIO(answer.content.decode())))
    assert answer["content-type"] == "text/csv; charset=utf-8"
    assert answer["content-disposition"] == 'attachment; filename="harbour-2026-10.csv"'
    assert rows[-1]["meter"] == "total" and rows[-1]["amount"] == "0.00051"


def test_json_asked_for_in_the_address_wins_over_the_header(alice: Caller) -> None:
    assert alice.get("statement?format=json", accept="text/csv")["lines"] == []


def test_statements_are_listed_newest_first(alice: Caller, closed: Invoice) -> None:
    first = alice.get("statements?limit=1")
    second = alice.get(f"statements?limit=1&cursor={first['next_cursor']}")

    assert first["data"][0]["is_frozen"] is False
    frozen = second["data"][0]
    assert (frozen["period"], frozen["is_frozen"], frozen["sha256"]) == (
        "2026-10",
        True,
        Statement.objects.get().sha256,
    )
    assert frozen["invoice_id"] == closed.id


def test_an_invoice_is_shown_in_whole_cents(alice: Caller, cast: Cast, closed: Invoice) -> None:
    (found,) = alice.get("invoices")["data"]

    assert found["total"] == {"pico": "1230000000000", "amount": "1.23", "currency": "USD"}
    assert found["period"] == "2026-10"


def test_the_administrator_sees_every_organizations_month(ada: Caller, used: list[str]) -> None:
    rows = {row["organization"]["slug"]: row for row in ada.get("admin/organizations?period=2026-10")["data"]}

    assert rows.keys() == {"harbour", "island"}
    assert rows["harbour"]["requests"] == 3 and rows["harbour"]["amount"]["amount"] == "0.00051"
    assert rows["island"]["amount"]["pico"] == "0"


def test_the_administrator_drills_down_to_a_request(ada: Caller, alice: Caller, used: list[str]) -> None:
    statement = ada.get("admin/organizations/harbour/statement?period=2026-10")
    requests = ada.get("admin/organizations/harbour/requests?period=2026-10&limit=1")
    request = ada.get(f"admin/requests/{requests['data'][0]['id']}")

    assert statement == alice.get("statement?period=2026-10")
    assert request == alice.get(f"usage/requests/{used[-1]}")
    assert ada("GET", "admin/organizations/harbour/statement?format=csv")["content-type"].startswith("text/csv")
    assert error_of(ada("GET", "admin/organizations/none/statement"), 404)["code"] == "organization_not_found"
    assert error_of(ada("GET", "admin/requests/req_none"), 404)["code"] == "request_not_found"


def test_a_price_is_set_from_a_moment_on(ada: Caller) -> None:
    measured.pricing.ensure_default_prices()

    answer = ada("POST", "admin/prices", {"meter": "output_tokens", "model": "demo/*", "price": "0.75", "note": "test"})
    listed = ada.get("admin/prices")["data"]

    assert answer.status_code == 201
    assert answer.json()["price"] == "0.75" and answer.json()["pico_per_unit"] == "750000"
    entry = next(entry for entry in listed if entry["model"] == "demo/*")
    assert entry["in_force"]["id"] == answer.json()["id"]
    assert AuditEntry.objects.filter(action="price.set", actor__startswith="key_").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"price": "cheap"},
        {"price": "-1"},
        {"price": "0.0000001"},
        {"meter": "smiles"},
        {"model": ""},
        {"valid_from": "yesterday"},
        {"currency": "JPY"},
        {"currency": "EURO"},
    ],
)
def test_a_price_that_makes_no_sense_is_refused(ada: Caller, change: dict[str, str]) -> None:
    body = {"meter": "output_tokens", "model": "*", "price": "0.5", **change}

    error_of(ada("POST", "admin/prices", body), 422)


def test_a_price_cannot_reach_rated_usage(ada: Caller, used: list[str]) -> None:
    body = {"meter": "output_tokens", "model": "*", "price": "0.5", "valid_from": "2026-10-01T00:00:00Z"}

    assert error_of(ada("POST", "admin/prices", body), 409)["code"] == "price_in_the_past"


def test_an_invoice_is_reviewed_and_approved(ada: Caller, closed: Invoice) -> None:
    waiting = ada.get("admin/invoices?status=in_review&period=2026-10")["data"]

    answer = ada("POST", f"admin/invoices/{closed.id}/approve", {})

    assert [row["id"] for row in waiting] == [closed.id]
    assert waiting[0]["organization"]["slug"] == "harbour"
    assert answer.status_code == 200, answer.content
    assert (answer.json()["status"], answer.json()["number"]) == ("finalized", "M-000001")
    assert error_of(ada("POST", f"admin/invoices/{closed.id}/approve", {}), 409)["code"] == "invoice_changed"


def test_voiding_and_paying_ask_for_a_reason(ada: Caller, closed: Invoice) -> None:
    for verb in ("void", "mark-paid"):
        assert error_of(ada("POST", f"admin/invoices/{closed.id}/{verb}", {}), 422)["param"] == "reason"
    assert error_of(ada("POST", f"admin/invoices/{closed.id}/mark-paid", {"reason": "line 17"}), 409)
    voided = ada("POST", f"admin/invoices/{closed.id}/void", {"reason": "our test"})

    assert voided.json()["status"] == "void"
    assert error_of(ada("POST", "admin/invoices/inv_none/void", {"reason": "x"}), 404)["code"] == "invoice_not_found"


def test_nodes_are_listed(ada: Caller) -> None:
    Node.objects.create(name="quay-1", memory_bytes=2**30, cpu_millis=2000, runtime="memory")

    (node,) = ada.get("admin/nodes")["data"]

    assert (node["name"], node["replica_count"], node["memory_bytes"]) == ("quay-1", 0, 2**30)


def test_the_present_month_is_the_default(alice: Caller, cast: Cast) -> None:
    present = str(Period.containing(dt.datetime.now(dt.UTC)))

    assert calling(cast.alice, Scope.MANAGE).get("statement")["period"] == present
    assert alice.get("usage")["period"] == present
