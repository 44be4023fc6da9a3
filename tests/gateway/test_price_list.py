"""The gateway's prices are billing's: the same price at the same moment, and a hold that is enough."""

import datetime as dt

from hypothesis import given
from hypothesis import strategies as st

from moorage.billing.prices import PriceBook, PriceRow
from moorage.gateway.price_list import PriceList
from moorage.wire.records import PriceGrant

METERS = ("input_tokens", "cached_input_tokens", "output_tokens", "requests")
ORGANIZATION = "org_harbour"
NAME = "harbour/pilot"
HOUR = 3600
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)

prices = st.lists(
    st.builds(
        PriceGrant,
        id=st.text("abc", min_size=1, max_size=3),
        meter=st.sampled_from(METERS),
        model=st.sampled_from(["*", "harbour/*", "harbour/pilot", "*/pilot", "other/*", "h*r/p*t"]),
        pico_per_unit=st.integers(0, 1000),
        valid_from_us=st.integers(0, 10 * HOUR).map(lambda seconds: seconds * 1_000_000),
        valid_to_us=st.none() | st.integers(0, 12 * HOUR).map(lambda seconds: seconds * 1_000_000),
        organization_id=st.sampled_from(["", "", ORGANIZATION, "org_island"]),
        currency=st.sampled_from(["EUR", "EUR", "USD"]),
    ),
    max_size=12,
    unique_by=lambda price: (price.meter, price.model, price.organization_id, price.currency, price.valid_from_us),
)
currencies = st.sampled_from(["EUR", "USD", "CHF"])


def book(found: list[PriceGrant]) -> PriceBook:
    return PriceBook(
        PriceRow(
            id=price.id,
            meter=price.meter,
            model=price.model,
            pico_per_unit=price.pico_per_unit,
            valid_from=_EPOCH + dt.timedelta(microseconds=price.valid_from_us),
            valid_to=None if price.valid_to_us is None else _EPOCH + dt.timedelta(microseconds=price.valid_to_us),
            organization_id=price.organization_id or None,
            currency=price.currency,
        )
        for price in found
    )


def billed(found: list[PriceGrant], meter: str, at: float, currency: str = "EUR") -> int:
    row = book(found).in_force(
        meter=meter,
        served_name=NAME,
        currency=currency,
        moment=_EPOCH + dt.timedelta(seconds=at),
        organization_id=ORGANIZATION,
    )
    return row.pico_per_unit if row is not None else 0


@given(found=prices, at=st.integers(0, 12 * HOUR), currency=currencies)
def test_a_token_costs_what_billing_says_in_the_organizations_currency(
    found: list[PriceGrant], at: int, currency: str
) -> None:
    quote = PriceList(found).quote(NAME, at, ORGANIZATION, currency)

    charged = (quote.input, quote.cached, quote.output, quote.request)
    assert charged == tuple(billed(found, meter, at, currency) for meter in METERS)


@given(found=prices, at=st.integers(0, 12 * HOUR), currency=currencies)
def test_prices_of_other_currencies_change_nothing(found: list[PriceGrant], at: int, currency: str) -> None:
    own = [price for price in found if price.currency == currency]

    assert PriceList(found).quote(NAME, at, ORGANIZATION, currency) == PriceList(own).quote(
        NAME, at, ORGANIZATION, currency
    )


@given(found=prices, at=st.integers(0, 12 * HOUR), later=st.integers(0, HOUR))
def test_a_hold_is_enough_for_whatever_ends_within_the_hour(found: list[PriceGrant], at: int, later: int) -> None:
    quote = PriceList(found).quote(NAME, at, ORGANIZATION, "EUR")

    assert quote.most_input >= max(billed(found, meter, at + later) for meter in METERS[:2])
    assert quote.most_output >= billed(found, "output_tokens", at + later)
    assert quote.most_request >= billed(found, "requests", at + later)


@given(found=prices, at=st.integers(0, 12 * HOUR), later=st.integers(0, 12 * HOUR))
def test_a_quote_is_good_until_it_says(found: list[PriceGrant], at: int, later: int) -> None:
    quote = PriceList(found).quote(NAME, at, ORGANIZATION, "EUR")

    if at + later < quote.until:
        assert PriceList(found).quote(NAME, at + later, ORGANIZATION, "EUR")[:5] == quote[:5]


def test_what_has_no_price_costs_nothing() -> None:
    quote = PriceList().quote(NAME, 0.0)

    assert quote[:5] == (0, 0, 0, 0, 0)
    assert quote.until == float("inf")


def test_a_price_of_another_organization_is_no_price() -> None:
    price = PriceGrant(
        id="a", meter="output_tokens", model="*", pico_per_unit=5, valid_from_us=0, organization_id="org_island"
    )

    assert PriceList([price]).quote(NAME, 1.0, ORGANIZATION).output == 0
    assert PriceList([price]).quote(NAME, 1.0, "org_island").output == 5
