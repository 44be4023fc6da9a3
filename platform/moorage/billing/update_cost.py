"""What an update costs while both revisions run: the replica seconds that it adds, at the price in force."""

import datetime as dt

from moorage.billing.models import Meter, ReplicaState
from moorage.billing.rater import price_book
from moorage.deployments.forecast import Forecast
from moorage.kernel.money import Money


def extra_cost(forecast: Forecast, *, organization_id: str, now: dt.datetime) -> Money | None:
    """Of one model: extra replicas times seconds, rounded up, times the price of an idle replica's second.

    Zero where nothing runs twice or replica time costs nothing; None where nobody knows how long it takes.
    """
    seconds = forecast.extra_whole_seconds
    if seconds is None:
        return None
    price = price_book().in_force(
        meter=Meter.REPLICA_SECONDS,
        served_name=forecast.served_name,
        moment=now,
        organization_id=organization_id,
        state=ReplicaState.IDLE,
        device_class=forecast.device_class,
    )
    if price is None:
        return Money(0)
    return Money(price.pico_per_unit * forecast.extra_replicas * seconds)
