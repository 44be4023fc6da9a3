"""Which price is in force: pure.

Of the prices in the currency that is asked for that fit, an organization's own wins, then the most specific model, then
device class, then state. Within such a scope a price lasts until the next one begins, or until its own end; what
follows then is the next best scope.
"""

import bisect
import dataclasses
import datetime as dt
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from moorage.billing.tiers import Tier
from moorage.kernel.currencies import USD
from moorage.kernel.patterns import matches, specificity

#: States in which a replica cannot answer: free where no price names them. A price without a state means the others.
FREE_STATES: Final = frozenset({"pull", "load", "frozen"})
#: Kinds of usage whose prices a book remembers.
_MOST_REMEMBERED: Final = 200_000


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class PriceRow:
    """A price as rating sees it. ``model`` is a served name, or a pattern in which ``*`` stands for anything."""

    id: str
    meter: str
    model: str
    #: The rate; of a graduated price the dearest one.
    pico_per_unit: int
    valid_from: dt.datetime
    currency: str = USD
    #: Whose alone it is; None: everybody's.
    organization_id: str | None = None
    #: Of replica seconds; an empty state means every one in which a replica can answer, an empty class any.
    state: str = ""
    device_class: str = ""
    valid_to: dt.datetime | None = None
    tiers: tuple[Tier, ...] = ()

    @property
    def scope(self) -> tuple[str, str, str, str, str, str]:
        """What it prices, and in what."""
        return (self.meter, self.organization_id or "", self.model, self.device_class, self.state, self.currency)


class Priced(NamedTuple):
    """What is to be priced, but for when and how much."""

    meter: str
    served_name: str
    #: Whose usage it is pays in this; a price in another is none.
    currency: str
    organization_id: str = ""
    state: str = ""
    device_class: str = ""


#: A price and when it ceases to be in force.
_Lasting = tuple[PriceRow, dt.datetime | None]


def ends(rows: list[PriceRow]) -> list[dt.datetime | None]:
    """Puts the rows of one scope in their order and says when each ceases to be in force: where the next one begins, or
    at its own end."""
    rows.sort(key=lambda row: (row.valid_from, row.id))
    nexts = [row.valid_from for row in rows[1:]]
    return [
        min((end for end in (row.valid_to, following) if end is not None), default=None)
        for row, following in zip(rows, [*nexts, None], strict=True)
    ]


class PriceBook:
    """All prices, and the question which one is in force."""

    def __init__(self, rows: Iterable[PriceRow]) -> None:
        scopes: dict[tuple[str, str, str, str, str, str], list[PriceRow]] = {}
        for row in rows:
            scopes.setdefault(row.scope, []).append(row)
        self._by_owner: dict[tuple[str, str, str], list[_Lasting]] = {}
        for found in scopes.values():
            first = found[0]
            owned = self._by_owner.setdefault((first.meter, first.organization_id or "", first.currency), [])
            owned.extend(zip(found, ends(found), strict=True))
        for owned in self._by_owner.values():
            owned.sort(key=lambda lasting: _rank(lasting[0]), reverse=True)
        self.currencies: Final = frozenset(currency for _, _, currency in self._by_owner)
        self._candidates: dict[Priced, tuple[list[_Lasting], list[dt.datetime]]] = {}

    def in_force(
        self,
        *,
        meter: str,
        served_name: str,
        currency: str,
        moment: dt.datetime,
        organization_id: str = "",
        state: str = "",
        device_class: str = "",
    ) -> PriceRow | None:
        """The price of one unit at ``moment``; None where nothing fits."""
        what = Priced(
            meter=meter,
            served_name=served_name,
            currency=currency,
            organization_id=organization_id,
            state=state,
            device_class=device_class,
        )
        return self._at(self._fitting(what)[0], moment)

    def is_listed(self, meter: str, currency: str, moment: dt.datetime) -> bool:
        """Whether a price of everybody's in ``currency`` is in force for some model at ``moment``."""
        return self._at(self._by_owner.get((meter, "", currency), []), moment) is not None

    def intervals(
        self, what: Priced, *, first: dt.datetime, last: dt.datetime
    ) -> Iterator[tuple[dt.datetime, PriceRow | None]]:
        """The price at ``first``, and at each moment until ``last`` (inclusive) at which another one comes into force:
        each lasts until the next one's beginning."""
        rows, edges = self._fitting(what)
        before = self._at(rows, first)
        yield first, before
        for moment in edges[bisect.bisect_right(edges, first) : bisect.bisect_right(edges, last)]:
            found = self._at(rows, moment)
            if found is not before:
                yield moment, found
            before = found

    @staticmethod
    def _at(rows: Iterable[_Lasting], moment: dt.datetime) -> PriceRow | None:
        for row, end in rows:
            if row.valid_from <= moment and (end is None or moment < end):
                return row
        return None

    def _fitting(self, what: Priced) -> tuple[list[_Lasting], list[dt.datetime]]:
        """The prices that fit, the best first, and every moment at which one begins or ends, in their order."""
        found = self._candidates.get(what)
        if found is None:
            owner = (what.meter, what.organization_id, what.currency)
            own = self._by_owner.get(owner, []) if what.organization_id else []
            listed = self._by_owner.get((what.meter, "", what.currency), [])
            rows = [each for each in (*own, *listed) if _fits(each[0], what)]
            edges = sorted({edge for row, end in rows for edge in (row.valid_from, end) if edge is not None})
            if len(self._candidates) >= _MOST_REMEMBERED:
                self._candidates.clear()
            found = self._candidates[what] = (rows, edges)
        return found


def _fits(row: PriceRow, what: Priced) -> bool:
    return (
        matches(row.model, what.served_name)
        and (row.state == what.state or (not row.state and what.state not in FREE_STATES))
        and (not row.device_class or matches(row.device_class, what.device_class))
    )


def _rank(row: PriceRow) -> tuple[object, ...]:
    """Greater comes first: the more specific, then the later."""
    device = (row.device_class != "", *specificity(row.device_class))
    return (*specificity(row.model), *device, row.state != "", row.state, row.valid_from, row.id)
