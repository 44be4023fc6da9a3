"""The figures of a month's margin (margin.py), gathered: what was rated, how long replicas ran, what devices cost."""

import datetime as dt
import itertools
from collections.abc import Iterator, Mapping
from typing import Final

from django.conf import settings
from django.db import connection
from django.db.models import Sum

from moorage.accounts.models import Organization
from moorage.billing import margin
from moorage.billing.margin import Earned, Margin, Ran, Stood
from moorage.billing.models import Meter, RatedUsage, UnitCost
from moorage.billing.price_book import PriceBook, PriceRow
from moorage.deployments.models import Revision
from moorage.fleet.models import Device
from moorage.kernel.clock import Period
from moorage.metering.models import ReplicaUsage

_EARNED: Final = """
SELECT r.organization_id, r.deployment_id, r.served_name,
       CASE WHEN r.meter = 'replica_seconds' THEN coalesce(u.device_class, '') END, sum(r.amount_pico)
  FROM rated_usage r LEFT JOIN replica_usage u ON u.id = r.source_id AND r.meter = 'replica_seconds'
 WHERE r.period_start = %s AND r.currency = %s GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
#: A month in which costs change more often is reckoned with the first of them.
_EDGES_MOST: Final = 400


def margin_of(period: Period, *, now: dt.datetime, currency: str = "") -> Margin:
    """The month as it is rated and metered by now, of those who pay in ``currency`` (left out: what new organizations
    do). Revenue is what is charged in it, cost what ran in it."""
    of = currency or settings.MOORAGE_CURRENCY
    book, payers = cost_book(), dict(Organization.objects.values_list("pk", "currency"))
    everything = list(_ran(period, book, of))
    return margin.build(
        earned=_earned(period, of),
        ran=[one for one in everything if payers.get(one.organization_id) == of],
        stood=_stood(period, book, of, now=now),
        busy=everything,
        currency=of,
    )


def currencies_of(period: Period) -> tuple[str, ...]:
    """The currencies in which there is a margin: those charged in the month, of costs, and of new organizations."""
    charged = RatedUsage.objects.filter(period_start=period.start).order_by().values_list("currency", flat=True)
    costs = UnitCost.objects.order_by().values_list("currency", flat=True)
    return tuple(sorted({settings.MOORAGE_CURRENCY, *charged.distinct(), *costs.distinct()}))


def has_costs() -> bool:
    """Whether anybody has said what a replica second costs."""
    return UnitCost.objects.filter(meter=Meter.REPLICA_SECONDS).exists()


def cost_book() -> PriceBook:
    """What a replica second costs us: the rows of unit_cost, looked up as prices are."""
    fields = ("id", "meter", "model", "pico_per_unit", "valid_from", "currency", "device_class")
    return PriceBook(PriceRow(**row) for row in UnitCost.objects.values(*fields))


def _cost(
    book: PriceBook, currency: str, *, served_name: str, device_class: str, moment: dt.datetime
) -> tuple[int, bool]:
    """Of one second on all devices of the class, in ``currency``, and whether all of it is known: nothing where nobody
    has said what they cost; not known where that is said in other currencies alone."""
    total, is_known = 0, True
    for name, count in margin.devices_of(device_class):
        declared = _declared(book, served_name=served_name, device_class=name, moment=moment)
        total += count * declared.get(currency, 0)
        is_known = is_known and (currency in declared or not declared)
    return total, is_known


def _declared(book: PriceBook, *, served_name: str, device_class: str, moment: dt.datetime) -> dict[str, int]:
    """What a second on one device costs, in each currency in which anybody has said so."""
    found = {
        currency: book.in_force(
            meter=Meter.REPLICA_SECONDS,
            served_name=served_name,
            currency=currency,
            moment=moment,
            device_class=device_class,
        )
        for currency in sorted(book.currencies)
    }
    return {currency: row.pico_per_unit for currency, row in found.items() if row is not None}


def _home(declared: Mapping[str, int]) -> str:
    """The one currency in which a device stands idle, whatever its replicas are charged in."""
    return settings.MOORAGE_CURRENCY if settings.MOORAGE_CURRENCY in declared or not declared else min(declared)


def _edges(period: Period) -> list[tuple[dt.datetime, dt.datetime]]:
    """The month in pieces in which no cost changes."""
    changes = UnitCost.objects.filter(
        meter=Meter.REPLICA_SECONDS, valid_from__gt=period.start, valid_from__lt=period.end
    )
    inner = sorted(set(changes.values_list("valid_from", flat=True)))[:_EDGES_MOST]
    moments = [period.start, *inner, period.end]
    return list(itertools.pairwise(moments))


def _ran(period: Period, book: PriceBook, currency: str) -> Iterator[Ran]:
    names: dict[tuple[str, str], str] = {}
    for start, end in _edges(period):
        rows = (
            ReplicaUsage.objects.filter(ended_at__gte=start, ended_at__lt=end)
            .order_by()
            .values_list("organization_id", "deployment_id", "revision_id", "model_key", "device_class")
            .annotate(total=Sum("seconds"))
        )
        for organization_id, deployment_id, revision_id, model_key, device_class, seconds in rows:
            pinned = (revision_id, model_key)
            if pinned not in names:
                names[pinned] = _served_name(revision_id, model_key)
            cost, is_known = _cost(book, currency, served_name=names[pinned], device_class=device_class, moment=start)
            yield Ran(
                organization_id=organization_id,
                deployment_id=deployment_id,
                served_name=names[pinned],
                device_class=device_class,
                seconds=int(seconds),
                cost_pico=int(seconds) * cost,
                is_cost_known=is_known,
            )


def _served_name(revision_id: str, model_key: str) -> str:
    """As rating names it: what the revision pinned, else the key in the Compose file."""
    pins = Revision.objects.filter(pk=revision_id).values_list("pins", flat=True).first()
    pin = pins.get(model_key) if isinstance(pins, dict) else None
    name = pin.get("served_name") if isinstance(pin, dict) else None
    return name if isinstance(name, str) and name else model_key


def _earned(period: Period, currency: str) -> Iterator[Earned]:
    """What tokens earned, which is shared among classes later, and what replica seconds earned, each class its own."""
    with connection.cursor() as cursor:
        cursor.execute(_EARNED, [period.start, currency])
        for organization_id, deployment_id, served_name, device_class, pico in cursor.fetchall():
            yield Earned(
                organization_id=organization_id,
                deployment_id=deployment_id,
                served_name=served_name,
                device_class=device_class,
                pico=int(pico),
            )


def _stood(period: Period, book: PriceBook, currency: str, *, now: dt.datetime) -> list[Stood]:
    """Devices from when their node came until it was seen last, in this month; those that cost ``currency``."""
    sums: dict[str, tuple[int, int]] = {}
    for device in Device.objects.select_related("node"):
        for start, end in _edges(period):
            begin, stop = max(start, device.node.created_at), min(end, now, max(device.node.seen_at, start))
            seconds = max((stop - begin) // dt.timedelta(seconds=1), 0)
            declared = _declared(book, served_name="", device_class=device.name, moment=start)
            if _home(declared) != currency:
                continue
            cost = declared.get(currency, 0)
            known = sums.get(device.name, (0, 0))
            sums[device.name] = (known[0] + seconds, known[1] + seconds * cost)
    return [Stood(device_class=name, seconds=pair[0], cost_pico=pair[1]) for name, pair in sorted(sums.items())]
