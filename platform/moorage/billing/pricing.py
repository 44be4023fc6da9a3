"""The price list's verbs: a change is a new price from a moment on, and never reaches usage that is rated already.

Ending a price is a row too: one that is never in force and only ends what was before it in its scope. Costs, which
prices can be made of, are set here as well; each change is a new row with an audit entry.
"""

import datetime as dt
from collections.abc import Sequence
from typing import Final

from django.conf import settings
from django.db import IntegrityError, transaction

from moorage.accounts import audit
from moorage.accounts.actor import MOORAGE, Actor
from moorage.accounts.models import Organization
from moorage.billing import locks, prices, tiers
from moorage.billing.errors import InvalidPrice, PriceExists, PriceNotFound
from moorage.billing.models import (
    Meter,
    Price,
    UnitCost,
    UnratedUsage,
)
from moorage.billing.price_scope import Scope, refuse_the_past
from moorage.billing.tiers import Tier
from moorage.kernel import clock

#: What a new instance begins with, per 1M tokens and per replica second (0.072 an hour), in what it charges in.
DEFAULTS: Final = {
    Meter.INPUT_TOKENS: "0.20",
    Meter.CACHED_INPUT_TOKENS: "0.05",
    Meter.OUTPUT_TOKENS: "0.60",
    Meter.REPLICA_SECONDS: "0.00002",
}
#: The default list is in force for any usage there can be.
_ALWAYS: Final = dt.datetime(2020, 1, 1, tzinfo=dt.UTC)
#: A margin is between giving it away and a hundredfold.
_MARGINS: Final = range(-10_000, 1_000_001)


@transaction.atomic
def set_price(
    *,
    meter: Meter,
    model: str,
    pico_per_unit: int,
    by: Actor,
    valid_from: dt.datetime | None = None,
    note: str = "",
    organization: Organization | None = None,
    state: str = "",
    device_class: str = "",
    graduated: Sequence[Tier] = (),
    valid_to: dt.datetime | None = None,
    currency: str = "",
) -> Price:
    """A new price of ``meter`` for ``model`` (a served name, or a pattern with ``*``) from ``valid_from`` on (None:
    now), until ``valid_to`` or the next price of the same scope. No existing row changes. ``currency`` left out is what
    ``organization`` pays in, of everybody's price MOORAGE_CURRENCY; whoever pays in another is not reached by it.

    ``graduated`` is by the quantity of an organization's month; then ``pico_per_unit`` is not looked at, and the row
    has the dearest rate. Raises PriceInThePast when usage that this price would fit has been rated at or after
    ``valid_from``, PriceExists, and InvalidPrice for a price or a scope that makes no sense.
    """
    scope = Scope(
        meter=meter,
        model=model,
        organization=organization,
        state=state,
        device_class=device_class,
        currency=currency,
    )
    return _set(
        scope.checked(), pico=pico_per_unit, graduated=graduated, begins=valid_from, ends=valid_to, by=by, note=note
    )


@transaction.atomic
def set_price_over_cost(
    *,
    cost: UnitCost,
    margin_basis_points: int,
    by: Actor,
    valid_from: dt.datetime | None = None,
    note: str = "",
    organization: Organization | None = None,
    state: str = "",
) -> Price:
    """A new price of what ``cost`` is of, at that cost and a margin in hundredths of a percent over it. The price stays
    when the cost changes: set it anew then. Raises what set_price does, and InvalidPrice naming the nearest exact
    prices where there is no exact one."""
    if margin_basis_points not in _MARGINS:
        raise InvalidPrice("A margin is between -10,000 and 1,000,000 basis points.", param="margin_basis_points")
    scope = Scope(
        meter=Meter(cost.meter),
        model=cost.model,
        organization=organization,
        state=state,
        device_class=cost.device_class,
        currency=cost.currency,
    )
    pico = prices.over_cost(cost.meter, cost.pico_per_unit, margin_basis_points)
    return _set(scope.checked(), pico=pico, begins=valid_from, by=by, note=note, cost=cost, margin=margin_basis_points)


@transaction.atomic
def end_price(*, price: Price, by: Actor, at: dt.datetime | None = None, note: str = "") -> Price:
    """Ends the price of ``price``'s scope at a moment (None: now); from then on the next best price counts, if there is
    one. A new row says so. Raises PriceInThePast and PriceExists."""
    moment = at or clock.now()
    scope = Scope(
        meter=Meter(price.meter),
        model=price.model,
        organization=price.organization,
        state=price.state,
        device_class=price.device_class,
        currency=price.currency,
    )
    return _set(scope, pico=0, begins=moment, ends=moment, by=by, note=note)


def price_by_id(price_id: str) -> Price:
    """One price. Raises PriceNotFound."""
    found = Price.objects.select_related("organization", "cost").filter(pk=price_id).first()
    if found is None:
        raise PriceNotFound
    return found


def cost_by_id(cost_id: str) -> UnitCost:
    """One cost. Raises PriceNotFound."""
    found = UnitCost.objects.filter(pk=cost_id).first()
    if found is None:
        raise PriceNotFound("There is no such cost here. Check the id.", param="cost")
    return found


@transaction.atomic
def set_cost(
    *,
    meter: Meter,
    model: str,
    pico_per_unit: int,
    by: Actor,
    device_class: str = "",
    valid_from: dt.datetime | None = None,
    note: str = "",
    currency: str = "",
) -> UnitCost:
    """What a unit costs us from a moment on (None: now), in MOORAGE_CURRENCY unless told otherwise. No price changes
    with it. Raises InvalidPrice, PriceExists."""
    scope = Scope(meter=meter, model=model, device_class=device_class, currency=currency).checked()
    _refuse_nonsense(pico_per_unit)
    try:
        with transaction.atomic():
            cost = UnitCost.objects.create(
                meter=meter,
                model=scope.model,
                device_class=scope.device_class,
                currency=scope.currency,
                pico_per_unit=pico_per_unit,
                valid_from=valid_from or clock.now(),
                created_by=by.label[:80],
                note=note.strip()[:200],
            )
    except IntegrityError as error:
        raise PriceExists("There is already a cost of this that begins at this moment.") from error
    detail = _words(scope, pico_per_unit, cost.valid_from)
    audit.record(organization=None, by=by, action="cost.set", subject=cost.id, detail=detail)
    return cost


def ensure_default_prices() -> int:
    """The default price list where a meter has no price at all in MOORAGE_CURRENCY; how many were added. Safe to call
    at every start."""
    return len(seed_prices(by=MOORAGE))


@transaction.atomic
def seed_prices(*, by: Actor) -> tuple[Price, ...]:
    """A price for every model, of each meter that has no price at all in MOORAGE_CURRENCY, in force for any usage
    there can be."""
    locks.change_prices()
    known = set(Price.objects.filter(currency=settings.MOORAGE_CURRENCY).values_list("meter", flat=True))
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


def _set(
    scope: Scope,
    *,
    pico: int,
    begins: dt.datetime | None,
    by: Actor,
    note: str,
    graduated: Sequence[Tier] = (),
    ends: dt.datetime | None = None,
    cost: UnitCost | None = None,
    margin: int | None = None,
) -> Price:
    tiers.check(graduated)
    for rate in [tier.pico for tier in graduated] or [pico]:
        _refuse_nonsense(rate)
    locks.change_prices()
    moment = begins or clock.now()
    if ends is not None and ends < moment:
        raise InvalidPrice("A price ends after it begins.", param="valid_to")
    refuse_the_past(scope, moment)
    rate = tiers.dearest(graduated) if graduated else pico
    try:
        with transaction.atomic():
            price = Price.objects.create(
                meter=scope.meter,
                model=scope.model,
                organization=scope.organization,
                state=scope.state,
                device_class=scope.device_class,
                currency=scope.currency,
                pico_per_unit=rate,
                tiers=tiers.as_json(graduated),
                valid_from=moment,
                valid_to=ends,
                cost=cost,
                margin_basis_points=margin,
                created_by=by.label[:80],
                note=note.strip()[:200],
            )
    except IntegrityError as error:
        raise PriceExists from error
    # Whatever waits for this price is looked at at once.
    UnratedUsage.objects.filter(unpriced_meter=str(scope.meter)).update(due_at=clock.now())
    detail = _words(scope, rate, moment)
    if graduated:
        detail["tiers"] = price.tiers
    if ends is not None:
        detail["valid_to"] = ends.isoformat()
    if cost is not None:
        detail |= {"cost": cost.id, "margin_basis_points": margin}
    audit.record(
        organization=scope.organization,
        by=by,
        action="price.ended" if ends == moment else "price.set",
        subject=price.id,
        detail=detail,
    )
    return price


def _words(scope: Scope, pico: int, moment: dt.datetime) -> dict[str, object]:
    found: dict[str, object] = {
        "meter": str(scope.meter),
        "model": scope.model,
        "price": prices.text(scope.meter, pico),
        "currency": scope.currency,
        "per": prices.unit(scope.meter),
        "valid_from": moment.isoformat(),
    }
    return found | {
        name: value for name, value in (("state", scope.state), ("device_class", scope.device_class)) if value
    }


def _refuse_nonsense(pico: int) -> None:
    if type(pico) is not int or not prices.is_sensible(pico):
        raise InvalidPrice("A price is between 0 and 1,000 a unit.", param="price")
