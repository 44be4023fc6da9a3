"""The questions about usage: sums of a period by what it was used on, and single requests, newest first."""

import dataclasses
import datetime as dt
import enum
from collections.abc import Iterable, Mapping
from typing import Final

from django.db.models import CharField, Count, F, Max, Q, QuerySet, Sum
from django.db.models.functions import Cast, Coalesce, TruncDate

from moorage.accounts.models import Organization
from moorage.kernel import ids
from moorage.metering.errors import InvalidCursor, RequestNotFound
from moorage.metering.models import ReplicaUsage, ShippedBoot, ShippingMark, UsageEvent

PAGE: Final = 50
PAGE_MOST: Final = 200


class Grouping(enum.StrEnum):
    """What usage is summed by."""

    DEPLOYMENT = "deployment"
    KEY = "key"
    REVISION = "revision"
    DAY = "day"
    MODEL = "model"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Sums of one group. ``input_tokens`` are all prompt tokens, the ``cached_tokens`` among them."""

    #: A deployment, key or revision id, a served name, or a day (``2026-11-22``); empty for a total.
    group: str
    requests: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    #: Those in which replicas could answer: idle, busy, and those of old whose state is not known.
    replica_seconds: int = 0
    #: Seconds by state (pull, load, frozen, idle, busy), where the state is known.
    replica_states: Mapping[str, int] = dataclasses.field(default_factory=dict)


#: A replica cannot answer in these.
_NOT_ANSWERING: Final = frozenset({"pull", "load", "frozen"})
_EVENT_FIELD: Final = {
    Grouping.DEPLOYMENT: F("deployment_id"),
    Grouping.KEY: F("key_id"),
    Grouping.REVISION: F("revision_id"),
    Grouping.DAY: Cast(TruncDate("ended_at", tzinfo=dt.UTC), CharField()),
    Grouping.MODEL: F("served_name"),
}
#: Replica time belongs to no key, and knows its model by its key in the Compose file: it stands in no such group.
_TIME_FIELD: Final = {
    Grouping.DEPLOYMENT: F("deployment_id"),
    Grouping.REVISION: F("revision_id"),
    Grouping.DAY: Cast(TruncDate("ended_at", tzinfo=dt.UTC), CharField()),
}


def usage(
    *,
    organization: Organization,
    start: dt.datetime,
    end: dt.datetime,
    by: Grouping,
    deployment_id: str | None = None,
) -> tuple[Usage, ...]:
    """Usage that ended in ``[start, end)``, by ``by``, in the groups' order."""
    events = UsageEvent.objects.for_organization(organization).filter(ended_at__gte=start, ended_at__lt=end)
    times = ReplicaUsage.objects.for_organization(organization).filter(ended_at__gte=start, ended_at__lt=end)
    if deployment_id is not None:
        events = events.filter(deployment_id=deployment_id)
        times = times.filter(deployment_id=deployment_id)
    return _sums(events, times, event_field=_EVENT_FIELD[by], time_field=_TIME_FIELD.get(by))


def total(*, organization: Organization, start: dt.datetime, end: dt.datetime) -> Usage:
    """All usage of ``organization`` that ended in ``[start, end)``."""
    events = UsageEvent.objects.for_organization(organization).filter(ended_at__gte=start, ended_at__lt=end)
    times = ReplicaUsage.objects.for_organization(organization).filter(ended_at__gte=start, ended_at__lt=end)
    sums = _sums(events, times, event_field=F("organization_id"), time_field=F("organization_id"))
    return dataclasses.replace(sums[0], group="") if sums else Usage(group="")


def usage_by_organization(*, start: dt.datetime, end: dt.datetime) -> tuple[Usage, ...]:
    """For administrators: usage that ended in ``[start, end)``, a group an organization id."""
    events = UsageEvent.objects.filter(ended_at__gte=start, ended_at__lt=end)
    times = ReplicaUsage.objects.filter(ended_at__gte=start, ended_at__lt=end)
    return _sums(events, times, event_field=F("organization_id"), time_field=F("organization_id"))


def _sums(
    events: QuerySet[UsageEvent], times: QuerySet[ReplicaUsage], *, event_field: object, time_field: object | None
) -> tuple[Usage, ...]:
    found = {
        row["group"]: Usage(**row)
        for row in events.annotate(group=event_field)
        .values("group")
        .annotate(
            requests=Count("*"),
            input_tokens=Coalesce(Sum("input_tokens"), 0),
            cached_tokens=Coalesce(Sum("cached_tokens"), 0),
            output_tokens=Coalesce(Sum("output_tokens"), 0),
        )
    }
    if time_field is not None:
        rows = times.annotate(group=time_field).values("group", "state").annotate(total=Sum("seconds"))
        for row in rows.order_by("state"):
            known = found.get(row["group"], Usage(group=row["group"]))
            state, seconds = row["state"], int(row["total"])
            found[known.group] = dataclasses.replace(
                known,
                replica_seconds=known.replica_seconds + (0 if state in _NOT_ANSWERING else seconds),
                replica_states={**known.replica_states, state: seconds} if state else known.replica_states,
            )
    return tuple(_whole(found[group]) for group in sorted(found))


def _whole(sums: Usage) -> Usage:
    # PostgreSQL adds bigints up as numeric, which Django gives as Decimal.
    return dataclasses.replace(
        sums,
        input_tokens=int(sums.input_tokens),
        cached_tokens=int(sums.cached_tokens),
        output_tokens=int(sums.output_tokens),
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RequestPage:
    """Some requests, newest first; ``after`` asks for the next page, None on the last."""

    requests: tuple[UsageEvent, ...]
    after: str | None


def requests(
    *,
    organization: Organization,
    start: dt.datetime,
    end: dt.datetime,
    deployment_id: str | None = None,
    revision_id: str | None = None,
    key_id: str | None = None,
    served_name: str | None = None,
    after: str | None = None,
    limit: int = PAGE,
) -> RequestPage:
    """Requests that ended in ``[start, end)``, newest first, ``limit`` (1 to 200) at a time.

    Pages hang on the last request's end and id, not on a count, so that new requests shift nothing. Raises
    InvalidCursor for an ``after`` that no page gave.
    """
    rows = UsageEvent.objects.for_organization(organization).filter(ended_at__gte=start, ended_at__lt=end)
    wanted = {
        "deployment_id": deployment_id,
        "revision_id": revision_id,
        "key_id": key_id,
        "served_name": served_name,
    }
    rows = rows.filter(**{name: value for name, value in wanted.items() if value is not None})
    if after is not None:
        ended_at, request_id = _read_cursor(after)
        rows = rows.filter(Q(ended_at__lt=ended_at) | Q(ended_at=ended_at, request_id__lt=request_id))
    limit = min(max(limit, 1), PAGE_MOST)
    found = list(rows.order_by("-ended_at", "-request_id")[: limit + 1])
    page = tuple(found[:limit])
    return RequestPage(requests=page, after=_cursor(page[-1]) if len(found) > limit else None)


def request(*, organization: Organization, request_id: str) -> UsageEvent:
    """One request of ``organization``. Raises RequestNotFound for an unknown one and for a stranger's."""
    found = UsageEvent.objects.for_organization(organization).filter(pk=request_id).first()
    if found is None:
        raise RequestNotFound
    return found


def any_request(request_id: str) -> UsageEvent:
    """One request, whoever's. For administrators alone. Raises RequestNotFound."""
    found = UsageEvent.objects.filter(pk=request_id).first()
    if found is None:
        raise RequestNotFound
    return found


def events(request_ids: Iterable[str]) -> dict[str, UsageEvent]:
    """The requests with these ids, of whichever organization, by id. For rooms that hold ids of their own tenant."""
    return UsageEvent.objects.in_bulk(list(request_ids))


def shipped_until() -> dt.datetime | None:
    """Every request that ended before this is in usage_event; None: no shipper has run yet."""
    return ShippingMark.objects.values_list("complete_until", flat=True).first()


def is_boot_shipped(boot_id: str) -> bool:
    """Whether the gateway of this boot is dead and everything it ever metered is in usage_event."""
    return ShippedBoot.objects.filter(pk=boot_id).exists()


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Disputed:
    """Requests of one model whose engine's figure was not borne out by what was delivered. The lower one is billed."""

    organization_id: str
    served_name: str
    count: int
    #: The newest of them.
    request_id: str


def disputed(*, start: dt.datetime, end: dt.datetime) -> tuple[Disputed, ...]:
    """For administrators: disputed requests that ended in ``[start, end)``, by organization and model, most first."""
    rows = (
        UsageEvent.objects.filter(is_disputed=True, ended_at__gte=start, ended_at__lt=end)
        .order_by()
        .values("organization_id", "served_name")
        .annotate(count=Count("*"), request_id=Max("request_id"))
    )
    return tuple(sorted((Disputed(**row) for row in rows), key=lambda one: (-one.count, one.served_name)))


def _cursor(event: UsageEvent) -> str:
    microseconds = (event.ended_at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)
    return f"{microseconds}.{event.request_id}"


def _read_cursor(text: str) -> tuple[dt.datetime, str]:
    microseconds, separator, request_id = text.partition(".")
    if not separator or not microseconds.isdecimal() or len(microseconds) > 17 or not request_id.isascii():
        raise InvalidCursor(param="after")
    if not request_id.replace("_", "").isalnum() or len(request_id) > len("req_") + len(ids.encode(0)):
        raise InvalidCursor(param="after")
    moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=int(microseconds))
    return moment, request_id
