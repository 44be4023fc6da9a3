"""A statement for a spreadsheet: its lines, then total, credit and what is due. No cell can be taken for a formula."""

import csv
import io
from collections.abc import Iterable
from typing import Final

from moorage.billing.statement import Statement
from moorage.kernel.money import Money

#: A spreadsheet takes a cell that begins like this for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_HEAD: Final = (
    *("period", "usage_month", "deployment", "deployment_id", "served_name", "meter", "quantity", "price", "price_per"),
    *("amount", "currency", "line", "tier", "late_of"),
)


class Figure(str):
    """An amount that we have written ourselves: it may begin with a minus."""

    __slots__ = ()


def as_csv(statement: Statement) -> str:
    """The lines as CSV with a head, and last rows with the sums."""
    rows: list[Iterable[str]] = [
        (
            *(str(statement.period), line.usage_month, line.deployment_name, line.deployment_id, line.served_name),
            *(line.meter, str(line.quantity), line.price_text, line.price_unit, _amount(line.amount_pico)),
            *(statement.currency, line.id, str(line.tier), line.late_of),
        )
        for line in statement.lines
    ]
    sums = {"total": statement.total_pico}
    if statement.credit_applied_pico:
        sums |= {"credit_applied": statement.credit_applied_pico, "due": statement.due_pico}
    for name, pico in sums.items():
        rows.append((str(statement.period), *[""] * 4, name, *[""] * 3, _amount(pico), statement.currency, *[""] * 3))
    return written(_HEAD, rows)


def written(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """CSV as RFC 4180 has it, every cell safe."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(head)
    writer.writerows([safe_cell(cell) for cell in row] for row in rows)
    return out.getvalue()


def safe_cell(text: str) -> str:
    """``text`` as a spreadsheet shall show it: a leading apostrophe where it would read a formula."""
    if isinstance(text, Figure):
        return text
    return f"'{text}" if text.startswith(_FORMULA) else text


def _amount(pico: int) -> Figure:
    return Figure(str(Money(pico)).partition(" ")[0])
