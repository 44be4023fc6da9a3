"""Bills in the console: files to save, credit notes, the export and its verifier, to whom invoices are made out."""

from typing import Any

import pytest
from django.test import Client

from moorage.accounts.actor import Actor
from moorage.accounts.models import Membership, Role
from moorage.billing import billing_details, credit_notes
from moorage.billing.models import CreditNote, Invoice
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import graduated, invoiced
from tests.billing.measured import price_list
from tests.billing.test_verifier import lie_in
from tests.cast import Cast
from tests.console.conftest import SignIn
from tests.console.pages import inline_code, text_of


@pytest.fixture
def invoice(cast: Cast, settings: Any) -> Invoice:
    """Alice's October, with tiers, tax and credit."""
    settings.MOORAGE_TAX_BASIS_POINTS = 1900
    price_list()
    graduated("demo/llm", [(0, 0), (1_000, 600_000)])
    return invoiced(cast.alice, credit_pico=20 * PICO_PER_CENT)


@pytest.fixture
def note(cast: Cast, invoice: Invoice) -> CreditNote:
    """Ten cents of it."""
    return credit_notes.issue(invoice=invoice, reason="A gap.", by=Actor.person(cast.ada), amount_cents=10)


def test_an_invoice_shows_tax_credit_and_what_is_owed(alice: Client, invoice: Invoice, note: CreditNote) -> None:
    page = text_of(alice.get(f"/harbour/invoices/{invoice.pk}"))

    assert "VAT 19%" in page and "Credit applied" in page and "Still to be paid" in page
    assert "C-000001" in page and "A gap." in page
    assert inline_code(page) == []
    assert f"/harbour/invoices/{invoice.pk}.pdf" in page


@pytest.mark.parametrize("kind", ["pdf", "csv", "json"])
def test_bills_are_saved_as_files(alice: Client, invoice: Invoice, note: CreditNote, kind: str) -> None:
    bill = alice.get(f"/harbour/invoices/{invoice.pk}.{kind}")
    credit = alice.get(f"/harbour/credit-notes/{note.pk}.{kind}")

    assert bill["Content-Disposition"] == f'attachment; filename="M-000001.{kind}"'
    assert credit["Content-Disposition"] == f'attachment; filename="C-000001.{kind}"'
    assert bill["Cache-Control"] == "no-store"
    assert alice.get(f"/harbour/invoices/{invoice.pk}.exe").status_code == 404


def test_credit_notes_have_a_list_and_a_page(alice: Client, note: CreditNote) -> None:
    listed = text_of(alice.get("/harbour/credit-notes"))
    page = text_of(alice.get(f"/harbour/credit-notes/{note.pk}"))

    assert "C-000001" in listed and "A gap." in listed
    assert "0.12 USD" in page and "VAT 19%" in page
    assert inline_code(page) == []


def test_without_credit_notes_the_list_says_what_they_are(alice: Client) -> None:
    assert "an invoice itself never changes" in text_of(alice.get("/harbour/credit-notes"))


def test_the_statement_offers_what_a_customer_needs_to_check_it(alice: Client, invoice: Invoice) -> None:
    page = text_of(alice.get("/harbour/statement?period=2026-10"))

    assert "/harbour/statement/export?period=2026-10" in page and "/harbour/statement/verifier" in page
    assert "tier 2 of 2" in page and "Paid by credit" in page
    export = alice.get("/harbour/statement/export?period=2026-10")
    assert export["Content-Disposition"] == 'attachment; filename="harbour-2026-10.jsonl"'
    assert lie_in(b"".join(export.streaming_content)) is None  # type: ignore[arg-type]
    assert b"def main" in alice.get("/harbour/statement/verifier").content


def test_a_month_that_runs_has_no_export(alice: Client) -> None:
    assert alice.get("/harbour/statement/export").status_code == 404


def test_an_owner_says_to_whom_invoices_are_made_out(alice: Client, cast: Cast) -> None:
    done = alice.post("/harbour/billing-details", {"legal_name": "Harbour Ltd", "country": "gb"})

    assert done.status_code == 302
    buyer = billing_details.buyer_of(cast.alice.organization)
    assert (buyer.legal_name, buyer.country) == ("Harbour Ltd", "GB")
    refused = alice.post("/harbour/billing-details", {"country": "99"})
    assert refused.status_code == 422
    assert "two letters" in text_of(refused)


@pytest.mark.parametrize("role", [Role.ADMIN, Role.DEVELOPER, Role.BILLING])
def test_others_see_the_billing_details_and_no_form(cast: Cast, signed_in: SignIn, role: Role) -> None:
    Membership.objects.filter(user=cast.bob.user).update(role=role)
    bob = signed_in(cast.bob.user)

    page = text_of(bob.get("/harbour/billing-details"))

    assert "Owners change them." in page
    assert 'method="post" class="stack"' not in page
    assert bob.post("/harbour/billing-details", {"legal_name": "Bob's"}).status_code == 403


def test_a_stranger_finds_nothing(cast: Cast, signed_in: SignIn, invoice: Invoice, note: CreditNote) -> None:
    charlie = signed_in(cast.charlie.user)
    paths = [
        f"/harbour/invoices/{invoice.pk}.pdf",
        "/harbour/credit-notes",
        f"/harbour/credit-notes/{note.pk}",
        "/harbour/statement/export?period=2026-10",
        "/harbour/statement/verifier",
        "/harbour/billing-details",
        f"/island/invoices/{invoice.pk}.pdf",
        f"/island/credit-notes/{note.pk}",
        f"/island/credit-notes/{note.pk}.pdf",
        "/island/statement/export?period=2026-10",
        f"/admin/invoices/{invoice.pk}.pdf",
    ]

    assert {path: charlie.get(path).status_code for path in paths} == dict.fromkeys(paths, 404)


def test_an_administrator_saves_anybodys_invoice(cast: Cast, signed_in: SignIn, invoice: Invoice) -> None:
    answer = signed_in(cast.ada).get(f"/admin/invoices/{invoice.pk}.pdf")

    assert answer.content.startswith(b"%PDF-")
