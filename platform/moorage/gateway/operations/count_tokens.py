"""Anthropic's ``/v1/messages/count_tokens``: how long the prompt of a message would be. Counting is not billed.

The conversation that is counted is the one ``/v1/messages`` would ask, so the figure is the one it would bill.
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from moorage.gateway import request_body
from moorage.gateway.body import Body
from moorage.gateway.errors import EngineFailed
from moorage.gateway.operations import anthropic_errors, kinds, messages_request
from moorage.gateway.operations.whole_operation import WholeOperation, content_of
from moorage.gateway.usage import NOTHING
from moorage.gateway.whole_answer import WholeAnswer
from moorage.kernel.errors import PlatformError
from moorage.wire.records import Route

#: What shapes a prompt. The rest of a chat completion is about the answer.
_SHAPING: Final[tuple[str, ...]] = ("messages", "tools")


class _Count(msgspec.Struct, frozen=True, gc=False):
    input_tokens: int | None = None  # llama-server
    count: int | None = None  # vLLM


_counts: Final = msgspec.json.Decoder(_Count)


class CountTokens(WholeOperation):
    """An Operation. Each engine counts at a path of its own."""

    path = "/v1/messages/count_tokens"
    engine_paths: Mapping[str, str] = {"llamacpp": "/v1/chat/completions/input_tokens", "vllm": "/tokenize"}
    kinds = frozenset({"chat"})

    def serves(self, route: Route) -> bool:
        """Whether it answers messages."""
        return kinds.can_chat(route)

    def parse(self, content: bytes) -> Body:
        """The checked body. Raises BadRequest or BadField."""
        body = messages_request.COUNTED(request_body.decode(content), "")
        chat = messages_request.to_chat(body)
        members = {name: chat[name] for name in _SHAPING if name in chat}
        return Body(path=self.path, model=body["model"], members=members, is_stream=False, wants_usage=False)

    def for_engine(self, body: Body, route: Route, *, cache_salt: str) -> bytes:  # noqa: ARG002 - nothing is cached
        """The conversation, and nothing of the answer."""
        kinds.check_chat(self.path, {}, route)
        return msgspec.json.encode({**body.members, "model": route.served_name})

    def whole(self, status: int, content: bytes, body: Body, route: Route) -> WholeAnswer:
        """``{"input_tokens": …}``. Raises EngineRefused, EngineBusy or EngineFailed."""
        try:
            said = _counts.decode(content_of(status, content, body, route))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed from None
        count = said.input_tokens if said.input_tokens is not None else said.count
        if count is None or count < 0:
            raise EngineFailed
        return WholeAnswer(content=msgspec.json.encode({"input_tokens": count}), settled=NOTHING)

    def error(self, error: PlatformError, request_id: str) -> bytes:
        """Anthropic's error object."""
        return anthropic_errors.body(error, request_id)
