"""An invoice or a credit note as PDF (A4): the same document gives the same bytes.

Noto Sans shows Latin, Greek and Cyrillic. A character that it does not have stands as ``[U+4E2D]`` and a note says
so: nothing is dropped and nothing turns into a question mark.
"""

import datetime as dt
import functools
import io
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import pymupdf_fonts
from fontTools.ttLib import TTFont
from fpdf import FPDF
from fpdf.enums import MethodReturnValue, XPos, YPos

from moorage.billing.invoice_document import BillDocument, cents_text

_FAMILY: Final = "noto"
#: Style -> the font's name in the package.
_WEIGHTS: Final = {"": "notos", "B": "notosbo"}
_WIDTH: Final = 170
_AMOUNT: Final = 32
_ROW: Final = 5
_SOFT: Final = (95, 104, 115)
_DARK: Final = (20, 26, 33)
_RULE: Final = (205, 211, 218)
#: Documents without a date (drafts) are of the epoch: the bytes depend on nothing else.
_NO_DATE: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


def as_pdf(document: BillDocument) -> bytes:
    """``document`` as the bytes of a PDF file."""
    page = _Page(document)
    page.parties()
    page.facts()
    page.lines()
    page.sums()
    page.notes()
    return bytes(page.output())


def shown(text: str) -> str:
    """``text`` as the font can show it: every other character as its code point, ``[U+4E2D]``; line ends as spaces."""
    glyphs = _glyphs()
    return "".join(
        letter if ord(letter) in glyphs else " " if letter.isspace() else f"[U+{ord(letter):04X}]" for letter in text
    )


class _Page(FPDF):
    """The pages of one document, written from top to bottom."""

    def __init__(self, document: BillDocument) -> None:
        super().__init__(format="A4")
        self._document = document
        self._is_escaped = False
        self.set_creation_date(document.issued_at or _NO_DATE)
        self.set_title(document.title)
        self.set_author(document.seller.legal_name)
        self.set_lang("en")
        self.set_margins(20, 18, 20)
        self.set_auto_page_break(True, margin=22)
        with tempfile.TemporaryDirectory() as folder:  # fpdf2 reads a font from a file, at once
            for style, name in _WEIGHTS.items():
                path = Path(folder, f"{name}.ttf")
                path.write_bytes(pymupdf_fonts.myfont(name))
                self.add_font(_FAMILY, style, path)
        self.alias_nb_pages("{pages}")
        self.add_page()

    def footer(self) -> None:
        """On every page: what it is a page of."""
        self.set_y(-14)
        self._soft()
        self.cell(0, 4, shown(f"{self._document.seller.legal_name} · {self._document.title}"))
        self.set_x(-40)
        self.cell(20, 4, f"{self.page_no()} / {{pages}}", align="R")

    def parties(self) -> None:
        """The seller, the title, the buyer."""
        document, seller, buyer = self._document, self._document.seller, self._document.buyer
        self._dark(size=11, style="B")
        self._line(seller.legal_name)
        self._soft()
        self._lines([*seller.address, *_labelled("Tax id", seller.tax_id), seller.email])
        self.ln(8)
        self._dark(size=20, style="B")
        self._line(document.title, height=9)
        self.ln(3)
        self._soft()
        self._line("For")
        self._dark(style="B")
        self._line(buyer.legal_name)
        self._dark()
        self._lines([*buyer.address, buyer.country, *_labelled("Tax id", buyer.tax_id), buyer.email])
        self.ln(4)

    def facts(self) -> None:
        """Dates, the month, and what it follows from."""
        document = self._document
        rows = [("Number", document.number), ("Date", _day(document.issued_at)), ("Due", _day(document.due_at))]
        if document.kind == "credit_note":
            rows = [*rows[:2], ("For invoice", document.invoice_number), ("Because", document.reason)]
        rows += [("Month", f"{document.period} (UTC)"), ("Currency", document.currency)]
        rows += [("Statement", document.statement_id), ("SHA-256", document.statement_sha256)]
        for label, text in rows:
            if text:
                self._soft()
                self.cell(28, _ROW, label)
                self._dark()
                self.multi_cell(_WIDTH - 28, _ROW, self._text(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        self.ln(4)

    def lines(self) -> None:
        """Every line with its whole cents."""
        credit = self._document.kind == "credit_note"
        self._soft()
        self.cell(_WIDTH - _AMOUNT, _ROW, "What")
        self.cell(_AMOUNT, _ROW, f"{'Credited' if credit else 'Amount'}, {self._document.currency}", align="R")
        self.ln(_ROW)
        self._rule()
        for line in self._document.lines:
            self._amount(line.description, line.amount_cents)
        self._rule()

    def sums(self) -> None:
        """Subtotal, tax, total."""
        document = self._document
        if document.tax:
            self._amount("Subtotal", document.subtotal_cents)
            for tax in document.tax:
                self._amount(tax.text, tax.amount_cents)
        total = "Credited in total" if document.kind == "credit_note" else "Due in total"
        self._amount(total, document.total_cents, style="B")
        self.ln(6)

    def notes(self) -> None:
        """How to pay, how to check, and what the font could not show."""
        document = self._document
        if document.kind == "invoice" and document.total_cents > 0:
            self._dark(style="B")
            self._line("How to pay")
            self._dark()
            if document.seller.payment:
                self._lines([*document.seller.payment, f"Reference: {document.number}"])
            else:
                self._line(f"Pay online: open invoice {document.number} in the console.")
            self.ln(4)
        self._soft()
        self._line(
            "The statement is rounded once, to whole cents, half away from zero; its lines share the total by largest"
            " remainder. The JSON export and the verifier in the console recompute it to the pico."
        )
        if self._is_escaped:
            self._line("Characters that this document's font does not have stand as [U+…], their Unicode numbers.")

    def _amount(self, text: str, cents: int, *, style: str = "") -> None:
        self._dark(style=style)
        told, width = self._text(text), _WIDTH - _AMOUNT - 4
        rows = self.multi_cell(width, _ROW, told, align="L", dry_run=True, output=MethodReturnValue.LINES)
        assert isinstance(rows, list)
        if self.will_page_break(_ROW * (len(rows) + 1)):
            self.add_page()
            self._dark(style=style)
        top = self.get_y()
        self.multi_cell(width, _ROW, told, align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)
        below = self.get_y()
        self.set_xy(20 + _WIDTH - _AMOUNT, top)
        self.cell(_AMOUNT, _ROW, cents_text(cents), align="R")
        self.set_xy(20, max(below, top + _ROW))

    def _lines(self, texts: Iterable[str]) -> None:
        for text in texts:
            if text:
                self._line(text)

    def _line(self, text: str, *, height: int = _ROW) -> None:
        self.multi_cell(_WIDTH, height, self._text(text), align="L", new_x=XPos.LMARGIN, new_y=YPos.NEXT)

    def _text(self, text: str) -> str:
        found = shown(text)
        self._is_escaped = self._is_escaped or found.count("[U+") > text.count("[U+")
        return found

    def _rule(self) -> None:
        self.set_draw_color(*_RULE)
        self.line(20, self.get_y() + 1, 20 + _WIDTH, self.get_y() + 1)
        self.ln(2)

    def _dark(self, *, size: int = 9, style: str = "") -> None:
        self.set_font(_FAMILY, style, size)
        self.set_text_color(*_DARK)

    def _soft(self) -> None:
        self.set_font(_FAMILY, "", 8)
        self.set_text_color(*_SOFT)


@functools.cache
def _glyphs() -> frozenset[int]:
    """The code points that both weights have."""
    found: list[Sequence[int]] = []
    for name in _WEIGHTS.values():
        with TTFont(io.BytesIO(pymupdf_fonts.myfont(name)), lazy=True) as font:
            found.append(list(font.getBestCmap()))
    return frozenset(found[0]) & frozenset(found[1])


def _labelled(label: str, text: str) -> list[str]:
    return [f"{label}: {text}"] if text else []


def _day(moment: dt.datetime | None) -> str:
    return f"{moment:%Y-%m-%d}" if moment else ""
