"""Usage that has no price in the currency of whoever used it, and would have one in another: nothing is charged for
what somebody has priced. Found while it is rated, kept with the other anomalies until somebody has looked.

A request's own price and the seconds of a replica that cannot answer are free where they have none: that is how such
usage is rated. All else waits for a price.
"""

import datetime as dt
from collections.abc import Iterable

from moorage.billing.models import AnomalyKind, ReplicaState, UsageAnomaly
from moorage.billing.price_book import PriceBook
from moorage.billing.rating_batch import Rate
from moorage.kernel import clock


def note(rates: Iterable[Rate], meters: Iterable[str], book: PriceBook) -> int:
    """Keeps what of a batch lacks a price in its currency alone, once a day and organization; how much was found. In
    the transaction of the batch, in one order for all."""
    names = tuple(meters)
    found: dict[tuple[str, dt.date], str] = {}
    for rate in rates:
        for meter, price in zip(names, rate.prices, strict=True):
            group = rate.group
            if price is not None or not _is_of(meter, group.state):
                continue
            others = priced_in(
                book,
                meter=meter,
                served_name=group.served_name,
                organization_id=group.organization_id,
                state=group.state,
                device_class=group.device_class,
                at=rate.from_at,
            )
            if others:
                key = (group.organization_id, group.last.astimezone(dt.UTC).date())
                words = f"{meter.replace('_', ' ')} of {group.served_name} has no price in {rate.currency}"
                found.setdefault(key, f"{words}, but one in {', '.join(others)}. Set one in {rate.currency}.")
    known = set(
        UsageAnomaly.objects.filter(
            kind=AnomalyKind.NO_PRICE, subject_id__in={owner for owner, _ in found}
        ).values_list("subject_id", "day")
    )
    UsageAnomaly.objects.bulk_create(
        [
            UsageAnomaly(
                kind=AnomalyKind.NO_PRICE,
                organization_id=owner,
                subject_kind="organization",
                subject_id=owner,
                day=day,
                figure=0,
                sentence=sentence[0].upper() + sentence[1:],
                found_at=clock.now(),
            )
            for (owner, day), sentence in sorted(found.items())
            if (owner, day) not in known
        ],
        ignore_conflicts=True,
    )
    return len(found)


def priced_in(
    book: PriceBook,
    *,
    meter: str,
    served_name: str,
    at: dt.datetime,
    organization_id: str = "",
    state: str = "",
    device_class: str = "",
) -> tuple[str, ...]:
    """The currencies in which this has a price at a moment."""
    return tuple(
        currency
        for currency in sorted(book.currencies)
        if book.in_force(
            meter=meter,
            served_name=served_name,
            currency=currency,
            moment=at,
            organization_id=organization_id,
            state=state,
            device_class=device_class,
        )
        is not None
    )


def _is_of(meter: str, state: str) -> bool:
    """Whether usage in this state has this meter at all: requests are in no state, replica time has nothing else."""
    return (meter == "replica_seconds") == (state in ReplicaState.values)
