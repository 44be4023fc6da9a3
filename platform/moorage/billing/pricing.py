"""The price list's verbs: a change is a new price from a moment on, and never reaches usage that is rated already."""

import datetime as dt

from django.db import IntegrityError, transaction

from moorage.accounts import audit
from moorage.accounts.actor import MOORAGE, Actor
from moorage.billing import locks, prices
from moorage.billing.errors import InvalidPrice, PriceExists, PriceInThePast
from moorage.billing.models import Meter, Price, RatedUsage, UnratedUsage
from moorage.kernel import clock, patterns

#: What a new instance begins with, in USD per 1M tokens and per replica second (0.072 USD an hour).
DEFAULTS = {
    Meter.INPUT_TOKENS: "0.20",
    Meter.CACHED_INPUT_TOKENS: "0.05",
    Meter.OUTPUT_TOKENS: "0.60",
    Meter.REPLICA_SECONDS: "0.00002",
}
#: The default list is in force for any usage there can be.
_ALWAYS = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)


@transaction.atomic
def set_price(
    *,
    meter: Meter,
    model: str,
    pico_per_unit: int,
    by: Actor,
    valid_from: dt.datetime | None = None,
    note: str = "",
) -> Price:
    """A new price of ``meter`` for ``model`` (a served name, or a pattern with ``*``) from ``valid_from`` on (None:
    now). No existing row changes.

    Raises PriceInThePast when usage that this price would fit has been rated at or after ``valid_from``,
    PriceExists, and InvalidPrice for a price or a pattern that makes no sense.
    """
    pattern = model.strip()
    if not pattern or len(pattern) > 170 or pattern.count("*") > 8 or any(ord(letter) < 32 for letter in pattern):
        raise InvalidPrice("Name the model as clients do, or use a pattern such as demo/* or *.", param="model")
    if type(pico_per_unit) is not int or not prices.is_sensible(pico_per_unit):
        raise InvalidPrice("A price is between 0 and 1,000 USD a unit.", param="price")
    locks.change_prices()
    moment = valid_from or clock.now()
    _refuse_the_past(Meter(meter), pattern, moment)
    try:
        with transaction.atomic():
            price = Price.objects.create(
                meter=meter,
                model=pattern,
                currency=prices.CURRENCY,
                pico_per_unit=pico_per_unit,
                valid_from=moment,
                created_by=by.label[:80],
                note=note.strip()[:200],
            )
    except IntegrityError as error:
        raise PriceExists from error
    # Whatever waits for this price is looked at at once.
    UnratedUsage.objects.filter(unpriced_meter=str(meter)).update(due_at=clock.now())
    audit.record(
        organization=None,
        by=by,
        action="price.set",
        subject=price.id,
        detail={
            "meter": str(meter),
            "model": pattern,
            "price": prices.text(meter, pico_per_unit),
            "per": prices.unit(meter),
            "valid_from": moment.isoformat(),
        },
    )
    return price


def ensure_default_prices() -> int:
    """The default price list where a meter has no price at all; how many were added. Safe to call at every start."""
    return len(seed_prices(by=MOORAGE))


@transaction.atomic
def seed_prices(*, by: Actor) -> tuple[Price, ...]:
    """A price for every model, of each meter that has no price at all, in force for any usage there can be."""
    locks.change_prices()
    known = set(Price.objects.values_list("meter", flat=True))
    return tuple(
        set_price(
            meter=meter,
            model="*",
            pico_per_unit=prices.parse(meter, amount),
            valid_from=_ALWAYS,
            by=by,
            note="default price list",
        )
        for meter, amount in DEFAULTS.items()
        if meter not in known
    )


def _refuse_the_past(meter: Meter, pattern: str, moment: dt.datetime) -> None:
    rated = RatedUsage.objects.filter(meter=meter, ended_at__gte=moment)
    if "*" not in pattern:
        rated = rated.filter(served_name=pattern)
    names = rated.order_by().values_list("served_name", flat=True).distinct()
    if any(patterns.matches(pattern, name) for name in names.iterator()):
        raise PriceInThePast(
            f"Usage of {pattern} was already rated after {moment:%Y-%m-%d %H:%M} UTC, and rated usage is never changed."
            " Choose a later beginning.",
            param="valid_from",
        )
