"""What an administrator sees and does: all organizations, down to one request; invoices; keys; nodes."""

import msgspec
import pytest
from django.test import Client

from moorage.accounts import queries as accounts
from moorage.accounts.models import ApiKey, AuditEntry, Scope
from moorage.billing import outbox, rater
from moorage.billing import queries as billing
from moorage.billing.models import Invoice, InvoiceStatus, OutboxMessage, Price
from moorage.billing.payments_transfer import TransferProvider
from moorage.fleet.models import Node
from moorage.kernel import clock, ids
from moorage.metering import usage_table
from tests.billing.measured import OCTOBER, request, use
from tests.cast import Cast
from tests.console.conftest import browser_of
from tests.console.usage_rows import MONTH, closed_october, line_of, october

NEW_PRICE = {"meter": "output_tokens", "model": "demo/*", "price": "0.75", "valid_from": "", "note": "dearer"}


def _addresses(cast: Cast) -> list[str]:
    invoice = closed_october(cast.alice.organization)
    request_id = use(cast.alice.organization)
    line = line_of(cast.alice.organization, "output_tokens")
    return [
        "/admin",
        "/admin/organizations",
        f"/admin/organizations/harbour?period={MONTH}",
        f"/admin/organizations/harbour/statement.csv?period={MONTH}",
        f"/admin/organizations/harbour/statement.json?period={MONTH}",
        f"/admin/organizations/harbour/lines/{line.id}?period={MONTH}",
        f"/admin/organizations/harbour/requests?period={MONTH}",
        f"/admin/organizations/harbour/requests/{request_id}",
        "/admin/prices",
        "/admin/invoices",
        f"/admin/invoices/{invoice.id}",
        "/admin/nodes",
        "/admin/api-keys",
        "/admin/review",
        "/admin/review.csv",
        "/admin/approvals",
        "/admin/approvals.csv",
        "/admin/reconciliation",
        "/admin/reconciliation?job=R2",
        "/admin/reconciliation.csv",
        "/admin/anomalies",
        "/admin/anomalies?all=1",
        "/admin/anomalies.csv",
        f"/admin/margin?period={MONTH}",
        f"/admin/margin.csv?period={MONTH}",
        "/admin/audit",
        "/admin/audit?action=invoice&since=2026-01-01",
        "/admin/audit.csv",
        "/admin/organizations/harbour/credit",
        "/admin/organizations/harbour/limits",
        "/admin/organizations/harbour/trust-class",
    ]


def test_administrators_pages_exist_for_administrators_alone(cast: Cast, ada: Client) -> None:
    alice = browser_of(cast.alice.user)

    for address in _addresses(cast):
        assert ada.get(address).status_code == 200, address
        assert alice.get(address).status_code == 404, address
        assert Client().get(address).status_code == 302, address


def test_nobody_else_sets_a_price_approves_an_invoice_or_makes_a_key(cast: Cast) -> None:
    invoice = closed_october(cast.alice.organization)
    alice, prices = browser_of(cast.alice.user), Price.objects.count()

    answers = [
        alice.post("/admin/prices", NEW_PRICE),
        alice.post(f"/admin/invoices/{invoice.id}/approve", {"reason": "mine"}),
        alice.post("/admin/api-keys", {"name": "x", "organization": "harbour", "days": "30"}),
    ]

    assert [answer.status_code for answer in answers] == [404, 404, 404]
    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.IN_REVIEW
    assert Price.objects.count() == prices
    assert not ApiKey.objects.exists()


def test_every_organization_stands_with_its_month(cast: Cast, ada: Client) -> None:
    october(cast.alice.organization, tokens=(1234, 200, 567))

    answer = ada.get(f"/admin/organizations?period={MONTH}")

    harbour, island = answer.context["rows"]
    statement = billing.statement(organization=cast.alice.organization, period=OCTOBER).statement
    assert harbour.amount_pico == statement.total_pico
    assert answer.context["totals"] == (("USD", statement.total_pico),)
    assert (harbour.usage.input_tokens, harbour.usage.replica_seconds) == (1234, 90)
    assert (island.organization.slug, island.amount_pico) == ("island", 0)
    assert "0.002357" in answer.content.decode()


def test_usage_without_a_price_is_an_alarm_that_leads_to_the_price(cast: Cast, ada: Client) -> None:
    use(cast.alice.organization)
    rater.rate_all()

    answer = ada.get(f"/admin/organizations?period={MONTH}")

    page = answer.content.decode()
    assert answer.context["rows"][0].unpriced == 1
    assert "Usage without a price" in page
    assert (
        "/admin/prices?meter=input_tokens&amp;model=demo/llm&amp;currency=USD&amp;valid_from=2026-10-15T12:00#set"
        in page
    )


def test_an_engine_whose_figures_were_not_borne_out_is_an_alarm_that_leads_to_a_request(
    cast: Cast, ada: Client
) -> None:
    plain = request(cast.alice.organization.id, tokens=(10, 0, 5))
    disputed = msgspec.structs.replace(plain, request_id=ids.new("req"), is_disputed=True)
    usage_table.put([plain, disputed])

    page = ada.get(f"/admin/organizations?period={MONTH}").content.decode()
    one = ada.get(f"/admin/organizations/harbour/requests/{disputed.request_id}").content.decode()

    assert "demo/llm: 1 requests (Harbour)" in page
    assert f"/requests/{disputed.request_id}" in page and plain.request_id not in page
    assert "claimed another count" in one


def test_an_administrator_drills_from_an_organization_to_one_request(cast: Cast, ada: Client) -> None:
    request_id = october(cast.alice.organization)
    line = line_of(cast.alice.organization, "output_tokens")

    statement = ada.get(f"/admin/organizations/harbour?period={MONTH}").content.decode()
    lines = ada.get(f"/admin/organizations/harbour/lines/{line.id}?period={MONTH}").content.decode()
    request = ada.get(f"/admin/organizations/harbour/requests/{request_id}").content.decode()

    assert f"/admin/organizations/harbour/lines/{line.id}" in statement
    assert f"/admin/organizations/harbour/requests/{request_id}" in lines
    assert "0.60 USD per 1M tokens" in request


def test_a_request_is_found_by_its_id_alone(cast: Cast, ada: Client) -> None:
    request_id = october(cast.alice.organization)

    found = ada.get(f"/admin/find-request?id={request_id}")
    unknown = ada.get("/admin/find-request?id=req_nothing")

    assert found["Location"] == f"/admin/organizations/harbour/requests/{request_id}"
    assert unknown.status_code == 404


def test_approving_an_invoice_moves_it_and_says_who_and_why(cast: Cast, ada: Client) -> None:
    invoice = closed_october(cast.alice.organization)
    queued = ada.get("/admin/review").context["queue"]

    answer = ada.post(f"/admin/invoices/{invoice.id}/approve", {"reason": "Counters agree."})

    assert [row["waiting"].invoice.id for row in queued] == [invoice.id]
    assert answer.status_code == 302
    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.FINALIZED
    assert invoice.reviewed_by == "ada@example.com"
    page = ada.get(f"/admin/invoices/{invoice.id}").content.decode()
    assert "Counters agree." in page
    assert "invoice.approved" in page
    assert not ada.get("/admin/review").context["queue"]


def _issued_invoice(cast: Cast, ada: Client) -> Invoice:
    """A finalized invoice that the bank-transfer provider has issued."""
    invoice = closed_october(cast.alice.organization)
    ada.post(f"/admin/invoices/{invoice.id}/approve", {"reason": "Checked."})
    outbox._send(OutboxMessage.objects.get(subject_id=invoice.id), {"transfer": TransferProvider()}, clock.now())
    invoice.refresh_from_db()
    return invoice


def test_a_bank_transfer_is_recorded_with_where_it_can_be_read(cast: Cast, ada: Client) -> None:
    invoice = _issued_invoice(cast, ada)

    answer = ada.post(f"/admin/invoices/{invoice.id}/mark-paid", {"reason": "Line 17 of the list."})

    assert answer.status_code == 302
    invoice.refresh_from_db()
    assert invoice.status == InvoiceStatus.PAID
    assert "Line 17 of the list." in ada.get(f"/admin/invoices/{invoice.id}").content.decode()


@pytest.mark.parametrize(
    ("verb", "status"), [("void", InvoiceStatus.VOID), ("mark-uncollectible", InvoiceStatus.UNCOLLECTIBLE)]
)
def test_giving_an_invoice_up_needs_a_reason(cast: Cast, ada: Client, verb: str, status: InvoiceStatus) -> None:
    invoice = _issued_invoice(cast, ada)

    without = ada.post(f"/admin/invoices/{invoice.id}/{verb}", {"reason": " "})
    unmoved = Invoice.objects.get(pk=invoice.pk).status
    ada.post(f"/admin/invoices/{invoice.id}/{verb}", {"reason": "Our own test."})

    assert (without.status_code, unmoved) == (422, InvoiceStatus.FINALIZED)
    assert Invoice.objects.get(pk=invoice.pk).status == status
    assert AuditEntry.objects.filter(subject=invoice.id, detail__reason="Our own test.").exists()


def test_the_page_offers_only_what_the_status_allows(cast: Cast, ada: Client) -> None:
    invoice = closed_october(cast.alice.organization)

    offered = [verb for verb, _, _ in ada.get(f"/admin/invoices/{invoice.id}").context["verbs"]]
    refused = ada.post(f"/admin/invoices/{invoice.id}/mark-paid", {"reason": "too early"})

    assert offered == ["approve", "send-back", "void"]
    assert refused.status_code == 422
    assert Invoice.objects.get().status == InvoiceStatus.IN_REVIEW


def test_a_refused_message_is_sent_again(cast: Cast, ada: Client) -> None:
    invoice = _issued_invoice(cast, ada)
    OutboxMessage.objects.update(sent_at=None, parked_at=invoice.created_at, last_error="No such customer.")
    message = OutboxMessage.objects.get()

    listed = ada.get("/admin/review").content.decode()
    ada.post(f"/admin/outbox/{message.id}/retry")

    assert "No such customer." in listed
    message.refresh_from_db()
    assert message.parked_at is None


def test_an_administrators_key_is_shown_once_and_opens_only_the_administrators_rest(cast: Cast) -> None:
    cast.alice.user.is_administrator = True
    cast.alice.user.save()
    alice = browser_of(cast.alice.user)

    answer = alice.post("/admin/api-keys", {"name": "month-end", "organization": "harbour", "days": "90"})

    secret = answer.context["made"].secret
    assert secret in answer.content.decode()
    assert answer["Cache-Control"] == "no-store"
    key = accounts.key_for_secret(secret)
    assert key is not None
    assert key.scopes == [Scope.ADMIN]
    assert key.expires_at is not None
    again = alice.get("/admin/api-keys").content.decode()
    assert "month-end" in again
    assert secret not in again


def test_a_key_of_an_administrator_is_kept_only_with_their_own_organization(cast: Cast, ada: Client) -> None:
    answer = ada.post("/admin/api-keys", {"name": "x", "organization": "harbour", "days": ""})

    assert answer.status_code == 422
    assert "you belong to none" in ada.get("/admin/api-keys").content.decode()
    assert not ApiKey.objects.exists()


def test_a_revoked_key_opens_nothing(cast: Cast, ada: Client) -> None:
    secret = cast.alice.key(Scope.ADMIN)
    key = ApiKey.objects.get()

    ada.post(f"/admin/api-keys/{key.id}/revoke")

    assert accounts.key_for_secret(secret) is None


def test_other_keys_are_not_the_administrators_to_revoke(cast: Cast, ada: Client) -> None:
    cast.alice.key(Scope.MANAGE)

    answer = ada.post(f"/admin/api-keys/{ApiKey.objects.get().id}/revoke")

    assert answer.status_code == 404
    assert ApiKey.objects.get().revoked_at is None


def test_nodes_stand_with_what_is_reserved_on_them(cast: Cast, ada: Client) -> None:
    Node.objects.create(
        name="quay-1", memory_bytes=8 * 2**30, used_memory_bytes=2**30, cpu_millis=4000, runtime="docker"
    )

    page = ada.get("/admin/nodes").content.decode()

    assert "quay-1" in page
    assert "1 GiB of 8 GiB" in page


@pytest.mark.parametrize("hostile", ["<script>alert(1)</script>", '"><img src=x onerror=alert(1)>'])
def test_names_that_are_markup_are_shown_as_text(cast: Cast, ada: Client, hostile: str) -> None:
    use(cast.alice.organization, served_name=hostile)
    rater.rate_all()
    ada.post("/admin/prices", {**NEW_PRICE, "model": hostile})

    pages = [
        ada.get(address).content.decode()
        for address in (
            f"/admin/organizations?period={MONTH}",
            f"/admin/organizations/harbour/requests?period={MONTH}",
            "/admin/prices",
        )
    ]

    assert not [page for page in pages if hostile in page]
