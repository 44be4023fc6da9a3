"""The price list: a change is a new price, in units that people use, and never reaches what is rated."""

import pytest
from django.test import Client

from moorage.billing import rater
from moorage.billing.models import Price, RatedUsage
from tests.billing.measured import NOON, use
from tests.cast import Cast
from tests.console.usage_rows import october

NEW_PRICE = {"meter": "output_tokens", "model": "demo/*", "price": "0.75", "valid_from": "", "note": "dearer"}


@pytest.fixture
def ada(cast: Cast) -> Client:
    """The administrator's browser."""
    client = Client()
    client.force_login(cast.ada)
    return client


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
