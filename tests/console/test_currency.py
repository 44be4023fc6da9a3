"""What an organization pays in, in the console: an administrator's page, and every label by organization."""

from django.test import Client

from moorage.accounts.models import Organization
from moorage.billing import rater
from moorage.billing.models import Price
from tests.billing.euro import pay_in, price_in
from tests.billing.measured import price_list, use
from tests.cast import Cast
from tests.console.pages import text_of

PAGE = "/admin/organizations/harbour/currency"


def test_the_currency_is_set_with_a_reason(ada: Client, cast: Cast) -> None:
    price_list()
    price_in("EUR")

    page = text_of(ada.get(PAGE))
    nameless = ada.post(PAGE, {"wanted": "EUR", "reason": ""})
    answer = ada.post(PAGE, {"wanted": "EUR", "reason": "Rotterdam."}, follow=True)

    assert "Harbour pays in USD" in page and '<option value="EUR">' in page
    assert nameless.status_code == 422
    assert "Harbour pays in EUR from now on." in text_of(answer)
    assert Organization.objects.get(slug="harbour").currency == "EUR"


def test_what_stands_in_the_way_is_said_instead_of_the_form(ada: Client, cast: Cast) -> None:
    price_list()
    price_in("EUR")
    use(cast.alice.organization)
    rater.rate_all()

    page = text_of(ada.get(PAGE))
    refused = ada.post(PAGE, {"wanted": "EUR", "reason": "They asked."})

    assert "usage was charged to it" in page and "Set the currency" not in page
    assert refused.status_code == 422 and "pays in USD for good" in text_of(refused)


def test_no_page_of_a_euro_organization_speaks_of_dollars(
    alice: Client, ada: Client, cast: Cast, settings: object
) -> None:
    settings.MOORAGE_FOUR_EYES_PICO = 10**12  # type: ignore[attr-defined]
    price_list()
    pay_in(cast.alice.organization)
    use(cast.alice.organization)
    rater.rate_all()

    own = ("wallet", "limits", "statement?period=2026-10")
    theirs = ("credit", "limits", "top-ups", "wallet", "currency")
    pages = {f"/harbour/{path}": alice for path in own} | {f"/admin/organizations/harbour/{one}": ada for one in theirs}
    pages["/admin/organizations/harbour?period=2026-10"] = ada

    for path, browser in pages.items():
        answer = browser.get(path)
        assert answer.status_code == 200, path
        assert "EUR" in text_of(answer) and "USD" not in text_of(answer), path


def test_a_price_is_written_in_a_currency(ada: Client, cast: Cast) -> None:
    form = {"meter": "output_tokens", "model": "demo/*", "price": "0.75", "valid_from": ""}

    ada.post("/admin/prices", {**form, "currency": "EUR"})
    ada.post("/admin/prices", form)

    assert sorted(Price.objects.values_list("currency", flat=True)) == ["EUR", "USD"]
    page = text_of(ada.get("/admin/prices"))
    assert "0.75 EUR per 1M tokens" in page and "0.75 USD per 1M tokens" in page


def test_sums_of_two_currencies_are_never_added(ada: Client, cast: Cast) -> None:
    price_list()
    pay_in(cast.alice.organization)
    for person in (cast.alice, cast.charlie):
        use(person.organization, tokens=(0, 0, 1_000_000))
    rater.rate_all()

    answer = ada.get("/admin/organizations?period=2026-10")
    margin = ada.get("/admin/margin?period=2026-10&currency=EUR")

    assert answer.context["totals"] == (("EUR", 700_000_000_000), ("USD", 600_000_000_000))
    assert "0.70 EUR" in text_of(answer) and "0.60 USD" in text_of(answer) and "1.30" not in text_of(answer)
    assert margin.context["total"].row.revenue_pico == 700_000_000_000
    assert ada.get("/admin/margin?currency=JPY").status_code == 404
