"""The administrator's review over REST: what the pages do, programs do too; and nobody else."""

import csv
import io
import re
from typing import Any

import pytest

from moorage.accounts import services as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry, Scope, User
from moorage.api import openapi
from moorage.billing import closing, rater
from moorage.billing.models import (
    AnomalyKind,
    BillingMonth,
    CreditNote,
    Grant,
    Invoice,
    InvoiceStatus,
    OutboxMessage,
    PutAway,
    ReconciliationRun,
    UsageAnomaly,
    WebhookEvent,
)
from moorage.billing.reconciliation import runs
from moorage.billing.reconciliation.findings import Finding, Result
from moorage.billing.reconciliation.jobs import Job
from moorage.kernel import clock
from moorage.kernel.money import PICO
from tests.api.conftest import Caller, error_of
from tests.billing.measured import CLOSING, OCTOBER, everything_shipped, use
from tests.cast import Cast
from tests.console.usage_rows import MONTH, closed_october, october

ADMIN = sorted(
    (method, path) for path, item in openapi.document()["paths"].items() if "/admin/" in path for method in item
)
IDS = {"slug": "harbour", "anomaly_id": "1", "job": "R1", "number": "1"}


@pytest.fixture
def bea(cast: Cast) -> Caller:
    """Another administrator's program."""
    user = User.objects.create(email="bea@example.com", password="!", is_administrator=True)
    made = accounts.create_key(
        organization=cast.charlie.organization, name="bea's", scopes=[Scope.ADMIN], by=Actor.person(user)
    )
    return Caller(secret=made.secret)


@pytest.fixture
def four_eyes(settings: object) -> None:
    """From one cent on."""
    settings.MOORAGE_FOUR_EYES_PICO = PICO // 100  # type: ignore[attr-defined]


@pytest.mark.parametrize(("method", "path"), ADMIN)
def test_a_key_that_manages_an_organization_opens_nothing_of_the_administrators(
    alice: Caller, anybody: Caller, method: str, path: str
) -> None:
    address = re.sub(r"\{(\w+)\}", lambda part: IDS.get(part[1], "x"), path.removeprefix("/api/v1/"))

    error_of(alice(method.upper(), address, {}), 403)
    error_of(anybody(method.upper(), address, {}), 401)


def test_the_queue_says_why_and_what_changed(cast: Cast, ada: Caller) -> None:
    invoice = closed_october(cast.alice.organization)

    (waiting,) = ada.get("admin/review")["data"]

    assert waiting["invoice"]["id"] == invoice.pk
    assert (waiting["is_disputed"], waiting["last_total"], waiting["change_percent"]) == (False, None, None)
    assert waiting["why"] == invoice.reason


def test_a_disputed_invoice_is_in_the_queue_with_the_month_before(cast: Cast, ada: Caller) -> None:
    invoice = closed_october(cast.alice.organization)
    ada("POST", f"admin/invoices/{invoice.pk}/approve", {"reason": "Checked."})
    use(cast.alice.organization, tokens=(0, 0, 3_000_000), ended_at=OCTOBER.end)
    rater.rate_all()
    everything_shipped(CLOSING.replace(month=12))
    november = closing.close_period(closing.Period.containing(OCTOBER.end), CLOSING.replace(month=12))
    Invoice.objects.filter(statement_id=november[0].statement_id).update(disputed_at=clock.now())

    (waiting,) = (one for one in ada.get("admin/review")["data"] if one["is_disputed"])

    assert waiting["last_total"] == f"{invoice.total_cents // 100}.{invoice.total_cents % 100:02d}"
    total = Invoice.objects.get(disputed_at__isnull=False).total_cents
    assert waiting["change_percent"] == (total - invoice.total_cents) * 100 // invoice.total_cents


def test_an_invoice_is_sent_back_adjusted_and_given_up(cast: Cast, ada: Caller) -> None:
    invoice = closed_october(cast.alice.organization)
    back = ada("POST", f"admin/invoices/{invoice.pk}/send-back", {"reason": "Ask them."})
    ada("POST", f"admin/invoices/{invoice.pk}/approve", {"reason": "They answered."})

    adjusted = ada("POST", f"admin/invoices/{invoice.pk}/adjust", {"amount": "0.50", "reason": "Sorry."})
    nonsense = ada("POST", f"admin/invoices/{invoice.pk}/adjust", {"amount": "1e3", "reason": "Sorry."})
    given_up = ada("POST", f"admin/invoices/{invoice.pk}/mark-uncollectible", {"reason": "Gone."})

    assert (back.status_code, back.json()["status"]) == (200, "in_review")
    assert adjusted.status_code == 200 and CreditNote.objects.get().subtotal_cents == 50
    error_of(nonsense, 422)
    assert given_up.json()["status"] == "uncollectible"


def test_giving_up_a_large_invoice_waits_for_another_person(
    cast: Cast, ada: Caller, bea: Caller, four_eyes: None
) -> None:
    invoice = closed_october(cast.alice.organization)
    bea("POST", f"admin/invoices/{invoice.pk}/approve", {"reason": "Checked."})

    asked = ada("POST", f"admin/invoices/{invoice.pk}/mark-uncollectible", {"reason": "Gone."})
    before = Invoice.objects.get().status
    bea("POST", f"admin/approvals/{asked.json()['id']}/approve", {"reason": "Agreed."})

    assert (asked.status_code, before) == (202, InvoiceStatus.FINALIZED)
    assert Invoice.objects.get().status == InvoiceStatus.UNCOLLECTIBLE


def test_what_is_large_is_asked_for_and_agreed_to_by_another_person(
    cast: Cast, ada: Caller, bea: Caller, four_eyes: None
) -> None:
    invoice = closed_october(cast.alice.organization)
    bea("POST", f"admin/invoices/{invoice.pk}/approve", {"reason": "Checked."})
    asked = ada("POST", f"admin/invoices/{invoice.pk}/void", {"reason": "Ours."})
    request_id = asked.json()["id"]

    own = error_of(ada("POST", f"admin/approvals/{request_id}/approve", {}), 409)
    again = error_of(ada("POST", f"admin/invoices/{invoice.pk}/void", {"reason": "Ours."}), 409)
    (listed,) = bea.get("admin/approvals?status=waiting")["data"]
    agreed = bea("POST", f"admin/approvals/{request_id}/approve", {"reason": "Agreed."})
    twice = error_of(bea("POST", f"admin/approvals/{request_id}/approve", {}), 409)

    assert asked.status_code == 202 and listed["id"] == request_id
    assert (own["code"], again["code"], twice["code"]) == ("own_request", "approval_pending", "approval_changed")
    assert agreed.json()["decided_by"] == "bea@example.com"
    assert Invoice.objects.get(pk=invoice.pk).status == InvoiceStatus.VOID


def test_a_request_is_refused_or_taken_back(cast: Cast, ada: Caller, bea: Caller, four_eyes: None) -> None:
    body = {"amount": "500.00", "reason": "Sorry.", "key": "a"}
    first = ada("POST", "admin/organizations/harbour/credit", body).json()["id"]
    second = ada("POST", "admin/organizations/harbour/credit", {**body, "key": "b"}).json()["id"]

    error_of(bea("POST", f"admin/approvals/{first}/refuse", {}), 422)
    refused = bea("POST", f"admin/approvals/{first}/refuse", {"reason": "Too much."}).json()
    taken = ada("POST", f"admin/approvals/{second}/withdraw", {}).json()

    assert (refused["status"], taken["status"]) == ("refused", "withdrawn")
    assert not Grant.objects.exists()
    error_of(ada("POST", "admin/approvals/apr_x/approve", {}), 404)


def test_credit_is_given_once_for_a_key(cast: Cast, ada: Caller) -> None:
    body = {"amount": "12.5", "reason": "For the outage.", "key": "outage"}

    answers = [ada("POST", "admin/organizations/harbour/credit", body).status_code for _ in range(2)]

    assert answers == [204, 204]
    assert Grant.objects.get().amount_pico == 12 * PICO + PICO // 2
    error_of(ada("POST", "admin/organizations/harbour/credit", {**body, "amount": "0", "key": "z"}), 422)
    error_of(ada("POST", "admin/organizations/nowhere/credit", body), 404)


def test_reconciliation_is_read_asked_for_and_seen_to(cast: Cast, ada: Caller) -> None:
    finding = Finding(code="x", sentence="It differs.", subject="req_a", request_id="req_a")
    (row,) = runs.run_due({Job.SETTLED: lambda _: Result(compared=7, findings=(finding,))}, now=clock.now())

    jobs = {one["job"]: one for one in ada.get("admin/reconciliation")["data"]}
    (listed,) = ada.get("admin/reconciliation/runs?job=R2")["data"]
    asked = ada("POST", "admin/reconciliation/R3/run")
    seen = ada("POST", "admin/reconciliation/R2/acknowledge", {"until": row.pk, "reason": "Done."})

    assert len(jobs) == 8
    assert (jobs["R2"]["open_runs"], jobs["R2"]["last_run"]["is_clean"], jobs["R1"]["last_run"]) == (1, False, None)
    assert listed["findings"] == [finding.to_json()]
    assert asked.status_code == 202 and ReconciliationRun.objects.get(job="R3").asked_by.startswith("API key")
    assert seen.status_code == 204 and not runs.open_runs().exists()
    error_of(ada("POST", "admin/reconciliation/R9/run"), 404)
    error_of(ada("POST", "admin/reconciliation/R2/acknowledge", {"until": row.pk, "reason": "Again."}), 404)


def test_anomalies_are_listed_and_seen_to(cast: Cast, ada: Caller) -> None:
    anomaly = UsageAnomaly.objects.create(
        kind=AnomalyKind.SURGE,
        organization_id=cast.alice.organization.pk,
        subject_kind="key",
        subject_id="key_a",
        day=clock.now().date(),
        figure=9,
        sentence="Much more than usual.",
    )

    (listed,) = ada.get("admin/anomalies")["data"]
    seen = ada("POST", f"admin/anomalies/{anomaly.pk}/acknowledge", {"reason": "Their launch."})

    assert listed["id"] == anomaly.pk
    assert seen.json()["acknowledged_because"] == "Their launch."
    assert ada.get("admin/anomalies")["data"] == []
    assert len(ada.get("admin/anomalies?is_open=false")["data"]) == 1
    error_of(ada("POST", "admin/anomalies/99999/acknowledge", {"reason": "x"}), 404)


def test_the_margin_comes_to_the_total_in_every_table(cast: Cast, ada: Caller) -> None:
    october(cast.alice.organization)

    month = ada.get(f"admin/margin?period={MONTH}")

    assert month["total"]["revenue"]["pico"] == "2357000000"
    for table in ("by_organization", "by_model", "by_device_class", "rows"):
        assert sum(int(row["margin"]["pico"]) for row in month[table]) == int(month["total"]["margin"]["pico"])
    error_of(ada("GET", "admin/margin?period=2026-13"), 422)


def test_unpriced_usage_and_held_months_are_there_for_programs(cast: Cast, ada: Caller) -> None:
    use(cast.alice.organization)
    rater.rate_all()
    BillingMonth.objects.update_or_create(
        organization_id=cast.alice.organization.pk,
        period_start=OCTOBER.start,
        defaults={"held_reason": "Set a price."},
    )

    (unpriced,) = ada.get("admin/unpriced")["data"]
    (held,) = ada.get("admin/held-months")["data"]

    assert (unpriced["meter"], unpriced["count"]) == ("input_tokens", 1)
    assert (held["period"], held["reason"]) == (MONTH, "Set a price.")


def test_the_audit_log_is_filtered(cast: Cast, ada: Caller) -> None:
    invoice = closed_october(cast.alice.organization)
    ada("POST", f"admin/invoices/{invoice.pk}/approve", {"reason": "Checked."})

    (entry,) = ada.get(f"admin/audit?subject={invoice.pk}&action=invoice")["data"]
    first = ada.get("admin/audit?organization=harbour&limit=1")

    assert (entry["action"], entry["detail"]["reason"]) == ("invoice.approved", "Checked.")
    assert first["next_cursor"]
    assert ada.get("admin/audit?until=2020-01-01T00:00:00Z")["data"] == []
    error_of(ada("GET", "admin/audit?organization=nowhere"), 404)
    error_of(ada("GET", "admin/audit?who=ada"), 422)


def test_messages_and_events_that_failed_are_tried_again_or_given_up(cast: Cast, ada: Caller) -> None:
    invoice = closed_october(cast.alice.organization)
    ada("POST", f"admin/invoices/{invoice.pk}/approve", {"reason": "Checked."})
    OutboxMessage.objects.update(parked_at=clock.now(), last_error="No such customer.")
    WebhookEvent.objects.create(id="evt_1", provider="stripe", kind="invoice.paid", last_error="Another total.")
    (message,) = ada.get("admin/outbox")["data"]
    (event,) = ada.get("admin/webhooks")["data"]

    assert ada("POST", f"admin/outbox/{message['id']}/retry").status_code == 204
    error_of(ada("POST", f"admin/outbox/{message['id']}/retry"), 404)
    OutboxMessage.objects.update(parked_at=clock.now())
    assert ada("POST", f"admin/outbox/{message['id']}/give-up", {"reason": "By hand."}).status_code == 204
    assert ada("POST", f"admin/webhooks/{event['id']}/retry").status_code == 204
    assert ada("POST", f"admin/webhooks/{event['id']}/give-up", {"reason": "A test."}).status_code == 204

    assert ada.get("admin/outbox")["data"] == ada.get("admin/webhooks")["data"] == []
    assert PutAway.objects.count() == 2
    actions = AuditEntry.objects.filter(action__regex="^(outbox|webhook)").order_by("id")
    assert sorted(actions.values_list("action", flat=True)) == [
        "outbox.given_up",
        "outbox.retried",
        "webhook.given_up",
        "webhook.retried",
    ]


def test_a_request_is_followed_to_its_journal(cast: Cast, ada: Caller) -> None:
    request_id = use(cast.alice.organization)

    found = ada.get(f"admin/requests/{request_id}/source")

    assert (found["source"], found["request_id"], found["segments"]) == ("engine", request_id, [])
    error_of(ada("GET", "admin/requests/req_x/source"), 404)


def test_an_administrator_sets_an_organizations_limits(cast: Cast, ada: Caller) -> None:
    answer = ada("PUT", "admin/organizations/harbour/limits", {"requests_per_minute": 60, "money_per_month": "50.00"})

    assert answer.json()["limits"]["requests_per_minute"] == 60
    assert ada.get("admin/organizations/harbour/limits")["limits"]["money_per_month"] == "50.00"
    error_of(ada("PUT", "admin/organizations/nowhere/limits", {}), 404)


@pytest.mark.parametrize(
    "path", ["admin/reconciliation/runs", "admin/anomalies", f"admin/margin?period={MONTH}", "admin/audit"]
)
def test_tables_come_as_csv_too(cast: Cast, ada: Caller, path: str) -> None:
    october(cast.alice.organization)
    joined = "&" if "?" in path else "?"

    by_parameter = ada("GET", f"{path}{joined}format=csv")
    by_header = ada("GET", path, accept="text/csv")

    assert by_parameter["content-type"] == by_header["content-type"] == "text/csv; charset=utf-8"
    rows: list[Any] = list(csv.reader(io.StringIO(by_header.content.decode())))
    assert len({len(row) for row in rows}) == 1
    assert ada("GET", f"{path}{joined}format=json", accept="*/*")["content-type"].startswith("application/json")
