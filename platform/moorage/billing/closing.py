"""Closing a month: when everything that ended in it is here and rated, its statement is frozen and becomes an invoice.

What is found afterwards is charged in the next month that is open, in lines that name the month of use (rater.py).
"""

import dataclasses
import datetime as dt
import logging
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Final

from django.db import transaction
from django.db.models import Count, Sum
from django.db.models.functions import TruncMonth

from moorage.accounts.models import Organization
from moorage.billing import invoices, locks, prices
from moorage.billing import statement as statements
from moorage.billing.models import BillingMonth, RatedUsage, Statement, UnratedUsage
from moorage.billing.policy import ReviewPolicy
from moorage.billing.statement import Line, Unpriced
from moorage.deployments.models import Deployment
from moorage.kernel.clock import Period
from moorage.metering import queries as metering

logger = logging.getLogger(__name__)

#: Usage of the month's last minutes arrives within this time.
GRACE: Final = dt.timedelta(hours=2)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Closed:
    """What became of one organization's month."""

    organization_id: str
    period: Period
    #: None while it is held.
    statement_id: str | None
    #: Why it is held, as a sentence; empty when it was closed.
    held_reason: str = ""


def close_due(*, now: dt.datetime) -> tuple[Closed, ...]:
    """Closes every month whose grace is over, of every organization that is charged in it."""
    due = BillingMonth.objects.filter(closed_at=None, period_start__lt=now - GRACE).order_by("period_start")
    periods = {Period.containing(start) for start in due.values_list("period_start", flat=True).distinct()}
    return tuple(closed for period in sorted(periods) for closed in close_period(period, now))


def close_period(period: Period, now: dt.datetime, *, policy: ReviewPolicy | None = None) -> tuple[Closed, ...]:
    """Closes ``period`` for every organization that is charged in it and not closed; nothing before its end and two
    hours of grace. Each organization is a transaction of its own; one that is held keeps no other from closing."""
    if now < period.end + GRACE:
        return ()
    months = BillingMonth.objects.filter(closed_at=None, period_start=period.start).order_by("organization_id")
    ids = list(months.values_list("organization_id", flat=True))
    closed: list[Closed] = []
    with ExitStack() as each:  # one that fails keeps none of the others from closing, and is heard of afterwards
        for organization_id in reversed(ids):
            each.callback(lambda found: closed.append(_close(found, period, now, policy)), organization_id)
    return tuple(closed)


@transaction.atomic
def _close(organization_id: str, period: Period, now: dt.datetime, policy: ReviewPolicy | None) -> Closed:
    locks.close_month(organization_id)
    organization = Organization.objects.get(pk=organization_id)
    month = BillingMonth.objects.filter(organization_id=organization_id, period_start=period.start)
    known = Statement.objects.for_organization(organization).filter(period_start=period.start).first()
    if known is not None:
        return Closed(organization_id=organization_id, period=period, statement_id=known.id)
    reason = _why_held(organization_id, period)
    if reason:
        if month.exclude(held_reason=reason).update(held_reason=reason):
            logger.error("month_held organization=%s period=%s reason=%s", organization_id, period, reason)
        return Closed(organization_id=organization_id, period=period, statement_id=None, held_reason=reason)
    frozen = _freeze(organization, period, now)
    invoices.draft(statement=frozen, now=now, policy=policy)
    month.update(closed_at=now, held_reason="")
    logger.info("month_closed organization=%s period=%s sha256=%s", organization_id, period, frozen.sha256)
    return Closed(organization_id=organization_id, period=period, statement_id=frozen.id)


def _why_held(organization_id: str, period: Period) -> str:
    shipped = metering.shipped_until()
    if shipped is None or shipped < period.end:
        return "The journals of the gateways are not shipped up to the end of the month."
    waiting = UnratedUsage.objects.filter(organization_id=organization_id, ended_at__lt=period.end)
    unpriced = waiting.unpriced().order_by("unpriced_meter", "unpriced_model").first()
    if unpriced is not None:
        return f"There is no price for {unpriced.unpriced_meter} of {unpriced.unpriced_model}. Set one."
    if waiting.exists():
        return "Some usage waits to be rated."
    return ""


def _freeze(organization: Organization, period: Period, now: dt.datetime) -> Statement:
    """The month as it will stay. The rows are locked against late rating by the caller's lock."""
    built = running(organization=organization, period=period)
    document = statements.canonical(built)
    return Statement.objects.create(
        organization=organization,
        period_start=period.start,
        period_end=period.end,
        currency=built.currency,
        total_pico=built.total_pico,
        document=document,
        sha256=statements.sha256(document),
        frozen_at=now,
    )


def running(*, organization: Organization, period: Period) -> statements.Statement:
    """The statement of ``period`` from the rated rows as they are now."""
    rows = (
        RatedUsage.objects.for_organization(organization)
        .filter(period_start=period.start)
        .order_by()
        .annotate(usage_month=TruncMonth("ended_at", tzinfo=dt.UTC))
        .values("usage_month", "deployment_id", "served_name", "meter", "price_id", "price__pico_per_unit")
        .annotate(sum_quantity=Sum("quantity"), sum_pico=Sum("amount_pico"), sources=Count("*"))
    )
    found = list(rows)
    names = deployment_names({row["deployment_id"] for row in found})
    return statements.build(
        organization_id=organization.id,
        organization_name=organization.name,
        period=period,
        currency=prices.CURRENCY,
        lines=[
            Line(
                deployment_id=row["deployment_id"],
                deployment_name=names.get(row["deployment_id"], row["deployment_id"]),
                served_name=row["served_name"],
                meter=row["meter"],
                price_id=row["price_id"],
                pico_per_unit=row["price__pico_per_unit"],
                usage_month=f"{row['usage_month']:%Y-%m}",
                quantity=int(row["sum_quantity"]),
                amount_pico=int(row["sum_pico"]),
                sources=row["sources"],
            )
            for row in found
        ],
        unpriced=unpriced(organization=organization, period=period),
    )


def unpriced(*, organization: Organization, period: Period) -> list[Unpriced]:
    """Usage of ``period`` that has no price."""
    rows = (
        UnratedUsage.objects.for_organization(organization)
        .unpriced()
        .filter(ended_at__gte=period.start, ended_at__lt=period.end)
        .order_by()
        .values("unpriced_meter", "unpriced_model")
        .annotate(sources=Count("*"))
    )
    return [
        Unpriced(meter=row["unpriced_meter"], served_name=row["unpriced_model"], sources=row["sources"]) for row in rows
    ]


def deployment_names(ids: Iterable[str]) -> dict[str, str]:
    """Names of deployments by id; what was deleted keeps its row and its name."""
    return dict(Deployment.objects.filter(pk__in=set(ids)).values_list("pk", "name"))
