"""The PDF of a bill: the same bytes for the same rows, every character shown or said, never a question mark."""

from typing import Any

import pytest

from moorage.accounts.actor import Actor
from moorage.billing import bill_files, credit_notes, invoice_document
from moorage.billing.bill_files import FileKind
from moorage.billing.invoice_csv import as_csv
from moorage.billing.invoice_pdf import as_pdf, shown
from moorage.billing.models import Invoice
from moorage.billing.policy import ReviewPolicy
from moorage.kernel.money import PICO_PER_CENT
from tests.billing.bills import invoiced
from tests.billing.test_tax import give_details
from tests.cast import Cast


@pytest.fixture
def invoice(cast: Cast, settings: Any) -> Invoice:
    """With tax, credit, a buyer with letters of several alphabets, and a way to pay."""
    settings.MOORAGE_TAX_BASIS_POINTS = 1900
    settings.MOORAGE_SELLER_NAME = "Quay Works"
    settings.MOORAGE_SELLER_PAYMENT = "Bank of the Quay|IBAN DE02"
    give_details(cast.alice, legal_name="Żegluga Αθήνα Кипр 海港")
    return invoiced(cast.alice, credit_pico=20 * PICO_PER_CENT)


def test_the_same_invoice_is_the_same_bytes_and_another_is_not(invoice: Invoice, cast: Cast) -> None:
    document = invoice_document.of_invoice(Invoice.objects.get(pk=invoice.pk))

    first, second = as_pdf(document), as_pdf(invoice_document.of_invoice(Invoice.objects.get(pk=invoice.pk)))

    assert first == second
    assert first.startswith(b"%PDF-") and first.rstrip().endswith(b"%%EOF")
    assert as_pdf(invoice_document.of_invoice(invoiced(cast.charlie))) != first


def test_what_changes_later_changes_no_byte(invoice: Invoice, cast: Cast, settings: Any) -> None:
    before = bill_files.of_invoice(invoice, FileKind.PDF).content
    give_details(cast.alice, legal_name="Another Ltd")
    settings.MOORAGE_SELLER_NAME = "Somebody else"
    settings.MOORAGE_TAX_BASIS_POINTS = 700
    Invoice.objects.filter(pk=invoice.pk).update(payment_url="https://pay.example", provider_reference="M-000001")

    after = bill_files.of_invoice(Invoice.objects.get(pk=invoice.pk), FileKind.PDF).content

    assert after == before


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("Żegluga Łódź", "Żegluga Łódź"),
        ("Αθήνα, Кипр, Ærø, Đà Nẵng", "Αθήνα, Кипр, Ærø, Đà Nẵng"),
        ("海港", "[U+6D77][U+6E2F]"),
        ("مرفأ", "[U+0645][U+0631][U+0641][U+0623]"),
        ("a🚢b", "a[U+1F6A2]b"),
        ("line\nend\ttab", "line end tab"),
        ("what?", "what?"),
    ],
)
def test_a_character_is_shown_or_said(text: str, wanted: str) -> None:
    assert shown(text) == wanted


def test_a_name_that_the_font_lacks_crashes_nothing_and_is_in_the_json(invoice: Invoice) -> None:
    file = bill_files.of_invoice(invoice, FileKind.JSON)

    assert "Żegluga Αθήνα Кипр 海港" in file.content.decode()
    assert bill_files.of_invoice(invoice, FileKind.PDF).content.startswith(b"%PDF-")


@pytest.mark.parametrize("evil", ["(", ")", "\\", "**bold**", "{pages}", "\x00", "<b>", "%PDF", "x" * 300])
def test_no_name_breaks_the_file(cast: Cast, evil: str) -> None:
    invoice = invoiced(cast.alice)
    document = invoice_document.of_invoice(invoice)
    line = invoice_document.DocumentLine(description=evil, amount_pico=1, amount_cents=0)

    changed = invoice_document.BillDocument(
        **{**{name: getattr(document, name) for name in document.__dataclass_fields__}, "lines": (line,) * 90}
    )

    assert as_pdf(changed).startswith(b"%PDF-")


def test_a_long_invoice_has_several_pages(cast: Cast) -> None:
    invoice = invoiced(cast.alice, names=tuple(f"demo/model-{number}" for number in range(80)), tokens=(0, 0, 20_000))

    assert as_pdf(invoice_document.of_invoice(invoice)).count(b"/Type /Page\n") > 1


def test_a_credit_note_and_a_draft_are_documents_too(invoice: Invoice, cast: Cast) -> None:
    note = credit_notes.issue(invoice=invoice, reason="Sorry 海.", by=Actor.person(cast.ada), amount_cents=10)
    waiting = invoiced(cast.charlie, policy=ReviewPolicy())

    found = invoice_document.of_credit_note(note)

    assert (found.title, found.total_cents, found.invoice_number) == ("Credit note C-000001", 12, "M-000001")
    assert as_pdf(found) == as_pdf(found)
    assert invoice_document.of_invoice(waiting).title == "Invoice (draft)"
    assert as_pdf(invoice_document.of_invoice(waiting)).startswith(b"%PDF-")


def test_the_csv_adds_up_and_runs_nothing(invoice: Invoice) -> None:
    rows = [line.split(",") for line in as_csv(invoice_document.of_invoice(invoice)).splitlines()]

    assert [(row[2], row[6]) for row in rows[-5:]][1:] == [
        ("Credit applied", "-0.20"),
        ("Subtotal", "1.00"),
        ("VAT 19%", "0.19"),
        ("Total", "1.19"),
    ]


def test_the_document_is_canonical_json(invoice: Invoice) -> None:
    first = invoice_document.canonical(invoice_document.of_invoice(invoice))

    assert first == invoice_document.canonical(invoice_document.of_invoice(Invoice.objects.get(pk=invoice.pk)))
    assert '"total_cents":119' in first and '"amount_pico":"-200000000000"' in first
