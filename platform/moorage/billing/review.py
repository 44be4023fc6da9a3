"""What an administrator asks across organizations: the month of each, invoices to review, the price list, and
everything that waits for a person. Further down (lines, requests) it goes through queries.py."""

import dataclasses
import datetime as dt
import enum
from collections.abc import Iterable

from django.db.models import Count, Min, QuerySet, Sum

from moorage.accounts.models import Organization
from moorage.billing import currency_gaps, owed, states
from moorage.billing.errors import InvoiceNotFound
from moorage.billing.models import (
    BillingMonth,
    Invoice,
    InvoiceStatus,
    RatedUsage,
    UnratedUsage,
)
from moorage.billing.payments_transfer import TransferProvider
from moorage.billing.rater import price_book
from moorage.billing.trouble import failing_webhooks as failing_webhooks
from moorage.billing.trouble import parked_messages as parked_messages
from moorage.kernel import clock
from moorage.kernel.clock import Period
from moorage.metering import queries as metering


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class OrganizationMonth:
    """One organization in one month. Usage counts what ended in the month, the amount what is charged in it."""

    organization: Organization
    usage: metering.Usage
    amount_pico: int
    #: Measured facts of the month without a price, in no amount.
    unpriced: int
    #: None while the month is running, or when there is nothing to charge.
    invoice: Invoice | None
    #: Why the month is not closed although it is due.
    held_reason: str


def organizations_of_month(period: Period) -> tuple[OrganizationMonth, ...]:
    """Every organization with its month, by currency the highest amount first."""
    usage = {one.group: one for one in metering.usage_by_organization(start=period.start, end=period.end)}
    amounts = dict(
        RatedUsage.objects.filter(period_start=period.start)
        .order_by()
        .values_list("organization_id")
        .annotate(pico=Sum("amount_pico"))
    )
    unpriced = dict(
        UnratedUsage.objects.unpriced()
        .filter(ended_at__gte=period.start, ended_at__lt=period.end)
        .order_by()
        .values_list("organization_id")
        .annotate(count=Count("*"))
    )
    found = Invoice.objects.filter(statement__period_start=period.start).select_related("statement")
    invoices = {invoice.organization_id: invoice for invoice in found}
    held = dict(
        BillingMonth.objects.filter(period_start=period.start, closed_at=None).values_list(
            "organization_id", "held_reason"
        )
    )
    months = (
        OrganizationMonth(
            organization=organization,
            usage=usage.get(organization.id, metering.Usage(group=organization.id)),
            amount_pico=int(amounts.get(organization.id, 0)),
            unpriced=unpriced.get(organization.id, 0),
            invoice=invoices.get(organization.id),
            held_reason=held.get(organization.id, ""),
        )
        for organization in Organization.objects.order_by("name", "id")
    )
    return tuple(sorted(months, key=lambda month: (month.organization.currency, -month.amount_pico)))


def totals(months: Iterable[OrganizationMonth]) -> tuple[tuple[str, int], ...]:
    """What all months come to, each currency for itself: nothing is added across."""
    found: dict[str, int] = {}
    for month in months:
        found[month.organization.currency] = found.get(month.organization.currency, 0) + month.amount_pico
    return tuple(sorted(found.items()))


def review_queue() -> QuerySet[Invoice]:
    """Invoices that wait for an administrator, the oldest first; ``reason`` says why."""
    waiting = Invoice.objects.filter(status=InvoiceStatus.IN_REVIEW)
    return waiting.select_related("organization", "statement").order_by("created_at", "id")


def all_invoices(*, period: Period | None = None, status: InvoiceStatus | None = None) -> QuerySet[Invoice]:
    """Invoices of all organizations, newest first."""
    found = Invoice.objects.select_related("organization", "statement").order_by("-created_at", "-id")
    if period is not None:
        found = found.filter(statement__period_start=period.start)
    return found if status is None else found.filter(status=status)


def any_invoice(invoice_id: str) -> Invoice:
    """One invoice, whoever's. For administrators alone. Raises InvoiceNotFound."""
    found = Invoice.objects.select_related("organization", "statement").filter(pk=invoice_id).first()
    if found is None:
        raise InvoiceNotFound
    return found


class InvoiceVerb(enum.StrEnum):
    """What an administrator can do to an invoice."""

    APPROVE = "approve"
    SEND_BACK = "send-back"
    MARK_PAID = "mark-paid"
    ADJUST = "adjust"
    VOID = "void"
    MARK_UNCOLLECTIBLE = "mark-uncollectible"


def verbs_of(invoice: Invoice) -> tuple[InvoiceVerb, ...]:
    """What its status allows now; a payment is recorded by hand only where no provider collects."""
    is_by_hand = invoice.provider == TransferProvider.name and invoice.provider_reference != ""
    possible = {
        InvoiceVerb.APPROVE: invoice.status == InvoiceStatus.IN_REVIEW,
        InvoiceVerb.SEND_BACK: invoice.status == InvoiceStatus.IN_REVIEW,
        InvoiceVerb.MARK_PAID: is_by_hand and states.may_move(invoice.status, InvoiceStatus.PAID),
        InvoiceVerb.ADJUST: _is_adjustable(invoice),
        InvoiceVerb.VOID: states.may_move(invoice.status, InvoiceStatus.VOID),
        InvoiceVerb.MARK_UNCOLLECTIBLE: states.may_move(invoice.status, InvoiceStatus.UNCOLLECTIBLE),
    }
    return tuple(verb for verb, is_possible in possible.items() if is_possible)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class UnpricedUsage:
    """Usage that nobody has set a price for: charged to nobody until somebody does."""

    organization_id: str
    meter: str
    model: str
    count: int
    since: dt.datetime
    #: What the organization pays in; empty where there is no such organization.
    currency: str = ""
    #: Currencies in which there is a price of it now: only the currency is missing.
    priced_in: tuple[str, ...] = ()


def unpriced_usage() -> tuple[UnpricedUsage, ...]:
    """All usage without a price, the oldest first."""
    rows = (
        UnratedUsage.objects.unpriced()
        .order_by()
        .values("organization_id", "unpriced_meter", "unpriced_model")
        .annotate(count=Count("*"), since=Min("ended_at"))
    )
    paid_in = dict(Organization.objects.values_list("pk", "currency"))
    book, now = price_book(), clock.now()
    found = (
        UnpricedUsage(
            organization_id=row["organization_id"],
            meter=row["unpriced_meter"],
            model=row["unpriced_model"],
            count=row["count"],
            since=row["since"],
            currency=paid_in.get(row["organization_id"], ""),
            priced_in=currency_gaps.priced_in(
                book, meter=row["unpriced_meter"], served_name=row["unpriced_model"], at=now
            ),
        )
        for row in rows
    )
    return tuple(sorted(found, key=lambda one: (one.since, one.organization_id, one.meter)))


def held_months() -> QuerySet[BillingMonth]:
    """Months that are due and not closed, with the reason."""
    return BillingMonth.objects.filter(closed_at=None).exclude(held_reason="").order_by("period_start", "id")


def _is_adjustable(invoice: Invoice) -> bool:
    has_number = invoice.number is not None and invoice.status != InvoiceStatus.VOID
    return has_number and owed.left_of(invoice).total_cents > 0
