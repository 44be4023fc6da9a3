"""What a price is of, and which usage is out of its reach because it is rated."""

import dataclasses
import datetime as dt

from django.conf import settings

from moorage.accounts.models import Organization
from moorage.billing.errors import InvalidPrice, PriceInThePast
from moorage.billing.models import Meter, RatedUsage, ReplicaState
from moorage.kernel import currencies, patterns


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Scope:
    """What a price is of. ``model`` and ``device_class`` may be patterns; empty state and device class: any."""

    meter: Meter
    model: str = "*"
    organization: Organization | None = None
    state: str = ""
    device_class: str = ""
    #: Empty: what the organization pays in; of everybody's price what new organizations do.
    currency: str = ""

    def checked(self) -> "Scope":
        """The same, tidied, with its currency. Raises InvalidPrice where it makes no sense, and CurrencyRefused."""
        scope = dataclasses.replace(
            self, model=self.model.strip(), device_class=self.device_class.strip(), currency=self._currency()
        )
        if not _is_pattern(scope.model, most=170):
            raise InvalidPrice("Name the model as clients do, or use a pattern such as demo/* or *.", param="model")
        if scope.device_class and not _is_pattern(scope.device_class, most=80):
            raise InvalidPrice("Name a device class, or use a pattern such as h200*.", param="device_class")
        if scope.state and scope.state not in ReplicaState.values:
            raise InvalidPrice(f"A replica's state is one of {', '.join(ReplicaState.values)}.", param="state")
        if scope.meter != Meter.REPLICA_SECONDS and (scope.state or scope.device_class):
            raise InvalidPrice(
                "Only replica seconds are priced by state and device class. Leave both empty.",
                param="state" if scope.state else "device_class",
            )
        return scope

    def _currency(self) -> str:
        own = self.organization.currency if self.organization is not None else ""
        asked = currencies.parse(self.currency) if self.currency else own or settings.MOORAGE_CURRENCY
        if own and asked != own:
            assert self.organization is not None
            raise InvalidPrice(
                f"{self.organization.name} pays in {own}: its own prices are in {own}.", param="currency"
            )
        return asked


def refuse_the_past(scope: Scope, moment: dt.datetime) -> None:
    """Raises PriceInThePast when usage that a price of ``scope`` would fit has been rated at or after ``moment``.

    A request has several meters; it is rated with all of its prices, also with those that it did not have.
    """
    of_requests = (Meter.INPUT_TOKENS, Meter.CACHED_INPUT_TOKENS, Meter.OUTPUT_TOKENS, Meter.REQUESTS)
    meters = of_requests if scope.meter == Meter.REQUESTS else (scope.meter,)
    rated = RatedUsage.objects.filter(meter__in=meters, ended_at__gte=moment, currency=scope.currency)
    if scope.organization is not None:
        rated = rated.filter(organization_id=scope.organization.id)
    if "*" not in scope.model:
        rated = rated.filter(served_name=scope.model)
    names = rated.order_by().values_list("served_name", flat=True).distinct()
    if any(patterns.matches(scope.model, name) for name in names.iterator()):
        raise PriceInThePast(
            f"Usage of {scope.model} was already rated after {moment:%Y-%m-%d %H:%M} UTC, and rated usage is never"
            " changed. Choose a later beginning.",
            param="valid_from",
        )


def _is_pattern(text: str, *, most: int) -> bool:
    return bool(text) and len(text) <= most and text.count("*") <= 8 and all(ord(letter) >= 32 for letter in text)
