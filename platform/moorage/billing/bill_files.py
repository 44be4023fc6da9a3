"""An invoice or a credit note as a file: PDF, CSV or JSON, each from the same document."""

import dataclasses
import enum
from typing import assert_never

from moorage.billing import invoice_document
from moorage.billing.invoice_csv import as_csv
from moorage.billing.invoice_document import BillDocument
from moorage.billing.invoice_pdf import as_pdf
from moorage.billing.models import CreditNote, Invoice


class FileKind(enum.StrEnum):
    """What a bill can be saved as."""

    PDF = "pdf"
    CSV = "csv"
    JSON = "json"


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class BillFile:
    """A file to save."""

    name: str
    content_type: str
    content: bytes


def of_invoice(invoice: Invoice, kind: FileKind) -> BillFile:
    """``invoice`` as a file."""
    return _file(invoice_document.of_invoice(invoice), kind)


def of_credit_note(note: CreditNote, kind: FileKind) -> BillFile:
    """``note`` as a file."""
    return _file(invoice_document.of_credit_note(note), kind)


def _file(document: BillDocument, kind: FileKind) -> BillFile:
    name = f"{document.number or document.id}.{kind}"
    match kind:
        case FileKind.PDF:
            return BillFile(name=name, content_type="application/pdf", content=as_pdf(document))
        case FileKind.CSV:
            return BillFile(name=name, content_type="text/csv; charset=utf-8", content=as_csv(document).encode())
        case FileKind.JSON:
            text = invoice_document.canonical(document)
            return BillFile(name=name, content_type="application/json", content=text.encode())
        case _:
            assert_never(kind)
