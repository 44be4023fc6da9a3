"""Closing a month: when everything that ended in it is here and rated, its statement is frozen and becomes an invoice.

What is found afterwards is charged in the next month that is open, in lines that name the month of use (rater.py).
"""

import dataclasses
import datetime as dt
import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any, Final

from django.db import transaction
from django.db.models import Count, Sum
from django.db.models.functions import TruncMonth

from moorage.accounts.models import Organization
from moorage.billing import invoices, ledger, locks, rater, settlement, tiers, wallets
from moorage.billing import statement as statements
from moorage.billing.ledger import Account, Entry
from moorage.billing.models import BillingMonth, MinimumCommitment, RatedUsage, Statement, UnratedUsage
from moorage.billing.policy import ReviewPolicy
from moorage.billing.statement import Line, Unpriced
from moorage.deployments.models import Deployment
from moorage.kernel.clock import Period
from moorage.metering import queries as metering

logger = logging.getLogger(__name__)

#: Usage of the month's last minutes arrives within this time.
GRACE: Final = dt.timedelta(hours=2)
#: Months before this are closed, or somebody has looked at why they are not.
_LOOK_BACK: Final = dt.timedelta(days=366)
#: What the rated rows of one line have in common, besides the month they were used in.
_KIND: Final = ("deployment_id", "served_name", "meter", "price_id", "tier", "pico_per_unit")


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
    _expect_minimums(now)
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
    # Looked at before what waits: of a month that is shipped, what waits only becomes less.
    shipped = metering.shipped_until()
    waiting = rater.organizations_waiting(before=period.end)
    closed: list[Closed] = []
    with ExitStack() as each:  # one that fails keeps none of the others from closing, and is heard of afterwards
        for organization_id in reversed(ids):
            reason = _why_held(organization_id, period, shipped=shipped, is_waiting=organization_id in waiting)
            each.callback(
                lambda found, why: closed.append(_close(found, period, now, policy, why)), organization_id, reason
            )
    return tuple(closed)


@transaction.atomic
def _close(organization_id: str, period: Period, now: dt.datetime, policy: ReviewPolicy | None, reason: str) -> Closed:
    locks.close_month(organization_id)
    organization = Organization.objects.get(pk=organization_id)
    month = BillingMonth.objects.filter(organization_id=organization_id, period_start=period.start)
    known = Statement.objects.for_organization(organization).filter(period_start=period.start).first()
    if known is not None:
        return Closed(organization_id=organization_id, period=period, statement_id=known.id)
    if reason:
        if month.exclude(held_reason=reason).update(held_reason=reason):
            logger.error("month_held organization=%s period=%s reason=%s", organization_id, period, reason)
        return Closed(organization_id=organization_id, period=period, statement_id=None, held_reason=reason)
    frozen = _freeze(organization, period, now)
    invoices.draft(statement=frozen, now=now, policy=policy)
    month.update(closed_at=now, held_reason="")
    logger.info("month_closed organization=%s period=%s sha256=%s", organization_id, period, frozen.sha256)
    return Closed(organization_id=organization_id, period=period, statement_id=frozen.id)


def _why_held(organization_id: str, period: Period, *, shipped: dt.datetime | None, is_waiting: bool) -> str:
    if shipped is None or shipped < period.end:
        return "The journals of the gateways are not shipped up to the end of the month."
    waiting = UnratedUsage.objects.filter(organization_id=organization_id, ended_at__lt=period.end)
    unpriced = waiting.unpriced().order_by("unpriced_meter", "unpriced_model").first()
    if unpriced is not None:
        return f"There is no price for {unpriced.unpriced_meter} of {unpriced.unpriced_model}. Set one."
    if is_waiting:
        return "Some usage waits to be rated."
    return ""


def _freeze(organization: Organization, period: Period, now: dt.datetime) -> Statement:
    """The month as it will stay. The rows are locked against late rating by the caller's lock."""
    _charge_minimum(organization, period, now)
    built = running(organization=organization, period=period, with_minimum=True)
    # Credit that came after the usage pays here at the latest.
    applied = settlement.settle_month(
        organization_id=organization.pk, period_start=period.start, due_pico=built.due_pico, now=now
    )
    built = dataclasses.replace(built, credit_applied_pico=built.credit_applied_pico + applied)
    document = statements.canonical(built)
    return Statement.objects.create(
        organization=organization,
        period_start=period.start,
        period_end=period.end,
        currency=built.currency,
        total_pico=built.total_pico,
        credit_applied_pico=built.credit_applied_pico,
        document=document,
        sha256=statements.sha256(document),
        frozen_at=now,
    )


def _expect_minimums(now: dt.datetime) -> None:
    """Whoever agreed on a minimum is charged in every month of it, used or not."""
    for minimum in MinimumCommitment.objects.order_by("organization_id", "period_start").filter(pico__gt=0):
        period = max(Period.containing(minimum.period_start), Period.containing(now - _LOOK_BACK))
        months = []
        while period.end <= now - GRACE:
            months.append(BillingMonth(organization_id=minimum.organization_id, period_start=period.start))
            period = Period.containing(period.end)
        BillingMonth.objects.bulk_create(
            [month for month in months if _least(minimum.organization_id, month.period_start)], ignore_conflicts=True
        )


def _charge_minimum(organization: Organization, period: Period, now: dt.datetime) -> None:
    """Posts what is missing to the agreed minimum; credit pays for it as for usage."""
    line = _missing(organization, period, running(organization=organization, period=period).lines)
    if line is None:
        return
    key = f"minimum:{organization.pk}:{period}"
    ledger.post(
        kind="minimum",
        idempotency_key=key,
        entries=[
            Entry(account=Account.RECEIVABLE, organization_id=organization.pk, pico=line.amount_pico),
            Entry(account=Account.ADJUSTMENT, organization_id=organization.pk, pico=-line.amount_pico),
        ],
        effective_at=period.end,
    )
    wallets.capture(
        organization_id=organization.pk,
        pico=line.amount_pico,
        period_start=period.start,
        idempotency_key=f"capture:{key}",
        at=now,
    )


def _missing(organization: Organization, period: Period, lines: Sequence[Line]) -> Line | None:
    agreed = _least(organization.pk, period.start)
    if agreed is None:
        return None
    return statements.minimum_line(lines=lines, minimum_pico=int(agreed.pico), minimum_id=agreed.pk, period=period)


def _least(organization_id: str, period_start: dt.datetime) -> MinimumCommitment | None:
    """The minimum that holds for this month; None where none does."""
    agreed = MinimumCommitment.objects.filter(organization_id=organization_id, period_start__lte=period_start)
    last = agreed.order_by("-period_start", "-id").first()
    return last if last is not None and last.pico > 0 else None


def running(*, organization: Organization, period: Period, with_minimum: bool = False) -> statements.Statement:
    """The statement of ``period`` from the rated rows as they are now; ``with_minimum``: as it would be closed."""
    rows = (
        RatedUsage.objects.for_organization(organization)
        .filter(period_start=period.start)
        .order_by()
        .annotate(usage_month=TruncMonth("ended_at", tzinfo=dt.UTC))
        .values(*_KIND, "usage_month", "price__tiers", "price__state", "price__device_class")
        .annotate(sum_quantity=Sum("quantity"), sum_pico=Sum("amount_pico"), sources=Count("*"))
    )
    found = list(rows)
    names = deployment_names({row["deployment_id"] for row in found})
    frozen = {
        f"{start:%Y-%m}": pk
        for pk, start in Statement.objects.for_organization(organization).values_list("pk", "period_start")
    }
    lines = [_line(row, names, frozen, period) for row in found]
    if with_minimum and (missing := _missing(organization, period, lines)) is not None:
        lines.append(missing)
    return statements.build(
        organization_id=organization.id,
        organization_name=organization.name,
        period=period,
        currency=organization.currency,
        lines=lines,
        credit_applied_pico=wallets.applied_in(organization.pk, period.start),
        unpriced=unpriced(organization=organization, period=period),
    )


def _line(row: Mapping[str, Any], names: Mapping[str, str], frozen: Mapping[str, str], period: Period) -> Line:
    usage_month = f"{row['usage_month']:%Y-%m}"
    return Line(
        deployment_id=row["deployment_id"],
        deployment_name=names.get(row["deployment_id"], row["deployment_id"]),
        served_name=row["served_name"],
        meter=row["meter"],
        price_id=row["price_id"],
        pico_per_unit=row["pico_per_unit"],
        usage_month=usage_month,
        quantity=int(row["sum_quantity"]),
        amount_pico=int(row["sum_pico"]),
        sources=row["sources"],
        tier=row["tier"],
        tiers=tuple((tier.begins, tier.pico) for tier in tiers.of_json(row["price__tiers"])),
        scope=" on ".join(part for part in (row["price__state"], row["price__device_class"]) if part),
        late_of=frozen.get(usage_month, "") if usage_month != str(period) else "",
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
