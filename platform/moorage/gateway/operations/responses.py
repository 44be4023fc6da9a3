"""OpenAI's ``/v1/responses`` without its memory: a chat completion, told in output items.

Events and their order: https://platform.openai.com/docs/api-reference/responses-streaming. ``store`` is always false
in the answer, whatever was asked: nothing of it can be fetched again.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from moorage.gateway import errors, request_body
from moorage.gateway.body import Body
from moorage.gateway.operation import worst_answer
from moorage.gateway.operations import chat_answer, kinds, responses_request
from moorage.gateway.operations.chat_body import TranslatedBody, ask
from moorage.gateway.operations.chat_stream import ChatStream
from moorage.gateway.operations.response_items import Items, add_message
from moorage.gateway.request_fields import wrong
from moorage.gateway.usage import Meter
from moorage.gateway.whole_answer import WholeAnswer
from moorage.kernel.errors import PlatformError
from moorage.wire.records import Route

#: What an answer repeats of its request, and what stands there when the request said nothing.
_ECHOED: Final[dict[str, Any]] = {
    "instructions": None,
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_p": None,
}


class Responses:
    """An Operation."""

    path = "/v1/responses"
    engine_paths: Mapping[str, str] = {"llamacpp": "/v1/chat/completions", "vllm": "/v1/chat/completions"}
    kinds = frozenset({"chat"})
    is_stream_possible = True

    def serves(self, route: Route) -> bool:
        """Whether it answers messages."""
        return kinds.can_chat(route)

    def parse(self, content: bytes) -> Body:
        """The checked body. Raises BadRequest or BadField."""
        body = responses_request.RESPONSES(request_body.decode(content), "")
        is_stream = body.pop("stream", False)
        if "stream_options" in body and not is_stream:
            raise wrong("stream_options", "is only allowed when stream is true")
        chat = responses_request.to_chat(body)
        echo = _ECHOED | {name: body[name] for name in _ECHOED if name in body}
        return TranslatedBody.of(self.path, body["model"], chat, is_stream=is_stream, echo=echo)

    def for_engine(self, body: Body, route: Route, *, cache_salt: str) -> bytes:
        """A chat completion. Raises BadField."""
        kinds.check_chat(self.path, body.members, route)
        return ask(body, body.members, route, limit_name="max_output_tokens", cache_salt=cache_salt)

    def worst(self, body: Body, route: Route, size: int) -> tuple[int, int]:
        """The whole answer."""
        return worst_answer(body, route, size)

    def stream(self, meter: Meter, body: Body) -> ChatStream:
        """A filter that turns chat chunks into response events."""
        assert isinstance(body, TranslatedBody)
        return ChatStream(meter, Items(body.model, body.echo))

    def whole(self, status: int, content: bytes, body: Body, route: Route) -> WholeAnswer:
        """A response. Raises EngineRefused, EngineBusy or EngineFailed."""
        assert isinstance(body, TranslatedBody)
        answer = chat_answer.read(status, content, body, route)
        items = Items(body.model, body.echo)
        add_message(items, answer)
        return WholeAnswer(content=msgspec.json.encode(items.response(answer.ending)), settled=answer.settled)

    def error(self, error: PlatformError, request_id: str) -> bytes:
        """OpenAI's envelope."""
        return errors.body(error, request_id)

    def error_event(self, error: PlatformError, request_id: str) -> bytes:
        """OpenAI's envelope, which its clients raise from a stream of any kind.

        The API's own ``error`` event is a value among others there: a broken answer would look like a short one.
        """
        return b"event: error\n" + errors.event(error, request_id)
