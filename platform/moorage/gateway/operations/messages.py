"""Anthropic's ``/v1/messages``: a chat completion, told in content blocks.

Events and their order: https://docs.anthropic.com/en/api/messages-streaming. Usage is the billed figure; tokens that
came from the engine's prefix cache are ``cache_read_input_tokens`` and not part of ``input_tokens``, as there.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from moorage.gateway import request_body
from moorage.gateway.body import Body
from moorage.gateway.operation import worst_answer
from moorage.gateway.operations import anthropic_errors, chat_answer, kinds, messages_request
from moorage.gateway.operations.chat_answer import ChatAnswer
from moorage.gateway.operations.chat_body import TranslatedBody, ask
from moorage.gateway.operations.chat_stream import ChatStream, Ending, Opening, encode, event
from moorage.gateway.request_fields import wrong
from moorage.gateway.settled import Settled
from moorage.gateway.usage import Meter
from moorage.gateway.whole_answer import WholeAnswer
from moorage.kernel.errors import PlatformError
from moorage.wire.records import Route

_STOP_REASONS: Final = {"length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}
_DELTA: Final = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%%d,"delta":%b}\n\n'
_TEXT_DELTA: Final = _DELTA % b'{"type":"text_delta","text":%b}'
_THINKING_DELTA: Final = _DELTA % b'{"type":"thinking_delta","thinking":%b}'
_ARGUMENTS_DELTA: Final = _DELTA % b'{"type":"input_json_delta","partial_json":%b}'
_members: Final = msgspec.json.Decoder(dict[str, Any])


class Messages:
    """An Operation."""

    path = "/v1/messages"
    engine_paths: Mapping[str, str] = {"llamacpp": "/v1/chat/completions", "vllm": "/v1/chat/completions"}
    kinds = frozenset({"chat"})
    is_stream_possible = True

    def serves(self, route: Route) -> bool:
        """Whether it answers messages."""
        return kinds.can_chat(route)

    def parse(self, content: bytes) -> Body:
        """The checked body. Raises BadRequest or BadField."""
        body = messages_request.MESSAGES(request_body.decode(content), "")
        is_stream = body.pop("stream", False)
        return TranslatedBody.of(self.path, body["model"], messages_request.to_chat(body), is_stream=is_stream)

    def for_engine(self, body: Body, route: Route, *, cache_salt: str) -> bytes:
        """A chat completion. Raises BadField."""
        kinds.check_chat(self.path, body.members, route)
        chat = dict(body.members)
        if route.engine == "llamacpp":
            if "stop" in chat:
                # Without it the engine does not tell a stop sequence from the end of a turn.
                chat |= {"verbose": True, "response_fields": ["stopping_word"]}
        elif "thinking_budget_tokens" in chat:
            raise wrong(
                "thinking.budget_tokens",
                f"{route.served_name} runs on vLLM, which keeps no budget; use the type adaptive and max_tokens",
            )
        return ask(body, chat, route, limit_name="max_tokens", cache_salt=cache_salt)

    def worst(self, body: Body, route: Route, size: int) -> tuple[int, int]:
        """The whole answer."""
        return worst_answer(body, route, size)

    def stream(self, meter: Meter, body: Body) -> ChatStream:
        """A filter that turns chat chunks into Anthropic's events."""
        return ChatStream(meter, Blocks(body.model))

    def whole(self, status: int, content: bytes, body: Body, route: Route) -> WholeAnswer:
        """A message. Raises EngineRefused, EngineBusy or EngineFailed."""
        answer = chat_answer.read(status, content, body, route)
        return WholeAnswer(content=msgspec.json.encode(_message(answer, body.model)), settled=answer.settled)

    def error(self, error: PlatformError, request_id: str) -> bytes:
        """Anthropic's error object."""
        return anthropic_errors.body(error, request_id)

    def error_event(self, error: PlatformError, request_id: str) -> bytes:
        """The same as an event."""
        return anthropic_errors.event(error, request_id)


class Blocks:
    """A Teller: thinking, text and tool calls as content blocks, one open at a time."""

    __slots__ = ("_call", "_has_called", "_index", "_kind", "_model")

    def __init__(self, model: str) -> None:
        self._model = model
        self._index = -1
        self._kind = ""  # of the block that is open
        self._call = -1
        self._has_called = False

    def begins(self, opening: Opening) -> bytes:
        """``message_start``."""
        cached = min(opening.cached_tokens, opening.input_tokens)
        settled = Settled(input_tokens=opening.input_tokens, cached_tokens=cached)
        message = _envelope(opening.id, self._model) | {"content": [], "usage": usage(settled)}
        return event({"type": "message_start", "message": message})

    def thinks(self, text: str) -> bytes:
        """A piece of a thinking block."""
        block = {"thinking": "", "signature": ""}
        told = b"" if self._kind == "thinking" else self._close() + self._open("thinking", block)
        return told + _THINKING_DELTA % (self._index, encode(text))

    def says(self, text: str) -> bytes:
        """A piece of a text block."""
        told = b"" if self._kind == "text" else self._close() + self._open("text", {"text": ""})
        return told + _TEXT_DELTA % (self._index, encode(text))

    def calls(self, index: int, call_id: str, name: str, arguments: str) -> bytes:
        """A piece of a tool_use block."""
        told = b""
        if self._kind != "tool_use" or index != self._call:
            told = self._close()
            self._call, self._has_called = index, True
            block = {"id": call_id or f"toolu_{index}", "name": name, "input": {}}
            told += self._open("tool_use", block)
        if arguments:
            told += _ARGUMENTS_DELTA % (self._index, encode(arguments))
        return told

    def ends(self, ending: Ending) -> bytes:
        """``content_block_stop``, ``message_delta`` and ``message_stop``."""
        reason = stop_reason(ending, has_called=self._has_called)
        delta = {"stop_reason": reason, "stop_sequence": ending.stop_sequence if reason == "stop_sequence" else None}
        return (
            self._close()
            + event({"type": "message_delta", "delta": delta, "usage": usage(ending.settled)})
            + event({"type": "message_stop"})
        )

    def _open(self, kind: str, block: dict[str, Any]) -> bytes:
        self._kind = kind
        self._index += 1
        return event({"type": "content_block_start", "index": self._index, "content_block": {"type": kind, **block}})

    def _close(self) -> bytes:
        if not self._kind:
            return b""
        self._kind = ""
        return event({"type": "content_block_stop", "index": self._index})


def stop_reason(ending: Ending, *, has_called: bool) -> str:
    """Why it ended, in Anthropic's words. A forced call ends with ``stop`` in chat completions."""
    if ending.reason in _STOP_REASONS:
        return _STOP_REASONS[ending.reason]
    if ending.stop_sequence is not None:
        return "stop_sequence"
    return "tool_use" if has_called else "end_turn"


def usage(settled: Settled) -> dict[str, int]:
    """Anthropic's usage object."""
    return {
        "input_tokens": settled.input_tokens - settled.cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": settled.cached_tokens,
        "output_tokens": settled.output_tokens,
    }


def _envelope(answer_id: str, model: str) -> dict[str, Any]:
    return {
        "id": f"msg_{answer_id}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "stop_reason": None,
        "stop_sequence": None,
    }


def _message(answer: ChatAnswer, model: str) -> dict[str, Any]:
    said = answer.message
    content: list[dict[str, Any]] = []
    if said.thought:
        content.append({"type": "thinking", "thinking": said.thought, "signature": ""})
    if said.content:
        content.append({"type": "text", "text": said.content})
    calls = said.tool_calls or []
    for index, call in enumerate(calls):
        content.append(
            {
                "type": "tool_use",
                "id": call.id or f"toolu_{index}",
                "name": call.function.name,
                "input": _arguments(call.function.arguments),
            }
        )
    reason = stop_reason(answer.ending, has_called=bool(calls))
    return _envelope(answer.id, model) | {
        "content": content,
        "stop_reason": reason,
        "stop_sequence": answer.ending.stop_sequence if reason == "stop_sequence" else None,
        "usage": usage(answer.settled),
    }


def _arguments(text: str | None) -> dict[str, Any]:
    """The arguments as an object; a model may have been cut off while it wrote them."""
    try:
        return _members.decode(text or "{}")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
