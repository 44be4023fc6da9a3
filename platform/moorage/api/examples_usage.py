"""Example values of usage and of single requests for the OpenAPI document."""

from typing import Final

from moorage.api import examples, examples_prices

_REQUEST_ID: Final = "req_01k7wq0c9v7h3t5a2m8xj4n6bh"
USAGE_ROW: Final = {
    "group": examples.DEPLOYMENT_ID,
    "label": "demo",
    "requests": 12,
    "input_tokens": 840,
    "cached_tokens": 200,
    "output_tokens": 360,
    "replica_seconds": 3600,
    "replica_states": {"pull": 20, "load": 5, "frozen": 600, "idle": 3000, "busy": 600},
}
USAGE: Final = {
    "period": "2026-11",
    "period_start": "2026-11-01T00:00:00Z",
    "period_end": "2026-12-01T00:00:00Z",
    "grouped_by": "deployment",
    "total": {**USAGE_ROW, "group": "", "label": ""},
    "data": [USAGE_ROW],
    "next_cursor": None,
}
REQUEST: Final = {
    "id": _REQUEST_ID,
    "organization_id": examples.ORGANIZATION_ID,
    "deployment_id": examples.DEPLOYMENT_ID,
    "revision_id": examples.REVISION_ID,
    "replica_id": examples.REPLICA_ID,
    "key_id": examples.KEY_ID,
    "served_name": "demo/llm",
    "path": "/v1/chat/completions",
    "is_stream": True,
    "outcome": "completed",
    "status": 200,
    "input_tokens": 70,
    "cached_tokens": 20,
    "output_tokens": 30,
    "source": "engine",
    "is_disputed": False,
    "started_at": examples.AT,
    "first_token_at": examples.AT,
    "ended_at": examples.AT,
    "held_seconds": "0.000000",
}
RATED_REQUEST: Final = {
    **REQUEST,
    "is_rated": True,
    "unpriced_meter": "",
    "charges": [
        {
            "meter": "output_tokens",
            "quantity": 30,
            "price": examples_prices.PRICE,
            "amount": examples.money(18000000, "0.000018"),
        },
    ],
    "amount": examples.money(18000000, "0.000018"),
}
