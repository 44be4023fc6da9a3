"""Example values for the OpenAPI document: one deployment of the demo model, seen from every side.

What it uses and what that costs stand in ``examples_usage.py`` and ``examples_statements.py``.
"""

from typing import Any, Final

COMPOSE: Final = """\
services:
  assistant:
    image: example/assistant
    models: [llm]
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 512
"""
ENV_FILE: Final = "LLM_URL=http://127.0.0.1:8401/v1/\nLLM_MODEL=demo/llm\nLLM_ENDPOINT=http://127.0.0.1:8401/v1/\n"
ENVIRONMENT: Final = {
    "assistant": [
        {"name": "LLM_URL", "value": "http://127.0.0.1:8401/v1/"},
        {"name": "LLM_MODEL", "value": "demo/llm"},
        {"name": "LLM_ENDPOINT", "value": "http://127.0.0.1:8401/v1/"},
    ]
}
AT: Final = "2026-11-22T08:00:00Z"
_DIGEST: Final = "sha256:" + "5a" * 32
DEPLOYMENT_ID: Final = "dep_01k7wq0c9v7h3t5a2m8xj4n6bd"
REVISION_ID: Final = "rev_01k7wq0c9v7h3t5a2m8xj4n6be"
REPLICA_ID: Final = "rep_01k7wq0c9v7h3t5a2m8xj4n6bf"
KEY_ID: Final = "key_01k7wq0c9v7h3t5a2m8xj4n6bg"
PRICE_ID: Final = "pri_01k7wq0c9v7h3t5a2m8xj4n6bk"
ORGANIZATION_ID: Final = "org_01k7wq0c9v7h3t5a2m8xj4n6bj"

MODEL: Final = {
    "key": "llm",
    "served_name": "demo/llm",
    "reference": "catalog/harbour:q8_0",
    "digest": _DIGEST,
    "format": "gguf",
    "quantization": "Q8_0",
    "engine": "llamacpp",
    "kind": "chat",
    "context_size": 512,
    "memory_bytes": 268435456,
    "gpus": 0,
    "size_bytes": 2097152,
}
SUMMARY: Final = {
    "id": DEPLOYMENT_ID,
    "name": "demo",
    "status": "ready",
    "reason": "Serves requests.",
    "reason_code": "serving",
    "status_changed_at": AT,
    "is_paused": False,
    "revision": 1,
    "served_names": ["demo/llm"],
    "replicas_ready": 1,
    "replicas_live": 1,
    "created_at": AT,
}
DEPLOYMENT: Final = {
    **SUMMARY,
    "endpoint": "http://127.0.0.1:8401/v1",
    "models": [MODEL],
    "environment": ENVIRONMENT,
    "env_file": {"assistant": ENV_FILE},
    "update_under_way": None,
    "warnings": [],
}
PROVISIONING: Final = {
    **DEPLOYMENT,
    "status": "provisioning",
    "reason": "Waiting for its first look.",
    "reason_code": "new",
    "replicas_ready": 0,
    "replicas_live": 0,
}
PLAN: Final = {
    "name": "demo",
    "is_new": True,
    "is_changed": True,
    "revision": 1,
    "steps": ["Start demo/llm: catalog/harbour:q8_0 on llamacpp (2.1 MB, 256 MiB of memory a replica)."],
    "updates": [
        {
            "key": "llm",
            "served_name": "demo/llm",
            "change": "start",
            "sentence": "Starts.",
            "strategy": "surge",
            "canary_weight": 0,
            "differences": [],
            "replicas": 1,
            "has_room": None,
            "gap_seconds": 0.0,
            "extra_replicas": 0,
            "extra_seconds": 0.0,
            "device_classes": [],
            "extra_cost": {"pico": "0", "amount": "0", "currency": "USD"},
        }
    ],
    "endpoint": "http://127.0.0.1:8401/v1",
    "models": [MODEL],
    "environment": ENVIRONMENT,
    "env_file": {"assistant": ENV_FILE},
    "warnings": [],
}
REVISION_SUMMARY: Final = {
    "id": REVISION_ID,
    "number": 1,
    "is_target": True,
    "created_at": AT,
    "created_by": "API key mk_live_4fT9aQ…",
    "models": [MODEL],
}
REVISION: Final = {**REVISION_SUMMARY, "compose": COMPOSE, "variables": {}, "content_hash": "7c" * 32}
REPLICA: Final = {
    "id": REPLICA_ID,
    "model_key": "llm",
    "revision": 1,
    "status": "ready",
    "reason": "The engine has answered one real token.",
    "reason_code": "first_token",
    "status_changed_at": AT,
    "engine": "llamacpp",
    "engine_version": "b6400",
    "runtime": "docker",
    "node_id": "node_01k7wq0c9v7h3t5a2m8xj4n6bm",
    "argv": ["llama-server", "--model", "/weights/model.gguf", "--ctx-size", "2048", "--host", "/run/moorage/x.sock"],
    "pulled_bytes": 2097152,
    "total_bytes": 2097152,
    "pull": {
        "here_bytes": 0,
        "files": 1,
        "files_done": 1,
        "file": "",
        "bytes_per_second": 52428800,
        "seconds_left": 0,
    },
    "peak_memory_bytes": 201326592,
    "exit_code": None,
    "created_at": AT,
    "ready_at": AT,
    "failed_at": None,
    "ended_at": None,
}
LOG_TEXT: Final = "main: server is listening on /run/moorage/x.sock\n"
LOG_EVENTS: Final = (
    "retry: 2000\n\nid: 7\nevent: line\n"
    f'data: {{"replica_id": "{REPLICA_ID}", "stream": "stderr", "at": "{AT}", "text": "server is listening"}}\n\n'
)
EVENT: Final = {
    "id": "evt_01k7wq0c9v7h3t5a2m8xj4n6bn",
    "code": "deployment_ready",
    "message": "Serves requests.",
    "by": "Moorage",
    "at": AT,
    "replica_id": None,
}
KEY: Final = {
    "id": KEY_ID,
    "name": "ci",
    "shown": "mk_live_4fT9aQ",
    "scopes": ["inference"],
    "served_names": [],
    "networks": [],
    "priority": "normal",
    "created_at": AT,
    "created_by": "alice@example.com",
    "expires_at": None,
    "revoked_at": None,
    "last_used_at": None,
}
NEW_KEY: Final = {**KEY, "secret": "mk_live_ (and 39 characters, shown this once)"}
LIMITS: Final = {
    "limits": {
        "requests_per_minute": 600,
        "tokens_per_minute": None,
        "concurrent_requests": None,
        "tokens_per_day": None,
        "tokens_per_month": None,
        "money_per_day": None,
        "money_per_month": "50.00",
    },
    "uses": [
        {
            "name": "requests_per_minute",
            "limit": "600",
            "used": "12",
            "set_aside": "50",
            "remaining": "538",
            "resets_at": "2026-10-01T12:01:00Z",
        },
        {
            "name": "money_per_month",
            "limit": "50.00",
            "used": "1.25",
            "set_aside": "0.50",
            "remaining": "48.25",
            "resets_at": "2026-11-01T00:00:00Z",
        },
    ],
}
KEY_LIMITS: Final = {**LIMITS, "networks": ["192.0.2.0/24"], "priority": "normal"}
REGISTRY: Final = {"host": "ghcr.io", "username": "harbour", "created_at": AT, "created_by": KEY_ID}
WHOAMI: Final = {
    "key": KEY,
    "organization": {"id": ORGANIZATION_ID, "slug": "harbour", "name": "Harbour", "standing": "active"},
}
NODE: Final = {
    "id": "node_01k7wq0c9v7h3t5a2m8xj4n6bm",
    "name": "quay-1",
    "runtime": "docker",
    "memory_bytes": 25769803776,
    "used_memory_bytes": 268435456,
    "cpu_millis": 2000,
    "used_cpu_millis": 1000,
    "replica_count": 1,
    "is_drained": False,
    "seen_at": AT,
}


def money(pico: int, amount: str) -> dict[str, str]:
    """An amount as the API writes it."""
    return {"pico": str(pico), "amount": amount, "currency": "USD"}


def page(row: Any) -> dict[str, Any]:
    """A list of one."""
    return {"data": [row], "next_cursor": None}
