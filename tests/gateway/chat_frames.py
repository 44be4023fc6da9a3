"""Chat completion streams as the two engines write them, frame by frame."""

import json
from typing import Any

ENGINES = ("llamacpp", "vllm")


def stream(engine: str, *deltas: dict[str, Any], finish: str = "stop", stop: str | None = None) -> bytes:
    """A whole stream: 5 tokens of prompt, 4 of them cached, one token a delta."""
    frames = _llamacpp(deltas, finish, stop) if engine == "llamacpp" else _vllm(deltas, finish, stop)
    return b"".join(b"data: " + json.dumps(each).encode() + b"\n\n" for each in frames) + b"data: [DONE]\n\n"


def whole(engine: str, message: dict[str, Any], *, tokens: int, finish: str = "stop", stop: str | None = None) -> bytes:
    """An answer in one piece."""
    choice = {"index": 0, "finish_reason": finish, "message": {"role": "assistant", "content": None, **message}}
    answer = {"id": "chatcmpl-a1", "object": "chat.completion", "created": 7, "model": "harbour/pilot"}
    if engine == "vllm":
        choice["stop_reason"] = stop
    elif stop is not None:
        answer["__verbose"] = {"stopping_word": stop}
    if engine == "llamacpp":
        answer["timings"] = {"predicted_n": tokens}
    return json.dumps({**answer, "choices": [choice], "usage": usage(tokens)}).encode()


def usage(tokens: int) -> dict[str, Any]:
    return {
        "prompt_tokens": 5,
        "completion_tokens": tokens,
        "total_tokens": 5 + tokens,
        "prompt_tokens_details": {"cached_tokens": 4},
    }


def _chunk(delta: dict[str, Any] | None, finish: str | None = None, **more: Any) -> dict[str, Any]:
    choices = [] if delta is None else [{"index": 0, "finish_reason": finish, "delta": delta}]
    return {"id": "chatcmpl-a1", "object": "chat.completion.chunk", "created": 7, "choices": choices, **more}


def _llamacpp(deltas: tuple[dict[str, Any], ...], finish: str, stop: str | None) -> list[dict[str, Any]]:
    opening = {"role": "assistant", "content": None}
    progress = {"total": 5, "cache": 4, "processed": 5, "time_ms": 0}
    verbose = {} if stop is None else {"__verbose": {"stopping_word": stop}}
    return [
        _chunk(opening, prompt_progress=progress),
        _chunk(opening),
        *[_chunk(delta) for delta in deltas],
        _chunk({}, finish, **verbose),
        _chunk(None, usage=usage(len(deltas)), timings={"predicted_n": len(deltas)}),
    ]


def _vllm(deltas: tuple[dict[str, Any], ...], finish: str, stop: str | None) -> list[dict[str, Any]]:
    def running(tokens: int) -> dict[str, Any]:
        return {"usage": {"prompt_tokens": 5, "total_tokens": 5 + tokens, "completion_tokens": tokens}}

    frames = [_chunk({"role": "assistant", "content": ""}, **running(0))]
    frames += [_chunk(delta, **running(number)) for number, delta in enumerate(deltas, start=1)]
    last = _chunk({"content": ""}, finish, **running(len(deltas)))
    last["choices"][0]["stop_reason"] = stop
    return [*frames, last, _chunk(None, usage=usage(len(deltas)))]
