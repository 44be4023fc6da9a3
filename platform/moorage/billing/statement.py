"""A month of one organization as lines that anybody can recompute: quantity × price = amount, exactly. Pure.

A line is one meter of one served name of one deployment at one price, for usage of one month; usage of an earlier
month that was found after its closing stands in lines of its own, with that month as the reference. The canonical
JSON is what is frozen and hashed. Amounts and prices are decimal strings: JSON numbers would pass through floats.
"""

import csv
import dataclasses
import datetime as dt
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from typing import Final

from moorage.billing import prices
from moorage.kernel.clock import Period
from moorage.kernel.money import Money

VERSION: Final = 1
#: A spreadsheet takes a cell that begins like this for a formula.
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """Rated usage of one kind, summed."""

    deployment_id: str
    deployment_name: str
    served_name: str
    meter: str
    price_id: str
    pico_per_unit: int
    #: ``YYYY-MM``: when the usage ended.
    usage_month: str
    quantity: int
    amount_pico: int
    #: How many requests, or intervals of replica time, are in it.
    sources: int

    @property
    def id(self) -> str:
        """Names the line within its statement; the same while a running month grows."""
        key = "\n".join((self.deployment_id, self.served_name, self.meter, self.price_id, self.usage_month))
        return hashlib.sha256(key.encode()).hexdigest()[:16]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Unpriced:
    """Usage of the month that nobody has set a price for yet: in no line and in no total."""

    meter: str
    served_name: str
    sources: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """A month of an organization; frozen or running."""

    organization_id: str
    organization_name: str
    period: Period
    currency: str
    lines: tuple[Line, ...]
    unpriced: tuple[Unpriced, ...] = ()

    @property
    def total_pico(self) -> int:
        """What all lines come to, exactly."""
        return sum(line.amount_pico for line in self.lines)

    def line(self, line_id: str) -> Line | None:
        """The line with this id."""
        return next((line for line in self.lines if line.id == line_id), None)


def build(
    *,
    organization_id: str,
    organization_name: str,
    period: Period,
    lines: Iterable[Line],
    unpriced: Iterable[Unpriced] = (),
    currency: str = prices.CURRENCY,
) -> Statement:
    """A statement with its lines in their fixed order. Asserts that every amount is its quantity times its price."""
    ordered = sorted(
        lines, key=lambda line: (line.usage_month, line.deployment_name, line.served_name, line.meter, line.price_id)
    )
    for line in ordered:
        assert line.amount_pico == line.quantity * line.pico_per_unit, f"line {line.id} is not quantity times price"
        assert line.usage_month <= str(period), f"line {line.id} is of a later month"
    return Statement(
        organization_id=organization_id,
        organization_name=organization_name,
        period=period,
        currency=currency,
        lines=tuple(ordered),
        unpriced=tuple(sorted(unpriced, key=lambda one: (one.served_name, one.meter))),
    )


def document(statement: Statement) -> dict[str, object]:
    """The statement as JSON: what the REST API answers and what is frozen."""
    return {
        "version": VERSION,
        "organization": {"id": statement.organization_id, "name": statement.organization_name},
        "period": str(statement.period),
        "period_start": statement.period.start.isoformat(),
        "period_end": statement.period.end.isoformat(),
        "currency": statement.currency,
        "lines": [_line_document(line, statement) for line in statement.lines],
        "unpriced": [dataclasses.asdict(one) for one in statement.unpriced],
        "total": _amount(statement.total_pico),
        "total_pico": str(statement.total_pico),
    }


def canonical(statement: Statement) -> str:
    """The one text of this statement: JSON with sorted keys and no spaces."""
    return json.dumps(document(statement), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(text: str) -> str:
    """The hash that a frozen statement is known by, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse(text: str) -> Statement:
    """A statement back from its canonical text, of version 1."""
    found = json.loads(text)
    assert found["version"] == VERSION, "a statement of another version"
    return Statement(
        organization_id=found["organization"]["id"],
        organization_name=found["organization"]["name"],
        period=Period(dt.datetime.fromisoformat(found["period_start"]), dt.datetime.fromisoformat(found["period_end"])),
        currency=found["currency"],
        lines=tuple(_parse_line(line) for line in found["lines"]),
        unpriced=tuple(Unpriced(**one) for one in found["unpriced"]),
    )


def as_csv(statement: Statement) -> str:
    """The lines as CSV with a head, and a last row with the total. No cell can be taken for a formula."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(
        [
            *("period", "usage_month", "deployment", "deployment_id", "served_name", "meter"),
            *("quantity", "price", "price_per", "amount", "currency", "line"),
        ]
    )
    for line in statement.lines:
        writer.writerow(
            safe_cell(cell)
            for cell in (
                str(statement.period),
                line.usage_month,
                line.deployment_name,
                line.deployment_id,
                line.served_name,
                line.meter,
                str(line.quantity),
                prices.text(line.meter, line.pico_per_unit),
                prices.unit(line.meter),
                _amount(line.amount_pico),
                statement.currency,
                line.id,
            )
        )
    writer.writerow(
        [
            str(statement.period),
            "",
            "",
            "",
            "",
            "total",
            "",
            "",
            "",
            _amount(statement.total_pico),
            statement.currency,
            "",
        ]
    )
    return out.getvalue()


def safe_cell(text: str) -> str:
    """``text`` as a spreadsheet shall show it: a leading apostrophe where it would read a formula."""
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line_document(line: Line, statement: Statement) -> dict[str, object]:
    return {
        "id": line.id,
        "deployment": {"id": line.deployment_id, "name": line.deployment_name},
        "served_name": line.served_name,
        "meter": line.meter,
        "usage_month": line.usage_month,
        "is_late": line.usage_month != str(statement.period),
        "quantity": line.quantity,
        "sources": line.sources,
        "price": {
            "id": line.price_id,
            "pico_per_unit": str(line.pico_per_unit),
            "amount": prices.text(line.meter, line.pico_per_unit),
            "per": prices.unit(line.meter),
        },
        "amount": _amount(line.amount_pico),
        "amount_pico": str(line.amount_pico),
    }


def _parse_line(found: Mapping[str, object]) -> Line:
    deployment, price = found["deployment"], found["price"]
    assert isinstance(deployment, dict) and isinstance(price, dict)
    return Line(
        deployment_id=deployment["id"],
        deployment_name=deployment["name"],
        served_name=str(found["served_name"]),
        meter=str(found["meter"]),
        price_id=price["id"],
        pico_per_unit=int(price["pico_per_unit"]),
        usage_month=str(found["usage_month"]),
        quantity=int(str(found["quantity"])),
        amount_pico=int(str(found["amount_pico"])),
        sources=int(str(found["sources"])),
    )


def _amount(pico: int) -> str:
    return str(Money(pico)).partition(" ")[0]
