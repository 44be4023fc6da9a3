"""The administrator's tables for a spreadsheet. No cell can be taken for a formula."""

from collections.abc import Callable, Iterable, Mapping

from moorage.accounts.models import AuditEntry
from moorage.billing.margin import Margin, Row
from moorage.billing.models import ApprovalRequest, ReconciliationRun, UsageAnomaly
from moorage.billing.review_queue import Waiting
from moorage.billing.statement_csv import Figure, written
from moorage.kernel.clock import Period
from moorage.kernel.money import PICO_PER_CENT, Money


def _amount(pico: int | None) -> str:
    return "" if pico is None else Figure(str(Money(pico)).partition(" ")[0])


def _cents(cents: int | None) -> str:
    return _amount(None if cents is None else cents * PICO_PER_CENT)


def queue_csv(rows: Iterable[Waiting]) -> str:
    """The queue of invoices."""
    head = ("invoice", "organization", "period", "status", "disputed", "why", "since", "total", "last_month", "change")
    return written(
        (*head, "currency"),
        (
            (
                one.invoice.pk,
                one.invoice.organization.slug,
                str(Period.containing(one.invoice.statement.period_start)),
                one.invoice.status,
                "yes" if one.is_disputed else "no",
                one.why,
                one.since.isoformat(),
                _cents(one.invoice.total_cents),
                _cents(one.last_cents),
                _cents(one.change_cents),
                one.invoice.currency,
            )
            for one in rows
        ),
    )


def approvals_csv(rows: Iterable[ApprovalRequest]) -> str:
    """Requests for a second pair of eyes."""
    head = ("id", "kind", "organization", "invoice", "amount", "reason", "status", "requested_by", "requested_at")
    return written(
        (*head, "decided_by", "decided_at", "decided_because"),
        (
            (
                one.pk,
                one.kind,
                one.organization.slug,
                one.invoice_id,
                _amount(int(one.amount_pico)),
                one.reason,
                one.status,
                one.requested_by,
                one.requested_at.isoformat(),
                one.decided_by,
                one.decided_at.isoformat() if one.decided_at else "",
                one.decided_because,
            )
            for one in rows
        ),
    )


def runs_csv(rows: Iterable[ReconciliationRun]) -> str:
    """Runs, a line for each finding; a clean one has a line of its own."""
    head = ("run", "job", "started_at", "ended_at", "clean", "compared", "findings", "note", "code", "subject")
    lines: list[tuple[str, ...]] = []
    for run in rows:
        first = (
            str(run.pk),
            run.job,
            run.started_at.isoformat() if run.started_at else "",
            run.ended_at.isoformat() if run.ended_at else "",
            "yes" if run.is_clean else "no",
            str(run.compared),
            str(run.finding_count),
            run.note,
        )
        seen_to = (run.acknowledged_by, run.acknowledged_because)
        for finding in run.findings or [{}]:
            told = (finding.get("code", ""), finding.get("subject", ""), finding.get("sentence", ""))
            lines.append((*first, *told, *seen_to))
    return written((*head, "sentence", "seen_to_by", "seen_to_because"), lines)


def anomalies_csv(rows: Iterable[UsageAnomaly], slugs: Mapping[str, str]) -> str:
    """Unusual usage."""
    head = ("id", "day", "kind", "organization", "subject_kind", "subject", "figure", "usual", "sentence", "found_at")
    return written(
        (*head, "seen_to_by", "seen_to_because"),
        (
            (
                str(one.pk),
                one.day.isoformat(),
                one.kind,
                slugs.get(one.organization_id, one.organization_id),
                one.subject_kind,
                one.subject_id,
                str(one.figure),
                str(one.usual),
                one.sentence,
                one.found_at.isoformat(),
                one.acknowledged_by,
                one.acknowledged_because,
            )
            for one in rows
        ),
    )


def margin_csv(month: Margin, period: Period, slugs: Mapping[str, str]) -> str:
    """Every combination, then what stood idle, then the total. A cost that is declared in other currencies alone is
    left empty, and the margin with it."""
    name: Callable[[Row], str] = lambda row: slugs.get(row.organization_id, row.organization_id)  # noqa: E731
    lines = [("usage", row) for row in month.rows] + [("idle", row) for row in month.idle] + [("total", month.total)]
    return written(
        ("period", "line", "organization", "model", "device_class", "seconds", "revenue", "cost", "margin", "currency"),
        (
            (
                str(period),
                kind,
                name(row),
                row.served_name,
                row.device_class,
                str(row.seconds),
                _amount(row.revenue_pico),
                _amount(row.cost_pico if row.is_cost_known else None),
                _amount(row.margin_pico if row.is_cost_known else None),
                row.currency,
            )
            for kind, row in lines
        ),
    )


def audit_csv(rows: Iterable[AuditEntry]) -> str:
    """Entries of the audit log."""
    return written(
        ("id", "at", "actor", "by", "action", "subject", "organization", "reason", "detail"),
        (
            (
                one.pk,
                one.at.isoformat(),
                one.actor,
                str(one.detail.get("by", "")),
                one.action,
                one.subject,
                one.organization.slug if one.organization else "",
                str(one.detail.get("reason", "")),
                "; ".join(f"{key}={value}" for key, value in sorted(one.detail.items()) if key not in ("by", "reason")),
            )
            for one in rows
        ),
    )
