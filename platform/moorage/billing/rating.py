"""Usage times the price in force: exact integers, pure, no rounding anywhere. The specification of rater.py, which
does the same to thousands of events at once in the database.

Cached input tokens are part of a request's input tokens; they are taken out of them and priced as their own meter.
A meter that counted nothing makes no line. At a graduated price a quantity is split where its month crosses into the
next tier.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from moorage.billing import tiers
from moorage.billing.models import Meter
from moorage.billing.price_book import FREE_STATES, PriceBook
from moorage.billing.tiers import Piece
from moorage.kernel.clock import Period
from moorage.kernel.currencies import USD

#: What may be without a price, and is free then.
OPTIONAL: Final = frozenset({Meter.REQUESTS})
#: Organization, price, and the beginning of the month in which the usage ended.
Counter = tuple[str, str, dt.datetime]
_NOTHING: Final[Mapping[Counter, int]] = MappingProxyType({})


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
    #: Of replica time, where it is known.
    state: str = ""
    device_class: str = ""
    #: What its organization pays in.
    currency: str = USD


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RatedLine:
    """One meter of a source at its price: ``amount_pico`` is ``quantity`` times ``pico_per_unit``."""

    source: Source
    meter: Meter
    quantity: int
    price_id: str
    currency: str
    pico_per_unit: int
    amount_pico: int
    #: Which tier it lies in, and which piece of a quantity that crosses tiers it is.
    tier: int = 0
    part: int = 0
    #: Whether the price is graduated, so that the quantity counts for what is rated next.
    is_graduated: bool = False

    @property
    def counter(self) -> Counter:
        """Which month's quantity of the price it adds to."""
        return (self.source.organization_id, self.price_id, Period.containing(self.source.ended_at).start)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NoPrice:
    """A source that cannot be rated: this meter of this served name has no price in its currency at its end."""

    source: Source
    meter: Meter


def request_quantities(*, input_tokens: int, cached_tokens: int, output_tokens: int) -> tuple[tuple[Meter, int], ...]:
    """What a request is charged for. One that used no token counts as none."""
    assert 0 <= cached_tokens <= input_tokens and output_tokens >= 0, "metering keeps the counts sane"
    return (
        (Meter.INPUT_TOKENS, input_tokens - cached_tokens),
        (Meter.CACHED_INPUT_TOKENS, cached_tokens),
        (Meter.OUTPUT_TOKENS, output_tokens),
        (Meter.REQUESTS, int(input_tokens + output_tokens > 0)),
    )


def rate(source: Source, book: PriceBook, used: Mapping[Counter, int] = _NOTHING) -> tuple[RatedLine, ...] | NoPrice:
    """The lines of ``source`` at the prices in force when it ended: all of them, or none where one has no price.
    ``used`` is what was rated of graduated prices before."""
    lines: list[RatedLine] = []
    for meter, quantity in source.quantities:
        if quantity == 0:
            continue
        price = book.in_force(
            meter=meter,
            served_name=source.served_name,
            currency=source.currency,
            moment=source.ended_at,
            organization_id=source.organization_id,
            state=source.state,
            device_class=source.device_class,
        )
        if price is None:
            if meter in OPTIONAL or source.state in FREE_STATES:
                continue
            return NoPrice(source=source, meter=meter)
        counter = (source.organization_id, price.id, Period.containing(source.ended_at).start)
        pieces: Iterable[Piece] = (Piece(tier=0, quantity=quantity, pico=price.pico_per_unit),)
        if price.tiers:
            pieces = tiers.split(price.tiers, used=used.get(counter, 0), quantity=quantity)
        lines += [
            RatedLine(
                source=source,
                meter=meter,
                quantity=piece.quantity,
                price_id=price.id,
                currency=price.currency,
                pico_per_unit=piece.pico,
                amount_pico=piece.quantity * piece.pico,
                tier=piece.tier,
                part=part,
                is_graduated=bool(price.tiers),
            )
            for part, piece in enumerate(pieces)
        ]
    return tuple(lines)


def counted(lines: Iterable[RatedLine]) -> dict[Counter, int]:
    """What ``lines`` add to the quantities of graduated prices."""
    added: dict[Counter, int] = {}
    for line in lines:
        if line.is_graduated:
            added[line.counter] = added.get(line.counter, 0) + line.quantity
    return added
