"""Example values of refunds of credit and of usage pushes for the OpenAPI document."""

from typing import Final

from moorage.api.examples import money
from moorage.api.examples_statements import ORGANIZATION_INVOICE

_AT: Final = "2026-11-22T08:00:00Z"
_AMOUNT: Final = money(12_500_000_000_000, "12.50")
REFUNDS: Final = {
    "amount": _AMOUNT,
    "refunds": [
        {
            "id": "ref_01k7wq0c9v7h3t5a2m8xj4n6bt",
            "top_up_id": "top_01k7wq0c9v7h3t5a2m8xj4n6bd",
            "status": "pending",
            "amount": _AMOUNT,
            "reason": "They leave, and asked for it.",
            "created_by": "ada@example.com",
            "created_at": _AT,
        }
    ],
}
PUSH: Final = {
    "id": "psh_01k7wq0c9v7h3t5a2m8xj4n6bv",
    "identifier": "u1-psh_01k7wq0c9v7h3t5a2m8xj4n6bv",
    "organization": ORGANIZATION_INVOICE["organization"],
    "state": "uncertain",
    "amount": money(1_250_000_000_000, "1.25"),
    "window_start": "2026-11-21T10:00:00Z",
    "window_end": "2026-11-21T11:00:00Z",
    "attempts": 12,
    "first_sent_at": "2026-11-21T11:00:04Z",
    "last_error": "Nobody knows whether it arrived, and it is too late to send it again.",
}
UNCOVERED: Final = {
    "id": "ref_01k7wq0c9v7h3t5a2m8xj4n6bw",
    "organization": ORGANIZATION_INVOICE["organization"],
    "top_up_id": "top_01k7wq0c9v7h3t5a2m8xj4n6bd",
    "reference": "re_3PqF2A",
    "amount": _AMOUNT,
    "uncovered": money(2_500_000_000_000, "2.50"),
    "created_at": _AT,
}
PAYOUT: Final = {
    "id": "cn_01k7wq0c9v7h3t5a2m8xj4n6bx",
    "number": "C-000042",
    "organization": ORGANIZATION_INVOICE["organization"],
    "invoice_id": "inv_01k7wq0c9v7h3t5a2m8xj4n6by",
    "amount": _AMOUNT,
    "issued_at": _AT,
    "reason": "Charged for our own test.",
}
