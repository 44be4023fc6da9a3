"""Examples of updates in the API's description."""

from typing import Final

FORECAST: Final = {
    "key": "llm",
    "served_name": "demo/llm",
    "change": "replace",
    "sentence": "Comes up beside the present revision, which drains after; no request waits.",
    "strategy": "surge",
    "canary_weight": 0,
    "differences": ["context_size: 512 -> 640"],
    "replicas": 1,
    "has_room": True,
    "gap_seconds": 0.0,
    "extra_replicas": 1,
    "extra_seconds": 2.4,
    "device_classes": ["cpu"],
    "extra_cost": {"pico": "60000000", "amount": "0.00006", "currency": "USD"},
}
UPDATE: Final = {
    "id": "upd_01k4q3v7c2e5f8g9h0j1k2m3n4",
    "revision": 4,
    "baseline": 3,
    "state": "trial",
    "why": "",
    "by": "API key mk_live_4fT9aQ…",
    "created_at": "2026-11-22T12:00:00Z",
    "trial_since": "2026-11-22T12:00:09Z",
    "judged_at": "2026-11-22T12:01:12Z",
    "ended_at": None,
    "models": [
        {
            "key": "llm",
            "baseline": {
                "requests": 412,
                "errors": 0,
                "error_share": 0.0,
                "first_token_seconds": 0.11,
                "tokens_per_second": 48.2,
            },
            "canary": {
                "requests": 46,
                "errors": 0,
                "error_share": 0.0,
                "first_token_seconds": 0.12,
                "tokens_per_second": 47.9,
            },
            "verdict": "continue",
            "why": "46 requests, nothing speaks against it; 237 s to go.",
        }
    ],
}
ROLLBACK_PLAN: Final = {"revision": 1, "updates": [FORECAST]}
