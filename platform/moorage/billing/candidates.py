"""A price list that is not in force: read from CSV or JSON, row by row, with one sentence for the first bad row. Pure.

A row has ``meter`` and ``price`` (as people write it) or ``tiers``; ``model``, ``organization`` (short name or id),
``state``, ``device_class``, ``currency``, ``valid_from`` and ``valid_to`` may be left out. Tiers are
``0: 0; 1000000: 0.25`` in CSV and ``[{"from": 0, "price": "0"}, …]`` in JSON: from which quantity of the month on, at
which price.
"""

import csv
import datetime as dt
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from moorage.accounts.models import Organization
from moorage.billing import prices, tiers
from moorage.billing.errors import CandidateInvalid, InvalidPrice
from moorage.billing.models import Meter
from moorage.billing.price_book import PriceRow
from moorage.billing.price_scope import Scope
from moorage.billing.tiers import Tier
from moorage.kernel.currencies import CurrencyRefused

#: As many rows as anybody has prices.
MOST: Final = 5000
_FIELDS: Final = (
    "meter",
    "model",
    "price",
    "organization",
    "state",
    "device_class",
    "currency",
    "valid_from",
    "valid_to",
    "tiers",
)


def parse(text: str, *, organizations: Mapping[str, Organization], begins: dt.datetime) -> tuple[PriceRow, ...]:
    """The rows of ``text``; those that do not say when they begin, begin at ``begins``. ``organizations`` are found by
    short name and by id. Raises CandidateInvalid with the row."""
    found: list[PriceRow] = []
    seen: dict[tuple[object, ...], str] = {}
    for name, row in _rows(text):
        if len(found) >= MOST:
            raise CandidateInvalid(f"A candidate has at most {MOST} rows.", param="rows")
        try:
            price = _price(len(found), row, organizations, begins)
        except (InvalidPrice, CurrencyRefused) as error:
            raise CandidateInvalid(f"{name}: {error.message}", param="rows") from error
        first = seen.setdefault((price.scope, price.valid_from), name)
        if first != name:
            raise CandidateInvalid(f"{name}: prices the same from the same moment on as {first}.", param="rows")
        found.append(price)
    if not found:
        raise CandidateInvalid("The candidate has no rows. Give at least one price.", param="rows")
    return tuple(found)


def over(current: Iterable[PriceRow], candidate: Iterable[PriceRow]) -> tuple[PriceRow, ...]:
    """The present list with the candidate's rows laid over it; one of the same scope and moment takes the other's
    place."""
    laid = {(row.scope, row.valid_from): row for row in (*current, *candidate)}
    return tuple(laid.values())


def parse_tiers(meter: str, text: str) -> tuple[Tier, ...]:
    """Tiers as people write them: ``0: 0; 1000000: 0.25``, or one a line. Raises InvalidPrice."""
    pieces = [piece.strip() for piece in text.replace("\n", ";").split(";") if piece.strip()]
    return _tiers(meter, [piece.partition(":")[::2] for piece in pieces])


def tiers_text(meter: str, found: Iterable[Tier]) -> str:
    """The inverse of :func:`parse_tiers`."""
    return "; ".join(f"{tier.begins}: {prices.text(meter, tier.pico)}" for tier in found)


def _rows(text: str) -> Iterator[tuple[str, dict[str, object]]]:
    """Each row with what it is called, and its fields."""
    if text.lstrip().startswith(("[", "{")):
        try:
            found = json.loads(text, parse_float=str, parse_int=str)
        except ValueError as error:
            raise CandidateInvalid(f"This is no JSON: {error}.", param="rows") from error
        if not isinstance(found, list):
            raise CandidateInvalid("A JSON candidate is a list of prices.", param="rows")
        for number, row in enumerate(found, start=1):
            if not isinstance(row, dict):
                raise CandidateInvalid(f"Row {number}: is no object with a meter and a price.", param="rows")
            yield f"Row {number}", _known(f"Row {number}", row)
        return
    reader = csv.DictReader(io.StringIO(text.strip()), skipinitialspace=True)
    try:
        for row in reader:
            name = f"Row {reader.line_num}"
            if None in row or None in row.values():
                raise CandidateInvalid(f"{name}: has not as many cells as the head.", param="rows")
            yield name, _known(name, {str(key).strip(): value for key, value in row.items()})
    except csv.Error as error:
        raise CandidateInvalid(f"Row {reader.line_num}: is no CSV: {error}.", param="rows") from error


def _known(name: str, row: dict[str, object]) -> dict[str, object]:
    unknown = sorted(str(key) for key in row if key not in _FIELDS)
    if unknown:
        raise CandidateInvalid(f"{name}: {unknown[0][:40]} is not known. Known are {', '.join(_FIELDS)}.", param="rows")
    return row


def _price(
    number: int, row: Mapping[str, object], organizations: Mapping[str, Organization], begins: dt.datetime
) -> PriceRow:
    texts = {field: _text(field, row.get(field)) for field in _FIELDS if field != "tiers"}
    if texts["meter"] not in Meter.values:
        raise InvalidPrice(f"meter is one of {', '.join(Meter.values)}, not {texts['meter'][:40] or 'nothing'}.")
    meter = Meter(texts["meter"])
    organization = None
    if texts["organization"]:
        organization = organizations.get(texts["organization"])
        if organization is None:
            raise InvalidPrice(f"there is no organization {texts['organization'][:60]}.")
    scope = Scope(
        meter=meter,
        model=texts["model"] or "*",
        organization=organization,
        state=texts["state"],
        device_class=texts["device_class"],
        currency=texts["currency"],
    ).checked()
    graduated = _graduated(meter, row.get("tiers"))
    if bool(graduated) == bool(texts["price"]):
        raise InvalidPrice("give either a price or tiers.")
    valid_from = _moment("valid_from", texts["valid_from"]) or begins
    valid_to = _moment("valid_to", texts["valid_to"])
    if valid_to is not None and valid_to < valid_from:
        raise InvalidPrice("valid_to is before valid_from.")
    return PriceRow(
        id=f"candidate {number:06d}",
        meter=meter,
        model=scope.model,
        organization_id=organization.pk if organization else None,
        state=scope.state,
        device_class=scope.device_class,
        currency=scope.currency,
        pico_per_unit=tiers.dearest(graduated) if graduated else prices.parse(meter, texts["price"]),
        tiers=graduated,
        valid_from=valid_from,
        valid_to=valid_to,
    )


def _graduated(meter: Meter, found: object) -> tuple[Tier, ...]:
    if isinstance(found, list):
        if not all(isinstance(one, dict) and one.keys() == {"from", "price"} for one in found):
            raise InvalidPrice('each tier has "from" and "price".')
        return _tiers(meter, [(_text("from", one["from"]), _text("price", one["price"])) for one in found])
    return parse_tiers(meter, _text("tiers", found))


def _tiers(meter: str, found: Iterable[tuple[str, str]]) -> tuple[Tier, ...]:
    made = []
    for begins, price in found:
        digits = begins.strip().replace("_", "").replace(",", "")
        if not digits.isascii() or not digits.isdecimal() or len(digits) > 18:
            raise InvalidPrice("Write tiers as from: price, such as 0: 0; 1000000: 0.25.", param="tiers")
        made.append(Tier(begins=int(digits), pico=prices.parse(meter, price)))
    tiers.check(made)
    return tuple(made)


def _text(field: str, value: object) -> str:
    if value is None:
        return ""
    if not isinstance(value, str):
        raise InvalidPrice(f"{field} is a text.")
    return value.strip()


def _moment(field: str, text: str) -> dt.datetime | None:
    if not text:
        return None
    try:
        found = dt.datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidPrice(f"{field} is a moment such as 2026-11-01 or 2026-11-01T12:00:00Z.") from error
    return found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
