"""What a month would have come to with another price list. Reads, computes, writes nothing.

A month is re-rated from sums, not from events: between two moments at which a price changes all usage of a kind costs
the same, and what a graduated price comes to depends on the month's quantity alone. So the result is exact.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from django.db import connection
from django.db.models import Count, Q, Sum

from moorage.accounts.models import Organization
from moorage.billing import candidates, prices, rater, rating, tiers
from moorage.billing.models import Meter, MinimumCommitment, RatedUsage, UnratedUsage
from moorage.billing.price_book import FREE_STATES, PriceBook, PriceRow
from moorage.kernel.clock import Period

_REQUESTS: Final = """
SELECT organization_id, served_name, '', '', width_bucket(ended_at, %(edges)s::timestamptz[]),
       sum(input_tokens - cached_tokens), sum(cached_tokens), sum(output_tokens),
       count(*) FILTER (WHERE input_tokens + output_tokens > 0), 0
  FROM usage_event WHERE ended_at >= %(start)s AND ended_at < %(end)s
 GROUP BY 1, 2, 5
"""
_TIMES: Final = """
SELECT u.organization_id,
       CASE WHEN jsonb_typeof(r.pins -> u.model_key -> 'served_name') = 'string'
                 AND r.pins -> u.model_key ->> 'served_name' <> ''
            THEN r.pins -> u.model_key ->> 'served_name' ELSE u.model_key END,
       u.state, u.device_class, width_bucket(u.ended_at, %(edges)s::timestamptz[]), 0, 0, 0, 0, sum(u.seconds)
  FROM replica_usage u LEFT JOIN revision r ON r.id = u.revision_id
 WHERE u.ended_at >= %(start)s AND u.ended_at < %(end)s
 GROUP BY 1, 2, 3, 4, 5
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UsageSum:
    """Usage of one kind that ended while no price changed: from ``since`` on."""

    organization_id: str
    #: What the organization pays in.
    currency: str
    served_name: str
    state: str
    device_class: str
    since: dt.datetime
    quantities: tuple[tuple[Meter, int], ...]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Rerated:
    """What usage comes to by a price list."""

    #: By organization id.
    pico: dict[str, int]
    #: Meter and served name of what has no price in it, by organization id.
    unpriced: dict[str, frozenset[tuple[str, str]]]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One organization's month: as it was rated, and by the candidate; each with what is missing to the minimum."""

    organization: Organization
    rated_pico: int
    candidate_pico: int
    #: The least that was agreed on for the month; 0: nothing.
    minimum_pico: int
    #: Measured facts of the month that are not rated yet: in the candidate's amount alone.
    waiting: int
    #: Meter and served name of what has no price in the candidate, in no amount.
    unpriced: tuple[tuple[str, str], ...]

    @property
    def currency(self) -> str:
        """What its amounts are in."""
        return self.organization.currency

    @property
    def difference_pico(self) -> int:
        """What the candidate adds; negative: what it takes away."""
        return self.candidate_pico - self.rated_pico


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """What all who pay in one currency came to, and would come to."""

    currency: str
    rated_pico: int
    candidate_pico: int

    @property
    def difference_pico(self) -> int:
        """What the candidate adds; negative: what it takes away."""
        return self.candidate_pico - self.rated_pico


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class DryRun:
    """A month re-rated, the greatest difference first."""

    period: Period
    differences: tuple[Difference, ...]

    @property
    def totals(self) -> tuple[Total, ...]:
        """Each currency's own: amounts of two currencies are never added."""
        return tuple(
            Total(
                currency=currency,
                rated_pico=sum(one.rated_pico for one in self.differences if one.currency == currency),
                candidate_pico=sum(one.candidate_pico for one in self.differences if one.currency == currency),
            )
            for currency in sorted({one.currency for one in self.differences})
        )


def run(*, period: Period, text: str, is_whole: bool = False) -> DryRun:
    """Re-rates the usage that ended in ``period`` with the candidate in ``text`` (CSV or JSON, see candidates.py) laid
    over the present list; ``is_whole``: with nothing but the candidate. Raises CandidateInvalid with the row."""
    organizations = list(Organization.objects.all())
    known = {name: one for one in organizations for name in (one.slug, one.pk)}
    rows = candidates.parse(text, organizations=known, begins=period.start)
    if not is_whole:
        rows = candidates.over(rater.price_rows(), rows)
    paid_in = {one.pk: one.currency for one in organizations}
    rerated = rerate(_sums(period, rows, paid_in), PriceBook(rows))
    month = Q(ended_at__gte=period.start, ended_at__lt=period.end)
    by_organization = RatedUsage.objects.filter(month).order_by().values_list("organization_id")
    rated = dict(by_organization.annotate(pico=Sum("amount_pico")))
    least = _minimums(period)
    queued = UnratedUsage.objects.filter(month).order_by().values_list("organization_id")
    waiting = dict(queued.annotate(count=Count("*")))
    differences = [
        Difference(
            organization=one,
            rated_pico=_at_least(least.get(one.pk, 0), int(rated.get(one.pk, 0))),
            candidate_pico=_at_least(least.get(one.pk, 0), rerated.pico.get(one.pk, 0)),
            minimum_pico=least.get(one.pk, 0),
            waiting=waiting.get(one.pk, 0),
            unpriced=tuple(sorted(rerated.unpriced.get(one.pk, ()))),
        )
        for one in organizations
        if one.pk in rated or one.pk in rerated.pico or one.pk in waiting or least.get(one.pk)
    ]
    differences.sort(key=lambda one: (-abs(one.difference_pico), one.organization.name, one.organization.pk))
    return DryRun(period=period, differences=tuple(differences))


def _at_least(minimum_pico: int, charged_pico: int) -> int:
    """What a month comes to with what is missing to its minimum, as closing charges it."""
    return charged_pico + prices.shortfall(minimum_pico=minimum_pico, charged_pico=charged_pico)


def _minimums(period: Period) -> dict[str, int]:
    """The minimum that holds for the month, of every organization that ever agreed on one."""
    agreed = MinimumCommitment.objects.filter(period_start__lte=period.start).order_by("period_start", "id")
    return {organization_id: int(pico) for organization_id, pico in agreed.values_list("organization_id", "pico")}


def rerate(sums: Iterable[UsageSum], book: PriceBook) -> Rerated:
    """What the sums of one month come to. Pure."""
    by_price: dict[tuple[str, str], int] = {}
    found: dict[str, PriceRow] = {}
    pico: dict[str, int] = {}
    unpriced: dict[str, set[tuple[str, str]]] = {}
    for one in sums:
        pico.setdefault(one.organization_id, 0)
        for meter, quantity in one.quantities:
            if not quantity:
                continue
            price = book.in_force(
                meter=meter,
                served_name=one.served_name,
                currency=one.currency,
                moment=one.since,
                organization_id=one.organization_id,
                state=one.state,
                device_class=one.device_class,
            )
            if price is not None:
                found[price.id] = price
                key = (one.organization_id, price.id)
                by_price[key] = by_price.get(key, 0) + quantity
            elif meter not in rating.OPTIONAL and one.state not in FREE_STATES:
                unpriced.setdefault(one.organization_id, set()).add((str(meter), one.served_name))
    for (organization_id, price_id), quantity in by_price.items():
        price = found[price_id]
        amount = tiers.amount(price.tiers, quantity) if price.tiers else quantity * price.pico_per_unit
        pico[organization_id] += amount
    return Rerated(pico=pico, unpriced={key: frozenset(names) for key, names in unpriced.items()})


def _sums(period: Period, rows: Sequence[PriceRow], paid_in: Mapping[str, str]) -> list[UsageSum]:
    """The month's usage of those who pay, cut where a price of ``rows`` begins or ends."""
    bounds = {bound for row in rows for bound in (row.valid_from, row.valid_to) if bound is not None}
    edges = [period.start, *sorted(bound for bound in bounds if period.start < bound < period.end)]
    parameters: dict[str, dt.datetime | list[dt.datetime]] = {"edges": edges, "start": period.start, "end": period.end}
    found: list[UsageSum] = []
    with connection.cursor() as cursor:
        for statement in (_REQUESTS, _TIMES):
            cursor.execute(statement, parameters)
            found += [
                UsageSum(
                    organization_id=row[0],
                    currency=paid_in[row[0]],
                    served_name=row[1],
                    state=row[2],
                    device_class=row[3],
                    since=edges[row[4] - 1],
                    quantities=tuple(zip(rater.METERS, map(int, row[5:]), strict=True)),
                )
                for row in cursor.fetchall()
                if row[0] in paid_in
            ]
    return found
