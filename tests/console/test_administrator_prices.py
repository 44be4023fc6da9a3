"""The price list: a change is a new price, in units that people use, and never reaches what is rated."""

import pytest
from django.test import Client

from moorage.accounts.models import AuditEntry
from moorage.billing import rater
from moorage.billing.models import MinimumCommitment, Price, RatedUsage, UnitCost
from tests.billing.measured import NOON, use
from tests.cast import Cast
from tests.console.pages import inline_code, text_of
from tests.console.usage_rows import october

NEW_PRICE = {"meter": "output_tokens", "model": "demo/*", "price": "0.75", "valid_from": "", "note": "dearer"}


def test_setting_a_price_adds_a_row_and_old_usage_keeps_its_amount(cast: Cast, ada: Client) -> None:
    october(cast.alice.organization)
    prices = set(Price.objects.values_list("id", "pico_per_unit", "valid_from"))
    amounts = set(RatedUsage.objects.values_list("id", "amount_pico", "price_id"))

    answer = ada.post("/admin/prices", NEW_PRICE)

    assert answer.status_code == 302
    assert set(Price.objects.values_list("id", "pico_per_unit", "valid_from")) > prices
    made = Price.objects.order_by("created_at").last()
    assert made is not None
    assert (made.pico_per_unit, made.model, made.created_by) == (750_000, "demo/*", "ada@example.com")
    assert set(RatedUsage.objects.values_list("id", "amount_pico", "price_id")) == amounts
    assert "0.75 USD per 1M tokens" in ada.get("/admin/prices").content.decode()


@pytest.mark.parametrize(
    ("unit", "price", "pico"),
    [
        ("replica_seconds/hour", "0.072", 20_000_000),
        ("replica_seconds", "0.00002", 20_000_000),
        ("input_tokens", "0.000001", 1),
    ],
)
def test_prices_are_written_in_units_that_people_use(cast: Cast, ada: Client, unit: str, price: str, pico: int) -> None:
    ada.post("/admin/prices", {**NEW_PRICE, "meter": unit, "price": price})

    assert Price.objects.get().pico_per_unit == pico


@pytest.mark.parametrize(
    ("unit", "price", "sentence"),
    [
        ("output_tokens", "0.0000001", "at most 6 decimals"),
        ("output_tokens", "1e3", "decimal number"),
        ("output_tokens", "-1", "decimal number"),
        ("replica_seconds/hour", "0.1", "0.0999999972 and 0.1000000008"),
        ("nothing", "1", "Select a valid choice"),
    ],
)
def test_a_price_that_cannot_be_kept_exactly_is_refused_with_a_sentence(
    cast: Cast, ada: Client, unit: str, price: str, sentence: str
) -> None:
    answer = ada.post("/admin/prices", {**NEW_PRICE, "meter": unit, "price": price})

    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not Price.objects.exists()


def test_a_price_that_would_reach_rated_usage_is_refused(cast: Cast, ada: Client) -> None:
    october(cast.alice.organization)
    before = Price.objects.count()

    answer = ada.post("/admin/prices", {**NEW_PRICE, "valid_from": "2026-10-01T00:00"})

    assert answer.status_code == 422
    assert "already rated" in answer.content.decode()
    assert Price.objects.count() == before


def test_a_price_from_tomorrow_on_is_announced_and_not_in_force(cast: Cast, ada: Client) -> None:
    ada.post("/admin/prices", NEW_PRICE)

    ada.post("/admin/prices", {**NEW_PRICE, "price": "0.80", "valid_from": "2099-01-01T00:00"})

    (row,) = ada.get("/admin/prices").context["rows"]
    assert row.in_force.text == "0.75 USD per 1M tokens"
    assert [price.text for price in row.upcoming] == ["0.80 USD per 1M tokens"]


def test_an_empty_price_list_says_what_to_do(cast: Cast, ada: Client) -> None:
    assert "Nothing has a price, so nothing is charged" in ada.get("/admin/prices").content.decode()


def test_the_form_that_the_alarm_leads_to_reaches_the_usage_that_waits(cast: Cast, ada: Client) -> None:
    use(cast.alice.organization, tokens=(0, 0, 10), ended_at=NOON)
    rater.rate_all()
    form = ada.get("/admin/prices?meter=output_tokens&model=demo/llm&valid_from=2026-10-15T12:00").context["form"]

    ada.post("/admin/prices", {**NEW_PRICE, **form.initial})
    rater.rate_all()

    assert int(RatedUsage.objects.get().amount_pico) == 10 * 750_000


def test_a_negotiated_price_is_set_for_one_organization(cast: Cast, ada: Client) -> None:
    ada.post("/admin/prices", {**NEW_PRICE, "organization": "harbour"})

    page = ada.get("/admin/prices")

    assert Price.objects.get().organization == cast.alice.organization
    assert page.context["rows"][0].scope == "Harbour"


def test_a_price_by_quantity_is_written_line_by_line(cast: Cast, ada: Client) -> None:
    ada.post("/admin/prices", {**NEW_PRICE, "price": "", "tiers": "0: 0\n1000000: 0.25"})

    price = Price.objects.get()
    assert price.tiers == [{"from": 0, "pico": 0}, {"from": 1_000_000, "pico": 250_000}]
    assert "from 1,000,000: 0.25" in ada.get("/admin/prices").content.decode()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"tiers": "0: 1"}, "either one price or prices by quantity"),
        ({"price": ""}, "either one price or prices by quantity"),
        ({"price": "", "tiers": "5: 1"}, "The first tier begins at 0"),
        ({"price": "", "tiers": "0: 1", "meter": "replica_seconds/hour"}, "written for a replica second"),
        ({"state": "idle"}, "Only replica seconds are priced by state"),
        ({"valid_from": "2026-11-02", "valid_to": "2026-11-01"}, "ends after it begins"),
        ({"organization": "nobody"}, "Select a valid choice"),
    ],
)
def test_a_price_that_makes_no_sense_is_refused_beside_its_field(
    cast: Cast, ada: Client, change: dict[str, str], sentence: str
) -> None:
    answer = ada.post("/admin/prices", {**NEW_PRICE, **change})

    assert answer.status_code == 422
    assert sentence in text_of(answer)
    assert not Price.objects.exists()


def test_a_price_is_ended_and_stays_in_the_history(cast: Cast, ada: Client) -> None:
    ada.post("/admin/prices", NEW_PRICE)
    price = Price.objects.get()

    page = ada.get(f"/admin/prices/{price.id}/end")
    answer = ada.post(f"/admin/prices/{price.id}/end", {"at": "", "note": "over"})

    assert "0.75 USD per 1M tokens" in text_of(page)
    assert answer.status_code == 302
    (row,) = ada.get("/admin/prices").context["rows"]
    assert row.in_force is None and [one.price for one in row.history] == [price]
    assert AuditEntry.objects.filter(action="price.ended").exists()
    assert ada.get("/admin/prices/pri_none/end").status_code == 404


def test_a_cost_and_a_price_made_of_it(cast: Cast, ada: Client) -> None:
    ada.post(
        "/admin/prices/costs", {"meter": "replica_seconds", "model": "*", "device_class": "h200", "cost": "0.0004"}
    )
    cost = UnitCost.objects.get()

    ada.post("/admin/prices/costs", {"cost_id": cost.id, "margin_basis_points": "2500", "organization": ""})

    price = Price.objects.get()
    assert (price.cost, price.pico_per_unit, price.device_class) == (cost, 500_000_000, "h200")
    assert "cost and 2500 basis points" in text_of(ada.get("/admin/prices"))


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        ({"meter": "replica_seconds", "model": "*", "cost": "cheap"}, "decimal number"),
        ({"meter": "output_tokens", "model": "*", "device_class": "h200", "cost": "1"}, "Only replica seconds"),
        ({"cost_id": "cost_none", "margin_basis_points": "1"}, "Select a valid choice"),
    ],
)
def test_a_cost_that_makes_no_sense_is_refused(cast: Cast, ada: Client, body: dict[str, str], sentence: str) -> None:
    answer = ada.post("/admin/prices/costs", body)

    # The form of margins is shown where there is a cost to choose; its errors are errors of the page all the same.
    assert answer.status_code == 422
    shown = [*answer.context["cost_form"].errors.values(), *answer.context["margin_form"].errors.values()]
    assert sentence in str(shown)
    assert not UnitCost.objects.exists()


def test_a_margin_without_an_exact_price_names_the_nearest(cast: Cast, ada: Client) -> None:
    ada.post("/admin/prices/costs", {"meter": "replica_seconds", "model": "*", "cost": "0.000000000003"})

    answer = ada.post(
        "/admin/prices/costs", {"cost_id": UnitCost.objects.get().id, "margin_basis_points": "2500", "organization": ""}
    )

    assert answer.status_code == 422
    assert "The nearest that are: 0.000000000003 per replica second" in text_of(answer)


def test_a_minimum_is_set_from_a_month_on(cast: Cast, ada: Client) -> None:
    body = {"organization": "harbour", "amount": "500.00", "period": "2026-11"}

    answer = ada.post("/admin/prices/minimums", body)

    assert answer.status_code == 302
    made = MinimumCommitment.objects.get()
    assert (made.organization, made.pico) == (cast.alice.organization, 500 * 10**12)
    assert "500.00 USD" in text_of(ada.get("/admin/prices/minimums"))
    assert ada.post("/admin/prices/minimums", {**body, "period": "soon"}).status_code == 422
    assert ada.post("/admin/prices/minimums", {**body, "amount": "-5"}).status_code == 422


def test_a_dry_run_shows_the_difference_and_writes_nothing(cast: Cast, ada: Client) -> None:
    october(cast.alice.organization)
    before = set(Price.objects.values_list("id"))

    answer = ada.post(
        "/admin/prices/dry-run", {"period": "2026-10", "rows": "meter,model,price\noutput_tokens,*,1.20\n"}
    )

    found = answer.context["found"]
    assert answer.status_code == 200
    assert [one.organization.slug for one in found.differences] == ["harbour"]
    (total,) = found.totals
    assert total.difference_pico > 0
    assert f"{total.difference_pico:,}".replace(",", "\u202f") + " pico" in text_of(answer)
    assert set(Price.objects.values_list("id")) == before


def test_a_candidate_that_is_the_whole_list_leaves_the_rest_without_a_price(cast: Cast, ada: Client) -> None:
    october(cast.alice.organization)
    body = {"period": "2026-10", "laid": "whole", "rows": "meter,price\noutput_tokens,1\n"}

    answer = ada.post("/admin/prices/dry-run", body)

    assert "no price for Input tokens of" in text_of(answer)


def test_a_bad_candidate_says_which_row_in_one_sentence(cast: Cast, ada: Client) -> None:
    answer = ada.post("/admin/prices/dry-run", {"period": "2026-10", "rows": "meter,price\nsmiles,1\n"})

    assert answer.status_code == 422
    assert "Row 2: meter is one of input_tokens" in text_of(answer)


@pytest.mark.parametrize("page", ["", "/costs", "/minimums", "/dry-run"])
def test_the_pages_are_an_administrators_and_hold_no_inline_code(cast: Cast, ada: Client, page: str) -> None:
    stranger = Client()
    stranger.force_login(cast.alice.user)

    assert stranger.get(f"/admin/prices{page}").status_code == 404
    assert stranger.post(f"/admin/prices{page}", NEW_PRICE).status_code == 404
    assert inline_code(text_of(ada.get(f"/admin/prices{page}"))) == []
    assert not Price.objects.exists()
