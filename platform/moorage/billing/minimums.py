"""The least that an organization pays a month, in what it pays in: each change is a new row with an audit entry."""

from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.billing import locks
from moorage.billing.errors import InvalidPrice, PriceInThePast
from moorage.billing.models import MinimumCommitment, Statement
from moorage.kernel.clock import Period


@transaction.atomic
def set_minimum(
    *, organization: Organization, pico: int, period: Period, by: Actor, note: str = ""
) -> MinimumCommitment:
    """From ``period`` on the organization pays at least ``pico`` a month; zero: no minimum any more. Raises
    InvalidPrice, and PriceInThePast for a month that is closed."""
    if type(pico) is not int or not 0 <= pico < 10**30:
        raise InvalidPrice("A minimum is an amount of zero or more.", param="amount")
    locks.close_month(organization.id)
    closed = Statement.objects.for_organization(organization).filter(period_start__gte=period.start)
    if closed.exists():
        raise PriceInThePast(f"{period} is closed already. Choose a later month.", param="period")
    made = MinimumCommitment.objects.create(
        organization=organization,
        pico=pico,
        period_start=period.start,
        created_by=by.label[:80],
        note=note.strip()[:200],
    )
    audit.record(
        organization=organization,
        by=by,
        action="minimum.set",
        subject=made.id,
        detail={"pico": str(pico), "from": str(period), "note": made.note},
    )
    return made


def minimum_of(organization: Organization, period: Period) -> int:
    """The least that the organization pays for ``period``, in pico-units; 0 where nothing was agreed on."""
    rows = MinimumCommitment.objects.filter(organization=organization, period_start__lte=period.start)
    found = rows.order_by("-period_start", "-id").values_list("pico", flat=True).first()
    return int(found or 0)
