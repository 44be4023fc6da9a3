"""The administrator's review as pages: queues, second pairs of eyes, reconciliation, anomalies, margin, audit log."""

import csv
import datetime as dt
import io

import pytest
from django.test import Client
from django.urls import URLPattern, reverse

from moorage.accounts import limits as accounts_limits
from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry, Organization, User
from moorage.billing import approvals, rater
from moorage.billing import services as billing
from moorage.billing.models import (
    AnomalyKind,
    ApprovalRequest,
    ApprovalStatus,
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
from moorage.console import urls_billing
from moorage.kernel import clock
from moorage.kernel.money import PICO
from tests.billing.measured import use
from tests.cast import Cast
from tests.console.conftest import browser_of
from tests.console.pages import inline_code, text_of
from tests.console.usage_rows import MONTH, closed_october, line_of, october

ADMIN = [
    pattern
    for pattern in urls_billing.urlpatterns
    if isinstance(pattern, URLPattern) and str(pattern.pattern).startswith("admin")
]


@pytest.fixture
def bea(db: None) -> Client:
    """Another administrator's."""
    return browser_of(User.objects.create(email="bea@example.com", password="!", is_administrator=True))


@pytest.fixture
def four_eyes(settings: object) -> None:
    """From one cent on."""
    settings.MOORAGE_FOUR_EYES_PICO = PICO // 100  # type: ignore[attr-defined]


@pytest.mark.parametrize("pattern", ADMIN, ids=lambda pattern: str(pattern.name))
def test_no_address_of_the_administrator_is_there_for_anybody_else(cast: Cast, pattern: URLPattern) -> None:
    values = {"slug": "harbour", "anomaly_id": 1, "job": "R1", "verb": "approve", "period": MONTH}
    wanted = {part: values.get(part, "x") for part in pattern.pattern.converters}
    address = reverse(f"console:{pattern.name}", kwargs=wanted)
    alice = browser_of(cast.alice.user)

    assert alice.get(address).status_code == 404
    assert alice.post(address, {"reason": "mine"}).status_code == 404
    assert Client().get(address).status_code == 302


def test_the_queue_says_why_how_long_and_what_changed(cast: Cast, ada: Client) -> None:
    invoice = closed_october(cast.alice.organization)
    Invoice.objects.filter(pk=invoice.pk).update(disputed_at=clock.now() - dt.timedelta(hours=3))

    answer = ada.get("/admin/review")

    (row,) = answer.context["queue"]
    page = text_of(answer)
    assert row["waiting"].is_disputed
    assert "3 h" in page and "Disputed" in page and "no invoice then" in page
    assert inline_code(page) == []


def test_empty_queues_say_what_will_come(cast: Cast, ada: Client) -> None:
    page = text_of(ada.get("/admin/review"))

    assert "No invoice waits" in page
    assert "MOORAGE_FOUR_EYES_PICO" in page


def test_an_administrator_drills_from_the_invoice_to_the_journal(cast: Cast, ada: Client) -> None:
    invoice = closed_october(cast.alice.organization)
    line = line_of(cast.alice.organization, "output_tokens")

    page = text_of(ada.get(f"/admin/invoices/{invoice.pk}"))
    requests = text_of(ada.get(f"/admin/organizations/harbour/lines/{line.id}?period={MONTH}"))
    request_id = requests.partition("/admin/organizations/harbour/requests/")[2].partition('"')[0]
    request = text_of(ada.get(f"/admin/organizations/harbour/requests/{request_id}"))

    assert f"/admin/organizations/harbour/lines/{line.id}" in page
    assert "Where the figures come from" in request and "<code>engine</code>" in request


def test_an_invoice_is_sent_back_with_what_has_to_be_cleared(cast: Cast, ada: Client) -> None:
    invoice = closed_october(cast.alice.organization)

    without = ada.post(f"/admin/invoices/{invoice.pk}/send-back", {"reason": ""})
    answer = ada.post(f"/admin/invoices/{invoice.pk}/send-back", {"reason": "Ask them about the peak."})

    invoice.refresh_from_db()
    assert (without.status_code, answer.status_code) == (422, 302)
    assert invoice.status == InvoiceStatus.IN_REVIEW
    assert invoice.reason == "Sent back by ada@example.com: Ask them about the peak."
    assert AuditEntry.objects.filter(subject=invoice.pk, action="invoice.sent_back").exists()
    assert "Ask them about the peak." in text_of(ada.get("/admin/review"))


def finalized(cast: Cast, ada: Client) -> Invoice:
    """October's invoice, approved."""
    invoice = closed_october(cast.alice.organization)
    ada.post(f"/admin/invoices/{invoice.pk}/approve", {"reason": "Checked."})
    invoice.refresh_from_db()
    return invoice


def test_an_adjustment_is_a_credit_note_and_leaves_the_invoice_as_it_is(cast: Cast, ada: Client) -> None:
    invoice = finalized(cast, ada)

    too_much = ada.post(f"/admin/invoices/{invoice.pk}/adjust", {"amount": "999.00", "reason": "Sorry."})
    answer = ada.post(f"/admin/invoices/{invoice.pk}/adjust", {"amount": "0.50", "reason": "Sorry."})

    note = CreditNote.objects.get()
    assert (too_much.status_code, answer.status_code) == (422, 302)
    assert (note.subtotal_cents, note.reason) == (50, "Sorry.")
    assert Invoice.objects.get().total_cents == invoice.total_cents
    assert AuditEntry.objects.filter(subject=invoice.pk, action="invoice.adjusted").exists()


def test_a_large_adjustment_waits_for_another_administrator(
    cast: Cast, ada: Client, bea: Client, four_eyes: None
) -> None:
    invoice = finalized(cast, ada)
    answer = ada.post(f"/admin/invoices/{invoice.pk}/adjust", {"amount": "", "reason": "Ours."}, follow=True)
    request = ApprovalRequest.objects.get()

    mine = ada.post(f"/admin/approvals/{request.pk}/approve", {"reason": ""}, follow=True)
    asked = text_of(bea.get("/admin/review"))
    before = CreditNote.objects.count()
    bea.post(f"/admin/approvals/{request.pk}/approve", {"reason": "Agreed."})
    bea.post(f"/admin/approvals/{request.pk}/approve", {"reason": "Agreed."})

    assert "waits for another administrator" in text_of(answer)
    assert "A second person decides" in text_of(mine)
    assert "Ours." in asked and f"/admin/approvals/{request.pk}/approve" in asked
    assert f"/admin/approvals/{request.pk}/approve" not in text_of(ada.get("/admin/review"))
    assert (before, CreditNote.objects.count()) == (0, 1)
    assert approvals.find(request.pk).status == ApprovalStatus.APPROVED


def test_a_request_is_refused_with_a_reason_or_taken_back(
    cast: Cast, ada: Client, bea: Client, four_eyes: None
) -> None:
    invoice = finalized(cast, ada)
    ada.post(f"/admin/invoices/{invoice.pk}/void", {"reason": "Ours."})
    request = ApprovalRequest.objects.get()

    without = bea.post(f"/admin/approvals/{request.pk}/refuse", {"reason": ""}, follow=True)
    ada.post(f"/admin/approvals/{request.pk}/withdraw")

    assert "Say why" in text_of(without)
    assert approvals.find(request.pk).status == ApprovalStatus.WITHDRAWN
    assert Invoice.objects.get().status == InvoiceStatus.FINALIZED
    assert bea.post(f"/admin/approvals/{request.pk}/explode").status_code == 404
    assert bea.post("/admin/approvals/apr_nothing/approve").status_code == 404


def test_credit_is_given_once_for_a_form(cast: Cast, ada: Client) -> None:
    form = ada.get("/admin/organizations/harbour/credit").context["form"]
    sent = {"amount": "12.50", "reason": "For the outage.", "key": form["key"].initial or form.initial["key"]}

    wrong = ada.post("/admin/organizations/harbour/credit", {**sent, "amount": "0.001"})
    for _ in range(2):
        ada.post("/admin/organizations/harbour/credit", sent)

    grant = Grant.objects.get()
    assert wrong.status_code == 422
    assert (grant.amount_pico, grant.kind) == (12 * PICO + PICO // 2, "promotional")
    assert AuditEntry.objects.filter(action="credit.given", detail__reason="For the outage.").exists()


def test_large_credit_waits_and_is_given_once(cast: Cast, ada: Client, bea: Client, four_eyes: None) -> None:
    sent = {"amount": "12.50", "reason": "For the outage.", "key": "a"}
    ada.post("/admin/organizations/harbour/credit", sent)
    ada.post("/admin/organizations/harbour/credit", sent)
    request = ApprovalRequest.objects.get()
    before = Grant.objects.count()

    bea.post(f"/admin/approvals/{request.pk}/approve")
    ada.post("/admin/organizations/harbour/credit", sent)

    assert before == 0
    assert Grant.objects.get().amount_pico == 12 * PICO + PICO // 2
    assert ApprovalRequest.objects.count() == 1


def test_an_administrator_sets_an_organizations_limits(cast: Cast, ada: Client) -> None:
    answer = ada.post("/admin/organizations/harbour/limits", {"requests_per_minute": "60"})

    harbour = cast.alice.organization
    assert answer.status_code == 302
    assert accounts_limits.limits_of(organization=harbour, subject=harbour.pk).requests_per_minute == 60
    assert AuditEntry.objects.get(action="limits.changed").actor == cast.ada.id
    assert "60" in text_of(ada.get("/admin/organizations/harbour/limits"))


def test_what_the_provider_refused_is_given_up_with_a_reason(cast: Cast, ada: Client) -> None:
    finalized(cast, ada)
    OutboxMessage.objects.update(parked_at=clock.now(), last_error="No such customer.")
    message = OutboxMessage.objects.get()

    without = ada.post(f"/admin/outbox/{message.pk}/give-up", {"reason": ""}, follow=True)
    ada.post(f"/admin/outbox/{message.pk}/give-up", {"reason": "Paid in cash."})

    assert "Say why" in text_of(without)
    assert PutAway.objects.get().because == "Paid in cash."
    assert "No such customer." not in text_of(ada.get("/admin/review"))
    assert ada.post(f"/admin/outbox/{message.pk}/retry").status_code == 404


def test_a_failing_event_is_tried_again_or_put_away(cast: Cast, ada: Client) -> None:
    later = clock.now() + dt.timedelta(hours=1)
    WebhookEvent.objects.create(
        id="evt_1", provider="stripe", kind="invoice.paid", last_error="Another total.", next_attempt_at=later
    )

    listed = text_of(ada.get("/admin/review"))
    ada.post("/admin/webhooks/evt_1/retry")
    due = WebhookEvent.objects.get().next_attempt_at
    ada.post("/admin/webhooks/evt_1/give-up", {"reason": "A test of theirs."})

    assert "Another total." in listed
    assert due < later
    assert "Another total." not in text_of(ada.get("/admin/review"))
    assert ada.post("/admin/webhooks/evt_1/retry").status_code == 404


def differs(organization: Organization, request_id: str) -> ReconciliationRun:
    """A run of R2 that found something about a request."""
    finding = Finding(
        code="not_charged",
        sentence="It was measured and is not charged.",
        subject=request_id,
        organization_id=organization.pk,
        request_id=request_id,
    )
    (row,) = runs.run_due({Job.SETTLED: lambda _: Result(compared=7, findings=(finding,))}, now=clock.now())
    return row


def test_reconciliation_shows_what_differs_with_links_until_it_is_seen_to(cast: Cast, ada: Client) -> None:
    request_id = october(cast.alice.organization)
    row = differs(cast.alice.organization, request_id)

    page = text_of(ada.get("/admin/reconciliation"))
    ada.post("/admin/reconciliation/R2/acknowledge", {"until": row.pk, "reason": "Rated by hand."})
    after = text_of(ada.get("/admin/reconciliation"))

    assert f"/admin/organizations/harbour/requests/{request_id}" in page
    assert "It was measured and is not charged." in page and inline_code(page) == []
    assert 'class="panel finding"' in page and 'class="panel finding"' not in after
    assert "Rated by hand." in after
    assert ada.post("/admin/reconciliation/R2/acknowledge", {"until": "x", "reason": "y"}).status_code == 404
    assert ada.post("/admin/reconciliation/R9/run").status_code == 404


def test_the_button_asks_for_a_run(cast: Cast, ada: Client) -> None:
    ada.post("/admin/reconciliation/R6/run")

    run = ReconciliationRun.objects.get()
    assert (run.job, run.asked_by, run.started_at) == ("R6", "ada@example.com", None)
    assert "asked for" in text_of(ada.get("/admin/reconciliation"))


def test_jobs_that_have_never_run_are_said(cast: Cast, ada: Client) -> None:
    assert "8 jobs have not run yet" in text_of(ada.get("/admin/reconciliation"))


def test_an_anomaly_is_seen_to_with_what_it_was(cast: Cast, ada: Client) -> None:
    anomaly = UsageAnomaly.objects.create(
        kind=AnomalyKind.SURGE,
        organization_id=cast.alice.organization.pk,
        subject_kind="organization",
        subject_id=cast.alice.organization.pk,
        day=clock.now().date(),
        figure=5,
        sentence="Much more than usual.",
    )

    page = text_of(ada.get("/admin/anomalies"))
    ada.post(f"/admin/anomalies/{anomaly.pk}/acknowledge", {"reason": "Their launch."})

    assert "Much more than usual." in page and "Harbour" in page
    assert "Much more than usual." not in text_of(ada.get("/admin/anomalies"))
    assert "Their launch." in text_of(ada.get("/admin/anomalies?all=1"))
    assert ada.post("/admin/anomalies/999999/acknowledge", {"reason": "x"}).status_code == 404


def test_the_margin_of_a_month_stands_by_organization_and_model(cast: Cast, ada: Client) -> None:
    october(cast.alice.organization)

    answer = ada.get(f"/admin/margin?period={MONTH}")

    page = text_of(answer)
    assert answer.context["total"].row.revenue_pico == 2_357_000_000
    assert "Nobody has said what a device costs" in page and "demo/llm" in page
    assert "Nothing was charged and nothing ran" in text_of(ada.get("/admin/margin?period=2026-09"))


def test_the_audit_log_is_filtered_and_downloaded(cast: Cast, ada: Client) -> None:
    finalized(cast, ada)

    page = text_of(ada.get("/admin/audit?organization=harbour&action=invoice"))
    rows = cells(ada, "/admin/audit.csv?organization=harbour&action=invoice.approved")
    nobody = text_of(ada.get("/admin/audit?actor=nobody@example.com"))

    assert "invoice.approved" in page and "Checked." in page and "organization.created" not in page
    assert [row["action"] for row in rows] == ["invoice.approved"]
    assert rows[0]["by"] == "ada@example.com"
    assert "No entry fits" in nobody
    assert ada.get("/admin/audit?organization=nowhere").status_code == 404
    assert ada.get("/admin/audit?since=yesterday").status_code == 422
    assert ada.get("/admin/audit?after=1").status_code == 404


def cells(client: Client, address: str) -> list[dict[str, str]]:
    """The rows of a CSV answer."""
    answer = client.get(address)
    assert answer["Content-Type"].startswith("text/csv") and answer["Cache-Control"] == "no-store"
    return list(csv.DictReader(io.StringIO(text_of(answer))))


@pytest.mark.parametrize("formula", ['=HYPERLINK("http://x")', "+1", "-1", "@x", "\tx"])
def test_no_cell_of_any_download_is_a_formula(cast: Cast, ada: Client, four_eyes: None, formula: str) -> None:
    organization = cast.alice.organization
    invoice = closed_october(organization)
    Invoice.objects.filter(pk=invoice.pk).update(reason=formula)
    use(organization, served_name=formula.strip() or "x")
    rater.rate_all()
    billing.give_credit(
        organization=organization, pico=PICO, reason=f"x {formula}", key="k", by=Actor(id="usr_x", label=formula)
    )
    UsageAnomaly.objects.create(
        kind=AnomalyKind.SURGE,
        organization_id=organization.pk,
        subject_kind="key",
        subject_id=formula[:30],
        day=clock.now().date(),
        figure=1,
        sentence=formula,
    )
    runs.run_due(
        {
            Job.BOOKS: lambda _: Result(
                compared=1, findings=(Finding(code="x", sentence=formula, subject=formula),), note=formula
            )
        },
        now=clock.now(),
    )

    for address in (
        "/admin/review.csv",
        "/admin/approvals.csv",
        "/admin/reconciliation.csv",
        "/admin/anomalies.csv",
        f"/admin/margin.csv?period={MONTH}",
        "/admin/audit.csv",
    ):
        rows = cells(ada, address)
        assert rows, address
        for row in rows:
            for name, cell in row.items():
                is_amount = name in {"change", "margin", "amount"}
                assert is_amount or not cell.startswith(("=", "+", "-", "@", "\t")), (address, name, cell)
