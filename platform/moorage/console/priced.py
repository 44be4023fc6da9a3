"""Meters, prices and priced lines as people read them."""

import dataclasses

from moorage.accounts.models import Organization
from moorage.billing import prices, tiers
from moorage.billing.models import Meter, Price, RatedUsage, ReplicaState


def meter_words(meter: str) -> str:
    """``Output tokens``."""
    return str(Meter(meter).label) if meter in Meter.values else meter.replace("_", " ").capitalize()


def price_words(meter: str, pico_per_unit: int, currency: str) -> str:
    """``0.60 USD per 1M tokens``, ``0.00002 USD per replica second``: exact."""
    return f"{prices.text(meter, pico_per_unit)} {currency} per {prices.unit(meter)}"


def hour_words(meter: str, pico_per_unit: int, currency: str) -> str:
    """The same by the hour, ``0.072 USD per replica hour``, where that is how people compare; else empty."""
    if meter != Meter.REPLICA_SECONDS:
        return ""
    return f"{prices.text_per_hour(pico_per_unit)} {currency} per replica hour"


def tier_words(price: Price) -> tuple[str, ...]:
    """``from 1,000,000: 0.25`` for each step of a graduated price; nothing for any other."""
    return tuple(f"from {tier.begins:,}: {prices.text(price.meter, tier.pico)}" for tier in tiers.of_json(price.tiers))


def scope_words(*, organization: Organization | None, state: str, device_class: str) -> str:
    """What a price is of besides meter and model: ``Harbour, idle, h200*``."""
    parts = (
        organization.name if organization else "",
        ReplicaState(state).label.lower() if state else "",
        device_class,
    )
    return ", ".join(part for part in parts if part)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Charge:
    """One meter of a request: quantity × price = amount."""

    meter: str
    quantity: int
    price: Price
    price_text: str
    amount_pico: int
    currency: str


def charge(line: RatedUsage) -> Charge:
    """A rated line in words."""
    return Charge(
        meter=meter_words(line.meter),
        quantity=line.quantity,
        price=line.price,
        price_text=price_words(line.meter, line.pico_per_unit, line.currency),
        amount_pico=int(line.amount_pico),
        currency=line.currency,
    )
