"""What an update costs while both revisions run: the replica seconds that it adds, at the price in force."""

import datetime as dt

from moorage.accounts.models import Organization
from moorage.billing.models import Meter, ReplicaState
from moorage.billing.rater import price_book
from moorage.deployments.forecast import Forecast
from moorage.kernel.money import Money


def extra_cost(forecast: Forecast, *, organization: Organization, now: dt.datetime) -> Money | None:
    """Of one model: for each extra replica the seconds, rounded up, times the price of an idle replica's second on the
    devices that it would get.

    Zero where nothing runs twice or replica time costs nothing; None where nobody knows how long it takes.
    """
    seconds = forecast.extra_whole_seconds
    if seconds is None:
        return None
    book = price_book()
    unknown = ("",) * (forecast.extra_replicas - len(forecast.device_classes))
    pico = 0
    for device_class in (*forecast.device_classes, *unknown):
        price = book.in_force(
            meter=Meter.REPLICA_SECONDS,
            served_name=forecast.served_name,
            moment=now,
            currency=organization.currency,
            organization_id=organization.pk,
            state=ReplicaState.IDLE,
            device_class=device_class,
        )
        pico += price.pico_per_unit * seconds if price is not None else 0
    return Money(pico, organization.currency)
