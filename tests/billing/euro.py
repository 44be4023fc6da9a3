"""An organization that pays in euro, for billing's tests: prices in both currencies, those in dollars far from them."""

import datetime as dt

from moorage.accounts.actor import MOORAGE
from moorage.accounts.models import Organization
from moorage.billing import currencies, prices, pricing
from moorage.billing.models import Meter
from tests.billing.measured import OCTOBER

#: In euro as the default list in dollars; the test that mixes them up sees another sum.
EUROS = {
    Meter.INPUT_TOKENS: "0.30",
    Meter.CACHED_INPUT_TOKENS: "0.10",
    Meter.OUTPUT_TOKENS: "0.70",
    Meter.REPLICA_SECONDS: "0.00003",
}


def price_in(currency: str, *, since: dt.datetime = OCTOBER.start - dt.timedelta(days=365)) -> None:
    """A generally valid price of everything in ``currency``."""
    for meter, text in EUROS.items():
        pricing.set_price(
            meter=meter,
            model="*",
            pico_per_unit=prices.parse(meter, text),
            currency=currency,
            valid_from=since,
            by=MOORAGE,
        )


def pay_in(organization: Organization, currency: str = "EUR") -> None:
    """From now on the organization pays in ``currency``, in which everything has a price."""
    price_in(currency)
    currencies.set_currency(organization=organization, currency=currency, reason="They asked.", by=MOORAGE)
