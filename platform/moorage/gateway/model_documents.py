"""What ``GET /v1/models`` says of a model: who it is, where it can be called, and what it can do there.

One document for both vendors' clients: OpenAI's members (``object``, ``created``, ``owned_by``) and Anthropic's
(``type``, ``display_name``, ``created_at``, ``max_input_tokens``, ``capabilities`` …) do not collide. Ours are
``kind``, ``engine``, ``status``, ``context_size``, ``endpoints``, and two of the ``capabilities``.
"""

import datetime as dt
from typing import Any, Final

import msgspec

from moorage.gateway.operations import OPERATIONS, kinds
from moorage.wire.records import Route

_NO: Final = {"supported": False}
_YES: Final = {"supported": True}
#: What no model here can do, in Anthropic's names: it would have to fetch, store or run something.
_NEVER: Final[dict[str, Any]] = {
    "batch": _NO,
    "citations": _NO,
    "code_execution": _NO,
    "context_management": _NO,
    "image_input": _NO,
    "pdf_input": _NO,
    "server_tools": {"supported": False, "code_execution": _NO, "web_search": _NO},
}


def document(route: Route) -> dict[str, Any]:
    """One model."""
    created = dt.datetime.fromtimestamp(route.created_at, tz=dt.UTC)
    return {
        "id": route.served_name,
        "object": "model",
        "type": "model",
        "display_name": route.served_name,
        "created": route.created_at,
        "created_at": created.isoformat().replace("+00:00", "Z"),
        "owned_by": route.organization_id,
        "lifecycle": "active",
        "kind": route.kind,
        "engine": route.engine,
        "status": route.status,
        "context_size": route.context_size,
        "max_input_tokens": route.context_size,
        # Prompt and answer share the context.
        "max_tokens": route.context_size if route.kind == "chat" else 0,
        "endpoints": [path for path, operation in OPERATIONS.items() if operation.serves(route)],
        "capabilities": _capabilities(route),
    }


def one(route: Route) -> bytes:
    """The answer to ``GET /v1/models/<name>``."""
    return msgspec.json.encode(document(route))


def listed(routes: list[Route]) -> bytes:
    """The answer to ``GET /v1/models``, all of it on one page."""
    documents = [document(route) for route in routes]
    return msgspec.json.encode(
        {
            "object": "list",
            "data": documents,
            "has_more": False,
            "first_id": documents[0]["id"] if documents else None,
            "last_id": documents[-1]["id"] if documents else None,
        }
    )


def _capabilities(route: Route) -> dict[str, Any]:
    """In Anthropic's shape. Supported means taken and told to the engine; what it makes of it is the model's affair."""
    can_chat = {"supported": kinds.can_chat(route)}
    is_llamacpp = {"supported": can_chat["supported"] and route.engine == "llamacpp"}
    effort = {"supported": can_chat["supported"]} | dict.fromkeys(("low", "medium", "high", "xhigh", "max"), can_chat)
    types = {"adaptive": can_chat, "disabled": can_chat, "enabled": is_llamacpp, "between_tools": _NO}
    return _NEVER | {
        "effort": effort,
        "structured_outputs": can_chat,
        "thinking": {"supported": can_chat["supported"], "types": types},
        "streaming": {"supported": route.kind == "chat"},
        "tools": {"supported": can_chat["supported"] and route.has_tools},
    }
