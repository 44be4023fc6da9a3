"""Is a runner ready? Asked over its Unix socket, and believed only when one real token has come back.

``/health`` says that the engine has loaded something; a token says that it can serve it. Both answers are values with a
reason, never exceptions: not being ready is what a probe expects.
"""

import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from moorage.fleet import runner_http
from moorage.fleet.engines import ModelKind

#: An engine that is loading answers at once with 503, so a slow answer is no answer.
HEALTH_SECONDS: Final = 2.0
#: The first token of a large model on a CPU, behind an empty queue.
TOKEN_SECONDS: Final = 30.0
#: Answers of a chat endpoint that mean "this model has no chat template", where completion may still work.
_NO_CHAT: Final = frozenset({400, 404, 405, 422, 500, 501})


@dataclasses.dataclass(frozen=True, kw_only=True)
class ProbeResult:
    """What a probe found. ``reason`` is a code for programs, ``detail`` a sentence for people."""

    is_ok: bool
    reason: str  #: ready | no_socket | no_answer | loading | engine_error | no_token
    detail: str = ""
    seconds: float = 0.0


def health(socket: Path) -> ProbeResult:
    """Whether the engine behind ``socket`` says it is up."""
    started = time.monotonic()
    answer = _ask(socket, "GET", "/health", None, HEALTH_SECONDS)
    if isinstance(answer, ProbeResult):
        return answer
    if answer.status == 200:
        return ProbeResult(is_ok=True, reason="ready", seconds=time.monotonic() - started)
    reason = "loading" if answer.status == 503 else "engine_error"
    return ProbeResult(is_ok=False, reason=reason, detail=f"/health answered {answer.status}.")


def first_token(
    socket: Path, served_name: str, kind: ModelKind, *, timeout_seconds: float = TOKEN_SECONDS
) -> ProbeResult:
    """Whether the engine answers one real token (``chat``, else plain completion), one vector or one score."""
    started = time.monotonic()
    if kind == "rerank":
        ranked = {"model": served_name, "query": "moor", "documents": ["quay"]}
        return _judge("/v1/rerank", _ask(socket, "POST", "/v1/rerank", ranked, timeout_seconds), started, _has_score)
    if kind == "embedding":
        body = {"model": served_name, "input": "moor"}
        return _judge(
            "/v1/embeddings", _ask(socket, "POST", "/v1/embeddings", body, timeout_seconds), started, _has_vector
        )
    message = {"role": "user", "content": "Ahoy"}
    chat = {"model": served_name, "messages": [message], "max_tokens": 1, "temperature": 0}
    path = "/v1/chat/completions"
    answer = _ask(socket, "POST", path, chat, timeout_seconds)
    if isinstance(answer, runner_http.Answer) and answer.status in _NO_CHAT:
        plain = {"model": served_name, "prompt": "Ahoy", "max_tokens": 1, "temperature": 0}
        path = "/v1/completions"
        answer = _ask(socket, "POST", path, plain, timeout_seconds)
    return _judge(path, answer, started, _has_token)


def _ask(
    socket: Path, method: str, path: str, body: dict[str, Any] | None, timeout_seconds: float
) -> runner_http.Answer | ProbeResult:
    try:
        return runner_http.ask(socket, method, path, body=body, seconds=timeout_seconds)
    except runner_http.NobodyListens as error:
        return ProbeResult(is_ok=False, reason="no_socket", detail=f"Nobody listens on the socket yet: {error}.")
    except runner_http.NoAnswer as error:
        return ProbeResult(is_ok=False, reason="no_answer", detail=f"{path}: {error}.")


def _judge(
    path: str, answer: runner_http.Answer | ProbeResult, started: float, holds: Callable[[Any], bool]
) -> ProbeResult:
    if isinstance(answer, ProbeResult):
        return answer
    if answer.status != 200:
        reason = "loading" if answer.status == 503 else "engine_error"
        said = answer.content[:200].decode(errors="replace")
        return ProbeResult(is_ok=False, reason=reason, detail=f"{path} answered {answer.status}: {said}")
    try:
        has_it = holds(answer.json())
    except (ValueError, KeyError, IndexError, TypeError):
        has_it = False
    if not has_it:
        return ProbeResult(is_ok=False, reason="no_token", detail=f"{path} answered without a token.")
    return ProbeResult(is_ok=True, reason="ready", seconds=time.monotonic() - started)


def _has_token(document: Any) -> bool:
    """One token was generated. Its text may be empty: a byte of a longer character, or the end of the text."""
    return bool(document["choices"]) and int(document["usage"]["completion_tokens"]) >= 1


def _has_score(document: Any) -> bool:
    return isinstance(document["results"][0]["relevance_score"], int | float)


def _has_vector(document: Any) -> bool:
    vector = document["data"][0]["embedding"]
    return isinstance(vector, list) and len(vector) > 0 and all(isinstance(part, int | float) for part in vector)
