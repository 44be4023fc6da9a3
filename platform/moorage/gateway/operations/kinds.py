"""What a model is for, and what it therefore cannot be asked. Each refusal says what would help."""

from typing import Any, Final

from moorage.gateway.errors import BadField
from moorage.gateway.request_fields import wrong
from moorage.wire.records import Route

_CHAT: Final = frozenset({"chat"})
_DEEDS: Final = {"chat": "generates text", "embedding": "makes embeddings", "rerank": "ranks documents"}


def can_chat(route: Route) -> bool:
    """Whether it answers messages. llama-server has a template of its own for a model without one, vLLM has not."""
    return route.kind == "chat" and (route.has_chat_template or route.engine == "llamacpp")


def check(path: str, kinds: frozenset[str], route: Route) -> None:
    """Raises BadField where a route of another kind is asked at ``path``."""
    if route.kind not in kinds:
        deed = _DEEDS.get(route.kind, "does something else")
        raise BadField(f"model: {route.served_name} {deed} and cannot be called at {path}.", param="model")


def check_chat(path: str, members: dict[str, Any], route: Route) -> None:
    """Raises BadField where ``route`` cannot answer messages, or not with the tools among ``members``."""
    check(path, _CHAT, route)
    if not can_chat(route):
        raise BadField(
            f"model: {route.served_name} has no chat template, so that vLLM cannot read messages; use /v1/completions.",
            param="model",
        )
    if members.get("tools") and members.get("tool_choice") != "none" and not route.has_tools:
        advice = (
            "deploy it with --enable-auto-tool-choice and --tool-call-parser"
            if route.engine == "vllm"
            else "its chat template has no place for them"
        )
        raise wrong("tools", f"{route.served_name} calls no tools; {advice}")
