"""Usage times the price in force: exact integers, pure, no rounding anywhere.

Cached input tokens are part of a request's input tokens; they are taken out of them and priced as their own meter.
A meter that counted nothing makes no line.
"""

import dataclasses
import datetime as dt

from moorage.billing.models import Meter
from moorage.billing.prices import PriceBook


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """A measured fact to rate: one request, or one interval of replica time."""

    id: str
    organization_id: str
    deployment_id: str
    revision_id: str
    key_id: str
    served_name: str
    ended_at: dt.datetime
    quantities: tuple[tuple[Meter, int], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RatedLine:
    """One meter of a source at its price: ``amount_pico`` is ``quantity`` times the price of a unit."""

    source: Source
    meter: Meter
    quantity: int
    price_id: str
    currency: str
    amount_pico: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NoPrice:
    """A source that cannot be rated: this meter of this served name has no price at its end."""

    source: Source
    meter: Meter


def request_quantities(*, input_tokens: int, cached_tokens: int, output_tokens: int) -> tuple[tuple[Meter, int], ...]:
    """What a request is charged for."""
    assert 0 <= cached_tokens <= input_tokens and output_tokens >= 0, "metering keeps the counts sane"
    return (
        (Meter.INPUT_TOKENS, input_tokens - cached_tokens),
        (Meter.CACHED_INPUT_TOKENS, cached_tokens),
        (Meter.OUTPUT_TOKENS, output_tokens),
    )


def rate(source: Source, book: PriceBook) -> tuple[RatedLine, ...] | NoPrice:
    """The lines of ``source`` at the prices in force when it ended: all of them, or none where one has no price."""
    lines = []
    for meter, quantity in source.quantities:
        if quantity == 0:
            continue
        price = book.in_force(meter=meter, served_name=source.served_name, moment=source.ended_at)
        if price is None:
            return NoPrice(source=source, meter=meter)
        lines.append(
            RatedLine(
                source=source,
                meter=meter,
                quantity=quantity,
                price_id=price.id,
                currency=price.currency,
                amount_pico=quantity * price.pico_per_unit,
            )
        )
    return tuple(lines)
