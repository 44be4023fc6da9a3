"""The figures of a month's margin (margin.py), gathered: what was rated, how long replicas ran, what devices cost."""

import datetime as dt
import itertools
from collections.abc import Iterator
from typing import Final

from django.db import connection
from django.db.models import Sum

from moorage.billing import margin
from moorage.billing.margin import Earned, Margin, Ran, Stood
from moorage.billing.models import Meter, UnitCost
from moorage.billing.price_book import PriceBook, PriceRow
from moorage.deployments.models import Revision
from moorage.fleet.models import Device
from moorage.kernel.clock import Period
from moorage.metering.models import ReplicaUsage

_EARNED: Final = """
SELECT r.organization_id, r.deployment_id, r.served_name,
       CASE WHEN r.meter = 'replica_seconds' THEN coalesce(u.device_class, '') END, sum(r.amount_pico)
  FROM rated_usage r LEFT JOIN replica_usage u ON u.id = r.source_id AND r.meter = 'replica_seconds'
 WHERE r.period_start = %s GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
"""
#: A month in which costs change more often is reckoned with the first of them.
_EDGES_MOST: Final = 400


def margin_of(period: Period, *, now: dt.datetime) -> Margin:
    """The month as it is rated and metered by now. Revenue is what is charged in it, cost what ran in it."""
    book = cost_book()
    ran = list(_ran(period, book))
    return margin.build(earned=_earned(period), ran=ran, stood=_stood(period, book, now=now))


def has_costs() -> bool:
    """Whether anybody has said what a replica second costs."""
    return UnitCost.objects.filter(meter=Meter.REPLICA_SECONDS).exists()


def cost_book() -> PriceBook:
    """What a replica second costs us: the rows of unit_cost, looked up as prices are."""
    fields = ("id", "meter", "model", "pico_per_unit", "valid_from", "currency", "device_class")
    return PriceBook(PriceRow(**row) for row in UnitCost.objects.values(*fields))


def _cost(book: PriceBook, *, served_name: str, device_class: str, moment: dt.datetime) -> int:
    """Of one second on all devices of the class; nothing where nobody has said what they cost."""
    total = 0
    for name, count in margin.devices_of(device_class):
        found = book.in_force(meter=Meter.REPLICA_SECONDS, served_name=served_name, moment=moment, device_class=name)
        total += count * (found.pico_per_unit if found is not None else 0)
    return total


def _edges(period: Period) -> list[tuple[dt.datetime, dt.datetime]]:
    """The month in pieces in which no cost changes."""
    changes = UnitCost.objects.filter(
        meter=Meter.REPLICA_SECONDS, valid_from__gt=period.start, valid_from__lt=period.end
    )
    inner = sorted(set(changes.values_list("valid_from", flat=True)))[:_EDGES_MOST]
    moments = [period.start, *inner, period.end]
    return list(itertools.pairwise(moments))


def _ran(period: Period, book: PriceBook) -> Iterator[Ran]:
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
            cost = _cost(book, served_name=names[pinned], device_class=device_class, moment=start)
            yield Ran(
                organization_id=organization_id,
                deployment_id=deployment_id,
                served_name=names[pinned],
                device_class=device_class,
                seconds=int(seconds),
                cost_pico=int(seconds) * cost,
            )


def _served_name(revision_id: str, model_key: str) -> str:
    """As rating names it: what the revision pinned, else the key in the Compose file."""
    pins = Revision.objects.filter(pk=revision_id).values_list("pins", flat=True).first()
    pin = pins.get(model_key) if isinstance(pins, dict) else None
    name = pin.get("served_name") if isinstance(pin, dict) else None
    return name if isinstance(name, str) and name else model_key


def _earned(period: Period) -> Iterator[Earned]:
    """What tokens earned, which is shared among classes later, and what replica seconds earned, each class its own."""
    with connection.cursor() as cursor:
        cursor.execute(_EARNED, [period.start])
        for organization_id, deployment_id, served_name, device_class, pico in cursor.fetchall():
            yield Earned(
                organization_id=organization_id,
                deployment_id=deployment_id,
                served_name=served_name,
                device_class=device_class,
                pico=int(pico),
            )


def _stood(period: Period, book: PriceBook, *, now: dt.datetime) -> list[Stood]:
    """Devices from when their node came until it was seen last, in this month."""
    sums: dict[str, tuple[int, int]] = {}
    for device in Device.objects.select_related("node"):
        for start, end in _edges(period):
            begin, stop = max(start, device.node.created_at), min(end, now, max(device.node.seen_at, start))
            seconds = max((stop - begin) // dt.timedelta(seconds=1), 0)
            cost = _cost(book, served_name="", device_class=device.name, moment=start)
            known = sums.get(device.name, (0, 0))
            sums[device.name] = (known[0] + seconds, known[1] + seconds * cost)
    return [Stood(device_class=name, seconds=pair[0], cost_pico=pair[1]) for name, pair in sorted(sums.items())]
