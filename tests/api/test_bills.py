"""Invoices, credit notes, exports and billing details over REST."""

import hashlib
import json
from typing import Any

import pytest

from moorage.accounts.actor import Actor
from moorage.billing import credit_notes
from moorage.billing.models import Invoice
from moorage.billing.policy import ReviewPolicy
from tests.api.conftest import Caller, error_of
from tests.billing.bills import invoiced
from tests.billing.test_verifier import lie_in
from tests.cast import Cast


@pytest.fixture
def invoice(cast: Cast, settings: Any) -> Invoice:
    """Alice's October with tax."""
    settings.MOORAGE_TAX_BASIS_POINTS = 1900
    return invoiced(cast.alice)


def test_an_invoice_is_read_line_by_line(alice: Caller, invoice: Invoice) -> None:
    found = alice.get(f"invoices/{invoice.pk}")

    assert (found["number"], found["owed"]["amount"], found["tax"]["amount"]) == ("M-000001", "1.43", "0.23")
    assert [line["amount"]["amount"] for line in found["lines"]] == ["1.20"]
    assert found["tax_lines"][0]["basis_points"] == 1900
    assert found["statement_sha256"] == invoice.statement.sha256


@pytest.mark.parametrize(
    ("kind", "content_type", "begins"),
    [("pdf", "application/pdf", b"%PDF-"), ("csv", "text/csv", b"number,"), ("json", "application/json", b"{")],
)
@pytest.mark.parametrize("accept", ["*/*", "own"])
def test_an_invoice_is_saved_as_a_file_with_the_same_bytes_each_time(
    alice: Caller, invoice: Invoice, kind: str, content_type: str, begins: bytes, accept: str
) -> None:
    headers = {"accept": content_type if accept == "own" else accept}

    first, second = (alice("GET", f"invoices/{invoice.pk}.{kind}", **headers) for _ in range(2))

    assert first.status_code == 200
    assert first["content-type"].startswith(content_type)
    assert first["content-disposition"] == f'attachment; filename="M-000001.{kind}"'
    assert first.content.startswith(begins)
    assert first.content == second.content


def test_credit_notes_are_listed_read_and_saved(alice: Caller, cast: Cast, invoice: Invoice) -> None:
    note = credit_notes.issue(invoice=invoice, reason="A gap.", by=Actor.person(cast.ada), amount_cents=100)

    (listed,) = alice.get("credit-notes")["data"]

    assert listed == alice.get(f"credit-notes/{note.pk}")
    assert (listed["number"], listed["invoice_number"], listed["total"]["amount"]) == ("C-000001", "M-000001", "1.19")
    assert alice("GET", f"credit-notes/{note.pk}.pdf").content.startswith(b"%PDF-")
    assert json.loads(alice("GET", f"credit-notes/{note.pk}.json").content)["reason"] == "A gap."
    assert alice.get(f"invoices/{invoice.pk}")["owed"]["amount"] == "0.24"
    assert alice.get(f"invoices/{invoice.pk}")["credit_note_ids"] == [note.pk]


def test_a_closed_month_is_exported_and_verified(alice: Caller, invoice: Invoice) -> None:
    answer = alice("GET", "statement/export?period=2026-10")

    content = b"".join(answer.streaming_content)
    assert answer["content-type"] == "application/jsonl"
    assert lie_in(content) is None
    head = json.loads(content.splitlines()[0])
    assert hashlib.sha256(head["statement"].encode()).hexdigest() == invoice.statement.sha256


def test_a_month_that_runs_cannot_be_exported(alice: Caller) -> None:
    assert error_of(alice("GET", "statement/export"), 409)["code"] == "statement_running"


def test_the_verifier_is_a_program_to_save(alice: Caller) -> None:
    answer = alice("GET", "statement/verifier")

    assert answer["content-disposition"] == 'attachment; filename="verify_statement.py"'
    compile(answer.content, "verify_statement.py", "exec")


def test_billing_details_are_set_and_read(alice: Caller) -> None:
    given = {"legal_name": "Harbour Ltd", "address": "1 Quay", "country": "GB", "tax_id": "", "email": ""}

    changed = alice("PUT", "billing-details", given)

    assert changed.status_code == 200
    assert alice.get("billing-details") == given
    refused = error_of(alice("PUT", "billing-details", {"country": "99"}), 422)
    assert (refused["code"], refused["param"]) == ("invalid_billing_details", "country")


@pytest.mark.parametrize("path", ["invoices/{}", "invoices/{}.pdf", "invoices/{}.csv", "invoices/{}.json"])
def test_a_stranger_finds_no_invoice(charlie: Caller, invoice: Invoice, path: str) -> None:
    assert error_of(charlie("GET", path.format(invoice.pk)), 404)["code"] == "invoice_not_found"


@pytest.mark.parametrize("path", ["credit-notes/{}", "credit-notes/{}.pdf"])
def test_a_stranger_finds_no_credit_note(charlie: Caller, cast: Cast, invoice: Invoice, path: str) -> None:
    note = credit_notes.issue(invoice=invoice, reason="A gap.", by=Actor.person(cast.ada))

    assert error_of(charlie("GET", path.format(note.pk)), 404)["code"] == "credit_note_not_found"
    assert charlie.get("credit-notes")["data"] == []


def test_an_administrator_gives_an_invoice_up(ada: Caller, alice: Caller, invoice: Invoice) -> None:
    done = ada("POST", f"admin/invoices/{invoice.pk}/mark-uncollectible", {"reason": "No answer."})

    assert (done.status_code, done.json()["status"]) == (200, "uncollectible")
    again = ada("POST", f"admin/invoices/{invoice.pk}/mark-uncollectible", {"reason": "No answer."})
    assert error_of(again, 409)["code"] == "invoice_changed"
    assert error_of(alice("POST", f"admin/invoices/{invoice.pk}/mark-uncollectible", {"reason": "x"}), 403)


def test_an_invoice_in_review_is_seen_without_a_number(alice: Caller, cast: Cast) -> None:
    waiting = invoiced(cast.alice, policy=ReviewPolicy())

    found = alice.get(f"invoices/{waiting.pk}")

    assert (found["number"], found["owed"]["amount"], found["status"]) == ("", "0.00", "in_review")
    assert alice("GET", f"invoices/{waiting.pk}.pdf")["content-disposition"].endswith(f'"{waiting.pk}.pdf"')
