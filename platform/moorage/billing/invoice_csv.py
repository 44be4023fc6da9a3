"""An invoice or a credit note for a spreadsheet: a line a row, then tax and total."""

from moorage.billing.invoice_document import BillDocument
from moorage.billing.statement_csv import Figure, written
from moorage.kernel.money import Money


def as_csv(document: BillDocument) -> str:
    """One head and one row a line; ``exactly`` is before rounding, ``amount`` in whole cents."""
    rows: list[tuple[str, ...]] = [
        (
            *(document.number, document.period, line.description, line.meter, str(line.quantity)),
            *(_pico(line.amount_pico), _cents(line.amount_cents), document.currency),
        )
        for line in document.lines
    ]
    sums = [("Subtotal", document.subtotal_cents)]
    sums += [(tax.text, tax.amount_cents) for tax in document.tax]
    sums += [("Total", document.total_cents)]
    rows += [
        (document.number, document.period, text, "", "", "", _cents(cents), document.currency) for text, cents in sums
    ]
    return written(("number", "period", "what", "meter", "quantity", "exactly", "amount", "currency"), rows)


def _pico(pico: int) -> Figure:
    return Figure(str(Money(pico)).partition(" ")[0])


def _cents(cents: int) -> Figure:
    return Figure(f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}")
