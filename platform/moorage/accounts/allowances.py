"""The allowance that is not a limit: an organization's balance, ``(organization, money, always)``.

Whoever takes the money fills it; gateway workers lease from it as from any other (migration 0004). ``capacity`` and
``used`` are totals since it was made, so what is free is ``capacity - used - leased``. Call these inside a transaction:
the row stays locked until its end.
"""

import dataclasses

from django.db import connection
from django.db.models import DecimalField, ExpressionWrapper, F
from django.db.models.functions import Greatest

from moorage.accounts.models import Allowance, AllowanceQuerySet, Organization
from moorage.kernel import window
from moorage.kernel.window import Window
from moorage.wire.limits import Measure


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Balance:
    """The allowance as it stands: money in pico-units."""

    capacity: int
    used: int
    leased: int
    #: Of each worker that holds some of it: until when (its clock, Unix microseconds) ``used`` has everything.
    told_until_us: dict[str, int]

    @property
    def unheld(self) -> int:
        """What neither is used nor may be used by a worker without asking."""
        return max(0, self.capacity - self.used - self.leased)


def balance(organization_id: str) -> Balance | None:
    """The organization's balance, locked; None where there never was one."""
    row = _rows(organization_id).select_for_update().first()
    if row is None:
        return None
    told = dict(row.leases.filter(amount__gt=0).values_list("worker_id", "told_until_us"))
    return Balance(capacity=int(row.capacity), used=int(row.used), leased=int(row.leased), told_until_us=told)


def fill(organization_id: str, *, capacity: int) -> None:
    """``capacity`` is all there is from now on. What workers hold stays with them, even where that is more."""
    ceiling = Greatest(capacity, F("used") + F("leased"), output_field=DecimalField())
    assert _rows(organization_id).update(capacity=capacity, ceiling=ceiling) == 1, "it was begun"


def begin(organization_id: str, *, used: int) -> None:
    """An allowance of which ``used`` is used, to be filled; one that was let go before begins anew. What workers still
    hold of it they hold."""
    start, end = window.bounds(Window.ALWAYS, 0)
    known = _rows(organization_id).update(
        used=used, capacity=0, ceiling=ExpressionWrapper(used + F("leased"), output_field=DecimalField())
    )
    if not known:
        Allowance.objects.create(
            organization_id=organization_id,
            subject=organization_id,
            measure=Measure.MONEY,
            window=Window.ALWAYS,
            starts=start,
            ends=end,
            capacity=0,
            ceiling=used,
            used=used,
        )


def add_used(organization_id: str, pico: int) -> None:
    """Counts ``pico`` that was used without a lease, or takes back what was counted and not used (below zero)."""
    used = Greatest(0, F("used") + pico)
    _rows(organization_id).update(used=used, ceiling=Greatest(F("capacity"), used + F("leased")))


def let_gateways_ask(organization_id: str, *, has_wallet: bool) -> bool:
    """Whether the gateways hold requests of the organization to its balance; a trigger tells them. Returns whether
    that is new."""
    changed = Organization.objects.filter(pk=organization_id).exclude(has_wallet=has_wallet)
    return changed.update(has_wallet=has_wallet) == 1


def call_back(organization_id: str) -> None:
    """Asks the workers for what lies idle with them, as one of them does that is short."""
    words = f"- {organization_id} {Measure.MONEY} {Window.ALWAYS} 0"
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify('moorage_lease', %s)", [words])


def _rows(organization_id: str) -> AllowanceQuerySet:
    return Allowance.objects.filter(
        subject=organization_id, measure=Measure.MONEY, window=Window.ALWAYS, starts=window.start_of(Window.ALWAYS, 0)
    )
