#!/usr/bin/env python3
"""Recomputes a month's bill from its export, offline, with nothing but Python's standard library.

    python3 verify_statement.py the-export.jsonl [--sha256 HASH]

Every request's quantity × price, every line's sums, tiers, the total, credit, the one rounding to cents, tax, credit
notes: a line each. It stops at the first thing that is not so and exits with 1. Give the SHA-256 that stands on your
invoice with --sha256: it says that this is the statement that the invoice is made of.

Money is whole pico-units (10⁻¹²) of the one currency of the statement; nothing here is ever a binary fraction.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

PICO = 10**12
PICO_PER_CENT = 10**10
BASIS_POINTS = 10_000
MINIMUM = "minimum_commitment"
ROW = ["source", "part", "line", "meter", "ended_at", "quantity", "pico_per_unit", "amount_pico"]


class Lie(Exception):
    """Something in the export is not what it should be."""


def main(arguments: Sequence[str]) -> int:
    """0 when everything is so, 1 at the first thing that is not."""
    parser = argparse.ArgumentParser(description="Recomputes a bill from its export, offline.")
    parser.add_argument("export", type=Path, help="the .jsonl file from the console or the REST API")
    parser.add_argument("--sha256", help="the hash on the invoice")
    asked = parser.parse_args(arguments)
    try:
        with asked.export.open("rb") as opened:
            for sentence in checks(iter(opened), asked.sha256):
                print("ok  ", sentence)
    except Lie as lie:
        print("LIE ", lie)
        return 1
    except (ValueError, KeyError, TypeError, IndexError, AttributeError) as error:
        print("LIE ", f"the export cannot be read: {type(error).__name__} {error}")
        return 1
    except OSError as error:
        print("The file cannot be opened:", error.strerror)
        return 2
    print("The bill is right.")
    return 0


def checks(lines: Iterator[bytes], wanted_sha256: str | None = None) -> Iterator[str]:
    """What holds, a sentence a check. Raises Lie at the first thing that does not."""
    seal = hashlib.sha256()
    first = next(lines, b"")
    seal.update(first)
    head = read(first)
    require(head["moorage_export"] == 1 and head["row"] == ROW, "this verifier does not know this version of export")
    text = head["statement"]
    digest = hashlib.sha256(text.encode()).hexdigest()
    require(digest == head["sha256"], f"the statement's SHA-256 is {digest}, not {head['sha256']}")
    require(wanted_sha256 in (None, digest), f"the statement's SHA-256 is {digest}, not that of the invoice")
    yield f"the statement's SHA-256 is {digest}"
    statement = read(text.encode())
    require(text == canonical(statement), "the statement is not in its canonical form")
    require(statement["version"] in (1, 2), "this verifier does not know this version of statement")
    yield f"it is the canonical statement of {statement['organization']['name']} for {statement['period']}"
    by_id = {line["id"]: line for line in statement["lines"]}
    require(len(by_id) == len(statement["lines"]), "two lines of the statement have one id")
    for line in statement["lines"]:
        check_line(line, statement)
    yield f"quantity × price is the amount of each of its {len(by_id)} lines"
    yield check_tiers(statement)
    yield check_sums(statement)
    yield check_currency(statement, [head["invoice"] or {}, *head["credit_notes"]])
    count, total, last = yield from rows(lines, by_id, seal)
    yield check_invoice(head["invoice"], statement, digest)
    yield check_credit_notes(head["credit_notes"], head["invoice"])
    end = read(last)
    require(end["rows"] == count, f"the export says that it has {end['rows']} rows, and has {count}")
    require(integer(end["amount_pico"]) == total, "the rows do not come to what the export says")
    require(end["sha256"] == seal.hexdigest(), "the export was changed after it was written: its seal does not fit")
    require(next(lines, b"") == b"", "something stands after the end of the export")
    yield "the export is as it was written: its seal fits"


def check_line(line: dict[str, Any], statement: dict[str, Any]) -> None:
    """One line: its amount, its texts, its id, its month."""
    price, what = line["price"], f"line {line['id']}"
    rate, amount = integer(price["pico_per_unit"]), integer(line["amount_pico"])
    require(type(line["quantity"]) is int and line["quantity"] >= 0, f"{what}: its quantity is no whole number")
    require(line["quantity"] * rate == amount, f"{what}: {line['quantity']} × {rate} pico is not {amount} pico")
    require(decimal(line["amount"]) == amount, f"{what}: {line['amount']} is not {amount} pico")
    per = 10**6 if price["per"] == "1M tokens" else 1
    require(decimal(price["amount"]) == rate * per, f"{what}: {price['amount']} per {price['per']} is not its rate")
    parts = [line["deployment"]["id"], line["served_name"], line["meter"], price["id"], line["usage_month"]]
    parts += [str(price["tier"])] if price.get("tier") else []
    named = hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
    require(line["id"] == named, f"{what}: its id should be {named}")
    is_late = line["usage_month"] != statement["period"]
    require(line["usage_month"] <= statement["period"], f"{what}: it was used after the month")
    require(line["is_late"] is is_late, f"{what}: late usage is usage of an earlier month, and only that")
    if statement["version"] > 1:
        require(bool(line["late_of"]) is is_late, f"{what}: late usage names the statement of its month")


def check_tiers(statement: dict[str, Any]) -> str:
    """Graduated prices: each tier at its rate, none beyond its end, the next one only when it is full."""
    used: dict[tuple[str, str], dict[int, int]] = {}
    tiers: dict[str, list[Any]] = {}
    for line in statement["lines"]:
        price = line["price"]
        if not price.get("tiers"):
            require(not price.get("tier"), f"line {line['id']}: it is of a tier of a price that has none")
            continue
        known = tiers.setdefault(price["id"], price["tiers"])
        require(known == price["tiers"], f"price {price['id']} has other tiers in another line")
        begins = [tier["from"] for tier in known]
        require(begins == sorted(set(begins)) and begins[0] == 0, f"price {price['id']}: its tiers do not climb from 0")
        require(
            known[price["tier"]]["pico_per_unit"] == price["pico_per_unit"],
            f"line {line['id']}: its rate is not that of tier {price['tier'] + 1}",
        )
        of_month = used.setdefault((price["id"], line["usage_month"]), {})
        of_month[price["tier"]] = of_month.get(price["tier"], 0) + line["quantity"]
    for (price_id, month), quantities in used.items():
        begins = [tier["from"] for tier in tiers[price_id]]
        for number, quantity in quantities.items():
            if number + 1 < len(begins):
                room = begins[number + 1] - begins[number]
                require(
                    quantity <= room, f"price {price_id}: tier {number + 1} has room for {room}, not for {quantity}"
                )
        if month == statement["period"]:
            for number in range(max(quantities)):
                room = begins[number + 1] - begins[number]
                full = quantities.get(number, 0) == room
                require(full, f"price {price_id}: tier {number + 2} was used before tier {number + 1} was full")
    return f"tiers of {len(tiers)} graduated prices are filled in their order, each at its rate"


def check_sums(statement: dict[str, Any]) -> str:
    """Lines to total, total and credit to what is due."""
    total = sum(integer(line["amount_pico"]) for line in statement["lines"])
    require(integer(statement["total_pico"]) == total, f"the lines come to {total} pico, not {statement['total_pico']}")
    require(decimal(statement["total"]) == total, f"{statement['total']} is not {total} pico")
    for line in statement["lines"]:
        if line["meter"] == MINIMUM:
            least = decimal(line["price"]["scope"].rpartition(" ")[2])
            require(least == total, f"the minimum is {least} pico, and the month comes to {total}")
    credit, due = credit_and_due(statement)
    require(0 <= credit <= total, f"{credit} pico of credit cannot have paid for {total} pico")
    require(due == total - credit, f"{total} less {credit} pico of credit is not {due} pico due")
    if statement["version"] > 1:
        require(decimal(statement["credit_applied"]) == credit, f"{statement['credit_applied']} is not {credit} pico")
        require(decimal(statement["due"]) == due, f"{statement['due']} is not {due} pico")
    return f"the lines come to {total} pico, less {credit} pico of credit: {due} pico due"


def rows(
    lines: Iterator[bytes], by_id: dict[str, dict[str, Any]], seal: Any
) -> Generator[str, None, tuple[int, int, bytes]]:
    """Every request and interval: quantity × its line's rate, once, in its line's month; and their sums. Returns how
    many there are, what they come to, and the line after the last one."""
    sums = {line_id: [0, 0, 0] for line_id in by_id}
    before = ("", "", -1)
    count = total = 0
    last = b""
    for raw in lines:
        if not raw.startswith(b"["):
            last = raw
            break
        seal.update(raw)
        source, part, line_id, meter, ended_at, quantity, rate_text, amount_text = read(raw)
        rate, amount = integer(rate_text), integer(amount_text)
        require(line_id in by_id, f"{source}: the statement has no line {line_id}")
        line = by_id[line_id]
        require(type(quantity) is int and quantity > 0, f"{source}: its quantity is no whole number above zero")
        require(quantity * rate == amount, f"{source}: {quantity} × {rate} pico is not {amount} pico")
        require(rate_text == line["price"]["pico_per_unit"], f"{source}: its rate is not that of line {line_id}")
        require(meter == line["meter"], f"{source}: its meter is not that of line {line_id}")
        require(ended_at[:7] == line["usage_month"], f"{source}: it ended in another month than line {line_id}")
        here = (source, meter, part)
        require(before < here, f"{source}: it is there twice, or out of order")
        before = here
        known = sums[line_id]
        known[0] += quantity
        known[1] += amount
        known[2] += 1
        count += 1
        total += amount
    yield f"quantity × price is the amount of each of {count} rated rows, and none is there twice"
    for line_id, (quantity, amount, sources) in sums.items():
        line = by_id[line_id]
        if line["meter"] == MINIMUM:
            require(sources == 0, f"line {line_id}: a minimum sums up no rows")
            continue
        require(
            line["quantity"] == quantity, f"line {line_id}: its rows come to {quantity} units, not {line['quantity']}"
        )
        require(
            integer(line["amount_pico"]) == amount,
            f"line {line_id}: its rows come to {amount} pico, not {line['amount_pico']}",
        )
        require(line["sources"] == sources, f"line {line_id}: it has {sources} rows, not {line['sources']}")
    yield "the rows of each line come to its quantity and its amount"
    return count, total, last


def check_currency(statement: dict[str, Any], bills: list[dict[str, Any]]) -> str:
    """One currency: that of the statement."""
    currency = statement["currency"]
    for bill in bills:
        found = bill.get("currency", currency)
        require(
            found == currency, f"{bill.get('kind')} {bill.get('number')} is in {found}, the statement in {currency}"
        )
    return f"every amount is in {currency}"


def check_invoice(invoice: dict[str, Any] | None, statement: dict[str, Any], digest: str) -> str:
    """Whole cents: one rounding, largest remainder, tax."""
    if invoice is None:
        return "there is no invoice with a number yet"
    what = f"invoice {invoice['number']}"
    require(invoice["statement"]["sha256"] == digest, f"{what} is made of another statement")
    require(invoice["period"] == statement["period"], f"{what} is of another month")
    credit, due = credit_and_due(statement)
    exact = [integer(line["amount_pico"]) for line in statement["lines"]] + ([-credit] if credit else [])
    require([integer(line["amount_pico"]) for line in invoice["lines"]] == exact, f"{what}: its lines are others")
    subtotal, shares = to_cents(exact)
    require(invoice["subtotal_cents"] == subtotal, f"{what}: {due} pico are {subtotal} cents")
    printed = [line["amount_cents"] for line in invoice["lines"]]
    require(printed == shares, f"{what}: by largest remainder its lines are {shares} cents, not {printed}")
    tax = 0
    for one in invoice["tax"]:
        cents = part_of(subtotal, one["basis_points"], BASIS_POINTS)
        require(one["amount_cents"] == cents, f"{what}: {one['name']} on {subtotal} cents is {cents} cents")
        tax += cents
    require(invoice["tax_cents"] == tax, f"{what}: its tax comes to {tax} cents")
    require(invoice["total_cents"] == subtotal + tax, f"{what}: its total is {subtotal + tax} cents")
    return f"{what}: {due} pico round to {subtotal} cents, with {tax} cents of tax {subtotal + tax} cents"


def check_credit_notes(notes: list[dict[str, Any]], invoice: dict[str, Any] | None) -> str:
    """Each adds up, and together they take back no more than the invoice."""
    if not notes or invoice is None:
        require(not notes, "a credit note needs an invoice")
        return "there are no credit notes"
    for note in notes:
        what = f"credit note {note['number']}"
        require(note["invoice"]["id"] == invoice["id"], f"{what} is of another invoice")
        subtotal = sum(line["amount_cents"] for line in note["lines"])
        tax = sum(one["amount_cents"] for one in note["tax"])
        require(note["subtotal_cents"] == subtotal, f"{what}: its lines come to {subtotal} cents")
        require(note["tax_cents"] == tax, f"{what}: its tax comes to {tax} cents")
        require(note["total_cents"] == subtotal + tax, f"{what}: its total is {subtotal + tax} cents")
    for name in ("subtotal_cents", "tax_cents", "total_cents"):
        credited = sum(note[name] for note in notes)
        require(credited <= invoice[name], f"credit notes of {credited} cents take back more than {invoice[name]}")
    return f"{len(notes)} credit notes take back {sum(note['total_cents'] for note in notes)} cents"


def to_cents(amounts: Sequence[int]) -> tuple[int, list[int]]:
    """The total in cents, half away from zero, and each one's share by largest remainder, of equals the first."""
    exact = sum(amounts)
    total = part_of(exact, 1, PICO_PER_CENT)
    if exact < 0:
        return total, [-share for share in to_cents([-amount for amount in amounts])[1]]
    shares = [amount // PICO_PER_CENT for amount in amounts]
    order = sorted(range(len(amounts)), key=lambda index: (-(amounts[index] % PICO_PER_CENT), index))
    for index in order[: total - sum(shares)]:
        shares[index] += 1
    return total, shares


def part_of(amount: int, numerator: int, denominator: int) -> int:
    """``amount × numerator ÷ denominator``, half away from zero."""
    quotient, remainder = divmod(abs(amount * numerator), denominator)
    whole = quotient + (1 if remainder * 2 >= denominator else 0)
    return whole if amount * numerator >= 0 else -whole


def credit_and_due(statement: dict[str, Any]) -> tuple[int, int]:
    """What credit has paid, and what is due; the first version knew no credit."""
    if statement["version"] == 1:
        return 0, integer(statement["total_pico"])
    return integer(statement["credit_applied_pico"]), integer(statement["due_pico"])


def read(raw: bytes) -> Any:
    """JSON without fractions."""
    return json.loads(raw.decode(), parse_float=_no_fraction, parse_constant=_no_fraction)


def canonical(found: object) -> str:
    """JSON with sorted keys and no spaces."""
    return json.dumps(found, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def integer(text: object) -> int:
    """A whole number as it is written: digits, a minus before them, no zero in front."""
    require(isinstance(text, str) and text == str(int(text)), f"{text!r} is no whole number")
    return int(str(text))


def decimal(text: object) -> int:
    """Pico-units of an amount written as a decimal number."""
    require(isinstance(text, str), f"{text!r} is no amount")
    sign, digits = (-1, str(text)[1:]) if str(text).startswith("-") else (1, str(text))
    whole, _, fraction = digits.partition(".")
    require((whole + fraction).isdecimal() and len(fraction) <= 12, f"{text!r} is no amount")
    return sign * (int(whole) * PICO + int(fraction.ljust(12, "0")))


def require(is_so: bool, otherwise: str) -> None:
    """Raises Lie."""
    if not is_so:
        raise Lie(otherwise)


def _no_fraction(text: str) -> NoReturn:
    raise Lie(f"{text} is a fraction; amounts are whole numbers")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
