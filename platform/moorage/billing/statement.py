"""A month of one organization as lines that anybody can recompute: quantity × price = amount, exactly. Pure.

A line is one meter of one served name of one deployment at one rate of one price, for usage of one month; usage of an
earlier month that was found after its closing stands in lines of its own, which name the statement it would have
belonged to. Where a minimum was agreed on, what is missing to it is a line too. Credit that has paid for some of it is
taken off the total; the rest is due. The canonical JSON is what is frozen and hashed. Amounts and prices are decimal
strings: JSON numbers would pass through floats.

Version 1 knew no tiers, minimums, credit and late statements; its texts are read and written as they were.
"""

import dataclasses
import datetime as dt
import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Final

from moorage.billing import prices
from moorage.kernel.clock import Period
from moorage.kernel.money import Money

VERSION: Final = 2
#: The meter of the line that fills a month up to what was agreed on at least; its price's id is the commitment's.
MINIMUM: Final = "minimum_commitment"


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
    #: How many rated rows are in it: requests, or intervals of replica time, each once a tier.
    sources: int
    #: Which rate of a graduated price, counted from 0.
    tier: int = 0
    #: All its rates: (from which quantity of the month on, pico-units of one unit). Empty: one rate.
    tiers: tuple[tuple[int, int], ...] = ()
    #: What else the price is of, such as a replica's state and device class.
    scope: str = ""
    #: Of late usage: the statement of the month it was used in.
    late_of: str = ""

    @property
    def id(self) -> str:
        """Names the line within its statement; the same while a running month grows."""
        parts = [self.deployment_id, self.served_name, self.meter, self.price_id, self.usage_month]
        if self.tier:
            parts.append(str(self.tier))
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]

    @property
    def price_text(self) -> str:
        """Its rate as people write it."""
        if self.meter == MINIMUM:
            return _amount(self.pico_per_unit)
        return prices.text(self.meter, self.pico_per_unit)

    @property
    def price_unit(self) -> str:
        """What :attr:`price_text` is the price of."""
        return "month" if self.meter == MINIMUM else prices.unit(self.meter)


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
    #: What credit has paid of the total.
    credit_applied_pico: int = 0
    version: int = VERSION

    @property
    def total_pico(self) -> int:
        """What all lines come to, exactly."""
        return sum(line.amount_pico for line in self.lines)

    @property
    def due_pico(self) -> int:
        """What is left to pay, exactly."""
        return self.total_pico - self.credit_applied_pico

    def line(self, line_id: str) -> Line | None:
        """The line with this id."""
        return next((line for line in self.lines if line.id == line_id), None)


def minimum_line(*, lines: Iterable[Line], minimum_pico: int, minimum_id: str, period: Period) -> Line | None:
    """What is missing to the least that was agreed on for ``period``; None where nothing is."""
    missing = prices.shortfall(minimum_pico=minimum_pico, charged_pico=sum(line.amount_pico for line in lines))
    if missing == 0:
        return None
    return Line(
        deployment_id="",
        deployment_name="",
        served_name="",
        meter=MINIMUM,
        price_id=minimum_id,
        pico_per_unit=missing,
        usage_month=str(period),
        quantity=1,
        amount_pico=missing,
        sources=0,
        scope=f"up to {_amount(minimum_pico)}",
    )


def build(
    *,
    organization_id: str,
    organization_name: str,
    period: Period,
    lines: Iterable[Line],
    unpriced: Iterable[Unpriced] = (),
    credit_applied_pico: int = 0,
    currency: str,
) -> Statement:
    """A statement with its lines in their fixed order. Asserts that every amount is its quantity times its price."""
    ordered = sorted(
        lines,
        key=lambda line: (
            *(line.meter == MINIMUM, line.usage_month, line.deployment_name, line.served_name, line.meter),
            *(line.price_id, line.tier, line.deployment_id),
        ),
    )
    for line in ordered:
        assert line.amount_pico == line.quantity * line.pico_per_unit, f"line {line.id} is not quantity times price"
        assert line.usage_month <= str(period), f"line {line.id} is of a later month"
        assert not line.tiers or line.tiers[line.tier][1] == line.pico_per_unit, f"line {line.id} is of another tier"
    assert len({line.id for line in ordered}) == len(ordered), "no two lines are of one kind"
    assert credit_applied_pico >= 0, "credit pays, it does not charge"
    return Statement(
        organization_id=organization_id,
        organization_name=organization_name,
        period=period,
        currency=currency,
        lines=tuple(ordered),
        unpriced=tuple(sorted(unpriced, key=lambda one: (one.served_name, one.meter))),
        credit_applied_pico=credit_applied_pico,
    )


def document(statement: Statement) -> dict[str, object]:
    """The statement as JSON: what the REST API answers and what is frozen."""
    found: dict[str, object] = {
        "version": statement.version,
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
    if statement.version > 1:
        found |= {
            "credit_applied": _amount(statement.credit_applied_pico),
            "credit_applied_pico": str(statement.credit_applied_pico),
            "due": _amount(statement.due_pico),
            "due_pico": str(statement.due_pico),
        }
    return found


def canonical(statement: Statement) -> str:
    """The one text of this statement: JSON with sorted keys and no spaces."""
    return json.dumps(document(statement), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def sha256(text: str) -> str:
    """The hash that a frozen statement is known by, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def parse(text: str) -> Statement:
    """A statement back from its canonical text, of any version."""
    found = json.loads(text)
    version = found["version"]
    assert version in (1, VERSION), "a statement of another version"
    return Statement(
        organization_id=found["organization"]["id"],
        organization_name=found["organization"]["name"],
        period=Period(dt.datetime.fromisoformat(found["period_start"]), dt.datetime.fromisoformat(found["period_end"])),
        currency=found["currency"],
        lines=tuple(_parse_line(line) for line in found["lines"]),
        unpriced=tuple(Unpriced(**one) for one in found["unpriced"]),
        credit_applied_pico=int(found.get("credit_applied_pico", "0")),
        version=version,
    )


def _line_document(line: Line, statement: Statement) -> dict[str, object]:
    price: dict[str, object] = {
        "id": line.price_id,
        "pico_per_unit": str(line.pico_per_unit),
        "amount": line.price_text,
        "per": line.price_unit,
    }
    found: dict[str, object] = {
        "id": line.id,
        "deployment": {"id": line.deployment_id, "name": line.deployment_name},
        "served_name": line.served_name,
        "meter": line.meter,
        "usage_month": line.usage_month,
        "is_late": line.usage_month != str(statement.period),
        "quantity": line.quantity,
        "sources": line.sources,
        "price": price,
        "amount": _amount(line.amount_pico),
        "amount_pico": str(line.amount_pico),
    }
    if statement.version > 1:
        price["tier"] = line.tier
        price["tiers"] = [{"from": start, "pico_per_unit": str(pico)} for start, pico in line.tiers]
        price["scope"] = line.scope
        found["late_of"] = line.late_of or None
    return found


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
        tier=price.get("tier", 0),
        tiers=tuple((tier["from"], int(tier["pico_per_unit"])) for tier in price.get("tiers", ())),
        scope=price.get("scope", ""),
        late_of=str(found.get("late_of") or ""),
    )


def _amount(pico: int) -> str:
    return str(Money(pico)).partition(" ")[0]
