"""What an organization can ask about its money: statements, the requests behind a line, invoices.

An administrator asks the same of any organization; what spans organizations is in review.py.
"""

import dataclasses
import datetime as dt
from pathlib import Path
from typing import Final

from django.db.models import QuerySet

from moorage.accounts.models import Organization
from moorage.billing import closing, statement_csv, verify_statement
from moorage.billing import statement as statements
from moorage.billing.errors import (
    InvalidLineCursor,
    InvalidPeriod,
    InvoiceNotFound,
    StatementLineNotFound,
    StatementRunning,
)
from moorage.billing.models import Invoice, InvoiceStatus, Price, RatedUsage, Statement, UnratedUsage
from moorage.billing.statement import Line
from moorage.kernel import clock
from moorage.kernel.clock import Period
from moorage.metering import queries as metering
from moorage.metering.models import UsageEvent

PAGE: Final = 50
PAGE_MOST: Final = 200
#: What an organization sees: not before it is finalized, except that it is being reviewed.
_VISIBLE: Final = tuple(status for status in InvoiceStatus if status is not InvoiceStatus.DRAFT)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class StatementView:
    """A month of an organization: frozen with its hash, or running."""

    statement: statements.Statement
    is_frozen: bool
    #: Empty while the month is running.
    sha256: str
    statement_id: str
    invoice: Invoice | None

    @property
    def document(self) -> dict[str, object]:
        """The statement as JSON."""
        return statements.document(self.statement)

    @property
    def csv(self) -> str:
        """The statement as CSV."""
        return statement_csv.as_csv(self.statement)


def period_of(text: str | None) -> Period:
    """The month that ``text`` (``YYYY-MM``) names; None: the present one. Raises InvalidPeriod."""
    if not text:
        return Period.containing(clock.now())
    try:
        return Period.parse(text)
    except ValueError as error:
        raise InvalidPeriod(param="period") from error


def statement(*, organization: Organization, period: Period) -> StatementView:
    """The statement of ``period``: the frozen one where it is closed, else what is rated by now."""
    frozen = Statement.objects.for_organization(organization).filter(period_start=period.start).first()
    if frozen is None:
        running = closing.running(organization=organization, period=period)
        return StatementView(statement=running, is_frozen=False, sha256="", statement_id="", invoice=None)
    return StatementView(
        statement=statements.parse(frozen.document),
        is_frozen=True,
        sha256=frozen.sha256,
        statement_id=frozen.id,
        invoice=Invoice.objects.filter(statement=frozen).first(),
    )


def frozen_text(*, organization: Organization, period: Period) -> str | None:
    """The canonical JSON whose SHA-256 is on the statement, byte for byte; None while the month is running."""
    rows = Statement.objects.for_organization(organization).filter(period_start=period.start)
    return rows.values_list("document", flat=True).first()


def frozen_statements(*, organization: Organization) -> QuerySet[Statement]:
    """The months that are closed, newest first, with their invoices."""
    return Statement.objects.for_organization(organization).select_related("invoice").order_by("-period_start")


def months(*, organization: Organization) -> tuple[Period, ...]:
    """The months that have a statement, frozen or running, newest first. The present one is always among them."""
    starts = (
        RatedUsage.objects.for_organization(organization).order_by().values_list("period_start", flat=True).distinct()
    )
    return tuple(sorted({Period.containing(start) for start in [*starts, clock.now()]}, reverse=True))


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LineSource:
    """One request, or interval of replica time, in a line."""

    source_id: str
    is_request: bool
    ended_at: dt.datetime
    key_id: str
    quantity: int
    amount_pico: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LinePage:
    """A statement line and some of what it sums up, newest rated first; ``after`` asks for the next page."""

    line: Line
    sources: tuple[LineSource, ...]
    after: str | None


def line_sources(
    *, organization: Organization, period: Period, line_id: str, after: str | None = None, limit: int = PAGE
) -> LinePage:
    """What a line of a statement sums up. Raises StatementLineNotFound, InvalidLineCursor."""
    line = statement(organization=organization, period=period).statement.line(line_id)
    if line is None:
        raise StatementLineNotFound
    used = Period.parse(line.usage_month)
    rows = RatedUsage.objects.for_organization(organization).filter(
        period_start=period.start,
        deployment_id=line.deployment_id,
        served_name=line.served_name,
        meter=line.meter,
        price_id=line.price_id,
        tier=line.tier,
        ended_at__gte=used.start,
        ended_at__lt=used.end,
    )
    if after is not None:
        if not after.isascii() or not after.isdecimal() or len(after) > 18:
            raise InvalidLineCursor(param="after")
        rows = rows.filter(pk__lt=int(after))
    limit = min(max(limit, 1), PAGE_MOST)
    found = list(rows.order_by("-id")[: limit + 1])
    page = found[:limit]
    return LinePage(
        line=line,
        sources=tuple(
            LineSource(
                source_id=row.source_id,
                is_request=row.source_id.startswith("req_"),
                ended_at=row.ended_at,
                key_id=row.key_id,
                quantity=row.quantity,
                amount_pico=int(row.amount_pico),
            )
            for row in page
        ),
        after=str(page[-1].pk) if len(found) > limit else None,
    )


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class RatedRequest:
    """One request with what it was charged and at which prices."""

    event: UsageEvent
    #: In the order input, cached input, output; each has its price loaded.
    lines: tuple[RatedUsage, ...]
    is_rated: bool
    #: The meter that has no price, where that is why it is not rated.
    unpriced_meter: str
    #: What the organization pays in.
    currency: str

    @property
    def amount_pico(self) -> int:
        """What the request costs, exactly."""
        return sum(int(line.amount_pico) for line in self.lines)

    @property
    def prices(self) -> tuple[Price, ...]:
        """The prices that were in force."""
        return tuple(line.price for line in self.lines)


def rated_request(*, organization: Organization, request_id: str) -> RatedRequest:
    """One request of ``organization``. Raises metering's RequestNotFound."""
    event = metering.request(organization=organization, request_id=request_id)
    lines = RatedUsage.objects.for_organization(organization).filter(source_id=event.pk).select_related("price")
    waiting = UnratedUsage.objects.filter(pk=event.pk).first()
    return RatedRequest(
        event=event,
        lines=tuple(lines.order_by("id")),
        is_rated=waiting is None,
        unpriced_meter=waiting.unpriced_meter if waiting else "",
        currency=organization.currency,
    )


def invoices_of(organization: Organization) -> QuerySet[Invoice]:
    """The organization's invoices, newest first."""
    found = Invoice.objects.for_organization(organization).filter(status__in=_VISIBLE)
    return found.select_related("statement", "organization").order_by("-created_at", "-id")


def invoice(*, organization: Organization, invoice_id: str) -> Invoice:
    """One invoice of ``organization``. Raises InvoiceNotFound, for a stranger's too."""
    found = invoices_of(organization).filter(pk=invoice_id).first()
    if found is None:
        raise InvoiceNotFound
    return found


def frozen_statement(*, organization: Organization, period: Period) -> Statement:
    """The frozen statement of ``period``, for export. Raises StatementRunning."""
    rows = Statement.objects.for_organization(organization).select_related("organization")
    found = rows.filter(period_start=period.start).first()
    if found is None:
        raise StatementRunning
    return found


def verifier_program() -> str:
    """The program that recomputes a bill from its export, to be saved and run by the customer."""
    return Path(verify_statement.__file__).read_text(encoding="utf-8")
