"""Examples of invoices in full, credit notes and exports for the OpenAPI document."""

from typing import Final

from moorage.api.examples import money
from moorage.api.examples_statements import INVOICE

LINE: Final = {
    "position": 0,
    "description": "demo/llm: 2,050,000 output tokens at 0.60 per 1M tokens",
    "exactly": money(1230000000000, "1.23"),
    "amount": money(1230000000000, "1.23"),
}
INVOICE_DETAIL: Final = {
    **INVOICE,
    "owed": money(1230000000000, "1.23"),
    "statement_sha256": "5a" * 32,
    "lines": [LINE],
    "tax_lines": [],
    "credit_note_ids": [],
}
CREDIT_NOTE: Final = {
    "id": "cn_01k7wq0c9v7h3t5a2m8xj4n6bs",
    "number": "C-000007",
    "invoice_id": INVOICE["id"],
    "invoice_number": "M-000042",
    "subtotal": money(1230000000000, "1.23"),
    "tax": money(0, "0.00"),
    "total": money(1230000000000, "1.23"),
    "owed": money(1230000000000, "1.23"),
    "refund": money(0, "0.00"),
    "is_to_wallet": False,
    "reason": "The model was down for an hour.",
    "issued_at": "2026-11-23T08:00:00Z",
    "lines": [LINE],
    "tax_lines": [],
}
BILLING_DETAILS: Final = {
    "legal_name": "Harbour Ltd",
    "address": "1 Quay\nOld Town",
    "country": "GB",
    "tax_id": "GB 123",
    "email": "bills@harbour.example",
}
PDF: Final = "%PDF-1.3 …"
CSV: Final = "number,period,what,meter,quantity,exactly,amount,currency\r\nM-000042,2026-10,Total,,,,1.23,USD\r\n"
DOCUMENT: Final = '{"currency":"USD","kind":"invoice","number":"M-000042"}'
EXPORT: Final = (
    '{"moorage_export":1,"statement_id":"st_01k7wq0c9v7h3t5a2m8xj4n6bq"}\n'
    '["req_01k7wq0c9v7h3t5a2m8xj4n6bh",0,"0f1e2d3c4b5a6978","output_tokens","2026-10-15T12:00:00+00:00",30,"600000",'
    '"18000000"]\n'
    '{"rows":1,"amount_pico":"18000000","sha256":"…"}\n'
)
