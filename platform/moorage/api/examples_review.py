"""Example values of the administrator's review for the OpenAPI document."""

from typing import Any, Final

from moorage.api import examples_statements

_AT: Final = "2026-11-22T08:00:00Z"
_ORGANIZATION: Final[Any] = examples_statements.ORGANIZATION_INVOICE["organization"]
_ORGANIZATION_ID: Final = _ORGANIZATION["id"]
_INVOICE_ID: Final = examples_statements.ORGANIZATION_INVOICE["id"]


def _money(amount: str, pico: int) -> dict[str, str]:
    return {"pico": str(pico), "amount": amount, "currency": "USD"}


WAITING: Final = {
    "invoice": {**examples_statements.ORGANIZATION_INVOICE, "status": "in_review"},
    "why": "It is the first invoice of this organization.",
    "is_disputed": False,
    "since": _AT,
    "last_total": "118.20",
    "change_percent": 12,
}
APPROVAL: Final = {
    "id": "apr_01k7wq0c9v7h3t5a2m8xj4n6bn",
    "kind": "credit",
    "status": "waiting",
    "organization": _ORGANIZATION,
    "invoice_id": "",
    "amount": _money("500.00", 500 * 10**12),
    "reason": "For the outage of 2026-11-20.",
    "requested_by": "ada@example.com",
    "requested_at": _AT,
    "decided_by": "",
    "decided_at": None,
    "decided_because": "",
}
RUN: Final = {
    "id": 812,
    "job": "R2",
    "asked_by": "",
    "started_at": _AT,
    "ended_at": _AT,
    "is_clean": False,
    "compared": 120000,
    "finding_count": 1,
    "findings": [
        {
            "code": "not_charged",
            "sentence": "It was measured, waits for nothing, and is not charged.",
            "subject": "req_01k7wq0c9v7h3t5a2m8xj4n6bh",
            "organization_id": _ORGANIZATION_ID,
            "request_id": "req_01k7wq0c9v7h3t5a2m8xj4n6bh",
        }
    ],
    "note": "",
    "acknowledged_at": None,
    "acknowledged_by": "",
    "acknowledged_because": "",
}
JOB: Final = {
    "job": "R2",
    "title": "Requests, charges and the ledger",
    "compares": "Every request is charged for its tokens once.",
    "every_seconds": 300,
    "last_run": RUN,
    "open_runs": 1,
}
ANOMALY: Final = {
    "id": 17,
    "kind": "surge",
    "organization_id": _ORGANIZATION_ID,
    "subject_kind": "organization",
    "subject_id": _ORGANIZATION_ID,
    "day": "2026-11-22",
    "figure": 2400000,
    "usual": 200000,
    "sentence": "2,400,000 tokens today; on 28 days before it was 200,000 at the median.",
    "found_at": _AT,
    "acknowledged_at": None,
    "acknowledged_by": "",
    "acknowledged_because": "",
}
_ROW: Final = {
    "organization_id": _ORGANIZATION_ID,
    "served_name": "demo/llm",
    "device_class": "NVIDIA H200",
    "seconds": 3600,
    "revenue": _money("9.00", 9 * 10**12),
    "cost": _money("3.60", 36 * 10**11),
    "margin": _money("5.40", 54 * 10**11),
    "cost_unknown": "",
}
MARGIN: Final = {
    "period": "2026-11",
    "currency": "USD",
    "currencies": ["EUR", "USD"],
    "total": {**_ROW, "organization_id": "", "served_name": "", "device_class": ""},
    "by_organization": [{**_ROW, "served_name": "", "device_class": ""}],
    "by_model": [{**_ROW, "organization_id": "", "device_class": ""}],
    "by_device_class": [{**_ROW, "organization_id": "", "served_name": ""}],
    "rows": [_ROW],
    "idle": [],
}
MARGIN_CSV: Final = (
    "period,line,organization,model,device_class,seconds,revenue,cost,margin,currency\r\n"
    "2026-11,usage,harbour,demo/llm,NVIDIA H200,3600,9.00,3.60,5.40,USD\r\n"
)
RUNS_CSV: Final = "run,job,started_at,ended_at,clean,compared,findings,note,code,subject,sentence\r\n812,R2,…\r\n"
ANOMALIES_CSV: Final = "id,day,kind,organization,subject_kind,subject,figure,usual,sentence,found_at\r\n17,…\r\n"
AUDIT_CSV: Final = "id,at,actor,by,action,subject,organization,reason,detail\r\naud_…,…\r\n"
UNPRICED: Final = {
    "organization_id": _ORGANIZATION_ID,
    "meter": "output_tokens",
    "model": "demo/llm",
    "count": 12,
    "since": _AT,
    "currency": "EUR",
    "priced_in": ["USD"],
}
HELD_MONTH: Final = {
    "id": 4,
    "organization_id": _ORGANIZATION_ID,
    "period": "2026-10",
    "reason": "There is no price for output_tokens of demo/llm. Set one.",
}
AUDIT_ENTRY: Final = {
    "id": "aud_01k7wq0c9v7h3t5a2m8xj4n6bp",
    "at": _AT,
    "actor": "usr_01k7wq0c9v7h3t5a2m8xj4n6bq",
    "action": "invoice.approved",
    "subject": _INVOICE_ID,
    "organization": _ORGANIZATION,
    "detail": {"by": "ada@example.com", "reason": "Checked."},
}
MESSAGE: Final = {
    "id": "out_01k7wq0c9v7h3t5a2m8xj4n6br",
    "topic": "invoice.issue",
    "subject_id": _INVOICE_ID,
    "attempts": 3,
    "last_error": "There is no such customer.",
    "created_at": _AT,
    "parked_at": _AT,
}
EVENT: Final = {
    "id": "evt_1",
    "provider": "stripe",
    "kind": "invoice.paid",
    "object_id": "in_1",
    "attempts": 4,
    "last_error": "in_1: total is 118, ours is 119",
    "received_at": _AT,
    "next_attempt_at": _AT,
}
PROVENANCE: Final = {
    "request_id": "req_01k7wq0c9v7h3t5a2m8xj4n6bh",
    "source": "engine",
    "is_disputed": False,
    "boot_id": "01k7wq0c9v7h3t5a2m8xj4n6bs",
    "worker_started_at": _AT,
    "worker_heartbeat_at": _AT,
    "shipped_at": None,
    "segments": [{"name": "01k7wq0c9v7h3t5a2m8xj4n6bs-1.journal", "offset": 8192}],
    "recorded_at": _AT,
}
