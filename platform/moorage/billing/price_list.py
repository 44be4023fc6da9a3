"""The price list as people read it: each scope with the price in force, what follows, and what was before."""

import dataclasses
import datetime as dt
from collections.abc import Iterable

from moorage.accounts.models import Organization
from moorage.billing import prices, tiers
from moorage.billing.models import MinimumCommitment, Price, UnitCost
from moorage.billing.price_book import PriceRow, ends


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PriceEntry:
    """The prices of one scope over time; the ``valid_to`` of each is when it ceases to be in force, as far as known."""

    meter: str
    model: str
    organization: Organization | None
    state: str
    device_class: str
    currency: str
    #: None where the only prices begin later, or have ended.
    in_force: Price | None
    #: What will follow, the next first.
    upcoming: tuple[Price, ...]
    #: What was in force before, the last first.
    history: tuple[Price, ...]

    @property
    def text(self) -> str:
        """The price in force, as people write it; empty where there is none."""
        return prices.text(self.meter, self.in_force.pico_per_unit) if self.in_force else ""

    @property
    def unit(self) -> str:
        """What it is the price of."""
        return prices.unit(self.meter)

    @property
    def key(self) -> str:
        """Orders the list: everybody's prices first, then those of each organization."""
        owner = self.organization.slug if self.organization else ""
        return " ".join((owner, self.meter, self.model, self.device_class, self.state, self.currency))


def price_list(*, now: dt.datetime) -> tuple[PriceEntry, ...]:
    """Every scope that has a price, with its history. Rows that only end another one show as its end."""
    grouped: dict[tuple[str, ...], list[Price]] = {}
    for price in Price.objects.select_related("organization", "cost").order_by("valid_from", "id"):
        grouped.setdefault(row_of(price).scope, []).append(price)
    entries = [_entry(rows, now) for rows in grouped.values()]
    return tuple(sorted(entries, key=lambda entry: entry.key))


def row_of(price: Price) -> PriceRow:
    """A price as rating sees it."""
    return PriceRow(
        id=price.id,
        meter=price.meter,
        model=price.model,
        pico_per_unit=price.pico_per_unit,
        valid_from=price.valid_from,
        currency=price.currency,
        organization_id=price.organization_id,
        state=price.state,
        device_class=price.device_class,
        valid_to=price.valid_to,
        tiers=tiers.of_json(price.tiers),
    )


def costs() -> tuple[UnitCost, ...]:
    """What units cost us, the latest of each kind first."""
    return tuple(UnitCost.objects.order_by("meter", "model", "device_class", "-valid_from", "-id"))


def minimums() -> tuple[MinimumCommitment, ...]:
    """All minimum commitments, by organization, the latest first."""
    rows = MinimumCommitment.objects.select_related("organization")
    return tuple(rows.order_by("organization__name", "-period_start", "-id"))


def _entry(rows: list[Price], now: dt.datetime) -> PriceEntry:
    lasting = zip(rows, ends([row_of(price) for price in rows]), strict=True)
    shown: list[Price] = []
    for price, end in lasting:
        if end is None or end > price.valid_from:
            price.valid_to = end
            shown.append(price)
    in_force = [
        price for price in shown if price.valid_from <= now and (price.valid_to is None or now < price.valid_to)
    ]
    first = rows[0]
    return PriceEntry(
        meter=first.meter,
        model=first.model,
        organization=first.organization,
        state=first.state,
        device_class=first.device_class,
        currency=first.currency,
        in_force=in_force[0] if in_force else None,
        upcoming=tuple(price for price in shown if price.valid_from > now),
        history=tuple(_before(shown, now)),
    )


def _before(shown: Iterable[Price], now: dt.datetime) -> list[Price]:
    return [price for price in shown if price.valid_to is not None and price.valid_to <= now][::-1]
