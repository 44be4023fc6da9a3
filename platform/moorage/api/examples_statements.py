"""Example values of statements, invoices and months of organizations for the OpenAPI document."""

from typing import Final

from moorage.api import examples

LINE: Final = {
    "id": "0f1e2d3c4b5a6978",
    "deployment": {"id": examples.DEPLOYMENT_ID, "name": "demo"},
    "served_name": "demo/llm",
    "meter": "output_tokens",
    "usage_month": "2026-11",
    "is_late": False,
    "quantity": 360,
    "sources": 12,
    "price": {
        "id": examples.PRICE_ID,
        "price": "0.60",
        "per": "1M tokens",
        "pico_per_unit": "600000",
        "tier": 0,
        "scope": "",
    },
    "late_of": "",
    "amount": examples.money(216000000, "0.000216"),
}
STATEMENT: Final = {
    "organization": {"id": examples.ORGANIZATION_ID, "name": "Harbour"},
    "period": "2026-11",
    "period_start": "2026-11-01T00:00:00Z",
    "period_end": "2026-12-01T00:00:00Z",
    "is_frozen": False,
    "statement_id": "",
    "sha256": "",
    "invoice_id": None,
    "lines": [LINE],
    "unpriced": [],
    "total": examples.money(216000000, "0.000216"),
    "credit_applied": examples.money(0, "0.00"),
    "due": examples.money(216000000, "0.000216"),
}
STATEMENT_SUMMARY: Final = {
    key: shown for key, shown in STATEMENT.items() if key not in ("organization", "lines", "unpriced")
}
CSV: Final = (
    "period,usage_month,deployment,deployment_id,served_name,meter,quantity,price,price_per,amount,currency,line\r\n"
    f"2026-11,2026-11,demo,{examples.DEPLOYMENT_ID},demo/llm,output_tokens,360,0.60,1M tokens,0.000216,USD,"
    "0f1e2d3c4b5a6978\r\n"
)
INVOICE: Final = {
    "id": "inv_01k7wq0c9v7h3t5a2m8xj4n6bp",
    "number": "M-000042",
    "status": "finalized",
    "reason": "No review was asked for.",
    "period": "2026-10",
    "statement_id": "st_01k7wq0c9v7h3t5a2m8xj4n6bq",
    "subtotal": examples.money(1230000000000, "1.23"),
    "tax": examples.money(0, "0.00"),
    "total": examples.money(1230000000000, "1.23"),
    "provider": "transfer",
    "payment_url": "",
    "created_at": examples.AT,
    "finalized_at": examples.AT,
    "due_at": "2026-12-06T08:00:00Z",
    "paid_at": None,
}
ORGANIZATION_INVOICE: Final = {
    **INVOICE,
    "organization": {"id": examples.ORGANIZATION_ID, "slug": "harbour", "name": "Harbour", "standing": "active"},
    "reviewed_by": "",
}
ORGANIZATION_MONTH: Final = {
    "organization": {"id": examples.ORGANIZATION_ID, "slug": "harbour", "name": "Harbour", "standing": "active"},
    "requests": 12,
    "input_tokens": 840,
    "cached_tokens": 200,
    "output_tokens": 360,
    "replica_seconds": 3600,
    "amount": examples.money(216000000, "0.000216"),
    "unpriced": 0,
    "invoice_id": None,
    "invoice_status": None,
    "held_reason": "",
}
