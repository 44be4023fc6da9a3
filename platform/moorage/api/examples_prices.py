"""Example values of prices, costs, minimums and dry runs for the OpenAPI document."""

from typing import Any, Final

from moorage.api import examples, examples_statements

_AT: Final = "2026-11-22T08:00:00Z"
PRICE: Final[dict[str, object]] = {
    "id": examples.PRICE_ID,
    "meter": "output_tokens",
    "model": "*",
    "organization": None,
    "state": "",
    "device_class": "",
    "price": "0.60",
    "per": "1M tokens",
    "currency": "USD",
    "pico_per_unit": "600000",
    "tiers": [],
    "valid_from": "2020-01-01T00:00:00Z",
    "valid_to": None,
    "cost_id": None,
    "margin_basis_points": None,
    "created_at": _AT,
    "created_by": "Moorage",
    "note": "default price list",
}
PRICE_ENTRY: Final[dict[str, Any]] = {
    "meter": "output_tokens",
    "model": "*",
    "organization": None,
    "state": "",
    "device_class": "",
    "currency": "USD",
    "in_force": PRICE,
    "upcoming": [],
    "history": [],
}
COST: Final = {
    "id": "cost_01k7wq0c9v7h3t5a2m8xj4n6br",
    "meter": "replica_seconds",
    "model": "*",
    "device_class": "h200",
    "cost": "0.0005",
    "per": "replica second",
    "currency": "USD",
    "pico_per_unit": "500000000",
    "valid_from": _AT,
    "created_at": _AT,
    "created_by": "ada@example.com",
    "note": "",
}
MINIMUM: Final = {
    "id": "min_01k7wq0c9v7h3t5a2m8xj4n6bs",
    "organization": examples_statements.ORGANIZATION_MONTH["organization"],
    "amount": examples.money(500_000_000_000_000, "500.00"),
    "period": "2026-11",
    "created_at": _AT,
    "created_by": "ada@example.com",
    "note": "",
}
CANDIDATE: Final = "meter,model,price,organization\noutput_tokens,demo/*,0.75,\noutput_tokens,*,0.50,harbour\n"
DRY_RUN: Final[dict[str, Any]] = {
    "period": "2026-10",
    "totals": [
        {
            "rated": examples.money(216000000, "0.000216"),
            "candidate": examples.money(270000000, "0.00027"),
            "difference": examples.money(54000000, "0.000054"),
        }
    ],
    "organizations": [
        {
            "organization": examples_statements.ORGANIZATION_MONTH["organization"],
            "rated": examples.money(216000000, "0.000216"),
            "candidate": examples.money(270000000, "0.00027"),
            "difference": examples.money(54000000, "0.000054"),
            "waiting": 0,
            "unpriced": [],
        }
    ],
}
