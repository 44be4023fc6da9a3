"""A frozen statement with everything it sums up, for the verifier (verify_statement.py): JSON Lines, streamed.

The first line is the statement's canonical text with its hash, and its invoice and credit notes; then every rated row
as an array of ROW; the last line counts them and seals all bytes before it with their SHA-256. Rows are in the order
of their ids, byte by byte, so that whoever reads them sees at once that none is there twice. What is in memory does
not grow with the rows.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from typing import Final

from django.db.models.functions import Collate

from moorage.billing import credit_notes, invoice_document
from moorage.billing import statement as statements
from moorage.billing.models import Invoice, RatedUsage, Statement
from moorage.kernel.clock import Period

VERSION: Final = 1
#: The columns of a row. Rates and amounts are decimal strings of pico-units; ``line`` names the statement's line.
ROW: Final = ("source", "part", "line", "meter", "ended_at", "quantity", "pico_per_unit", "amount_pico")
_CHUNK: Final = 1_000


def stream(statement: Statement) -> Iterator[bytes]:
    """The export of ``statement``, some lines at a time."""
    seal = hashlib.sha256()
    head = _written(_head(statement))
    seal.update(head)
    yield head
    count = total = 0
    for piece, rows, pico in _rows(statement):
        count, total = count + rows, total + pico
        seal.update(piece)
        yield piece
    yield _written({"rows": count, "amount_pico": str(total), "sha256": seal.hexdigest()})


def filename(statement: Statement) -> str:
    """What a browser saves it as."""
    return f"{statement.organization.slug}-{Period.containing(statement.period_start)}.jsonl"


def _head(statement: Statement) -> dict[str, object]:
    invoice = Invoice.objects.filter(statement=statement, number__isnull=False).first()
    notes = credit_notes.of_invoice(invoice) if invoice else []
    return {
        "moorage_export": VERSION,
        "statement_id": statement.pk,
        "sha256": statement.sha256,
        "statement": statement.document,
        "invoice": invoice_document.as_dict(invoice_document.of_invoice(invoice)) if invoice else None,
        "credit_notes": [invoice_document.as_dict(invoice_document.of_credit_note(note)) for note in notes],
        "row": list(ROW),
    }


def _rows(statement: Statement) -> Iterator[tuple[bytes, int, int]]:
    """Pieces of lines, each with how many it has and what they come to."""
    ids = {
        (line.deployment_id, line.served_name, line.meter, line.price_id, line.tier, line.usage_month): line.id
        for line in statements.parse(statement.document).lines
    }
    found = (
        RatedUsage.objects.for_organization(statement.organization)
        .filter(period_start=statement.period_start)
        .order_by(Collate("source_id", "C"), Collate("meter", "C"), "part")
        .values_list(
            *("source_id", "part", "deployment_id", "served_name", "meter", "price_id", "tier", "ended_at"),
            *("quantity", "pico_per_unit", "amount_pico"),
        )
    )
    lines: list[bytes] = []
    total = 0
    for source, part, *kind, tier, ended_at, quantity, rate, pico in found.iterator(chunk_size=_CHUNK):
        moment = ended_at.astimezone(dt.UTC)
        line = ids[*kind, tier, f"{moment:%Y-%m}"]
        meter = kind[2]
        lines.append(_written([source, part, line, meter, moment.isoformat(), quantity, str(rate), str(int(pico))]))
        total += int(pico)
        if len(lines) == _CHUNK:
            yield b"".join(lines), len(lines), total
            lines, total = [], 0
    if lines:
        yield b"".join(lines), len(lines), total


def _written(found: object) -> bytes:
    return json.dumps(found, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"
