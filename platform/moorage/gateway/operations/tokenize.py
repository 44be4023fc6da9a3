"""``/v1/tokenize`` and ``/v1/detokenize``: a text's tokens and back. Neither is billed.

The shape is vLLM's, which has ``/tokenize`` without the version; llama-server's is translated::

    {"model": "m", "prompt": "Hello", "add_special_tokens": true}
    {"model": "m", "count": 2, "max_model_len": 512, "tokens": [0, 713]}

    {"model": "m", "tokens": [0, 713]}
    {"model": "m", "prompt": "<|begin|>Hello"}
"""

from collections.abc import Mapping
from typing import Final

import msgspec

from moorage.gateway import request_body
from moorage.gateway.body import Body
from moorage.gateway.errors import EngineFailed
from moorage.gateway.operations import kinds
from moorage.gateway.operations.whole_operation import WholeOperation, content_of
from moorage.gateway.request_fields import STRIPPED, boolean, integer, list_of, members, text, wrong
from moorage.gateway.usage import NOTHING
from moorage.gateway.whole_answer import WholeAnswer
from moorage.wire.records import Route

_KINDS: Final = frozenset({"chat", "embedding", "rerank"})
_TOKENIZE: Final = members(
    {"model": text(256), "prompt": text(), "add_special_tokens": boolean},
    required=("model", "prompt"),
    stripped=STRIPPED,
)
_DETOKENIZE: Final = members(
    {"model": text(256), "tokens": list_of(integer(0, 2**31 - 1), 0, 2**20)},
    required=("model", "tokens"),
    stripped=STRIPPED,
)


class _Tokens(msgspec.Struct, frozen=True, gc=False):
    tokens: list[int]


class _Text(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None  # llama-server
    prompt: str | None = None  # vLLM


_tokens: Final = msgspec.json.Decoder(_Tokens)
_texts: Final = msgspec.json.Decoder(_Text)


class Tokenize(WholeOperation):
    """An Operation: the tokens of a prompt, as ``/v1/completions`` would read it."""

    path = "/v1/tokenize"
    engine_paths: Mapping[str, str] = {"llamacpp": "/tokenize", "vllm": "/tokenize"}
    kinds = _KINDS

    def parse(self, content: bytes) -> Body:
        """The checked body. Raises BadRequest or BadField."""
        body = _TOKENIZE(request_body.decode(content), "")
        return Body(path=self.path, model=body["model"], members=body, is_stream=False, wants_usage=False)

    def for_engine(self, body: Body, route: Route, *, cache_salt: str) -> bytes:  # noqa: ARG002 - nothing is cached
        """The prompt in the engine's words."""
        kinds.check(self.path, self.kinds, route)
        prompt, is_marked = body.members["prompt"], body.members.get("add_special_tokens", True)
        if route.engine == "llamacpp":
            return msgspec.json.encode({"content": prompt, "add_special": is_marked, "parse_special": True})
        return msgspec.json.encode({"model": route.served_name, "prompt": prompt, "add_special_tokens": is_marked})

    def whole(self, status: int, content: bytes, body: Body, route: Route) -> WholeAnswer:
        """The tokens and their number. Raises EngineRefused, EngineBusy or EngineFailed."""
        try:
            tokens = _tokens.decode(content_of(status, content, body, route)).tokens
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed from None
        answer = {
            "model": body.model,
            "count": len(tokens),
            "max_model_len": route.context_size,
            "tokens": tokens,
        }
        return WholeAnswer(content=msgspec.json.encode(answer), settled=NOTHING)


class Detokenize(WholeOperation):
    """An Operation: the text of tokens."""

    path = "/v1/detokenize"
    engine_paths: Mapping[str, str] = {"llamacpp": "/detokenize", "vllm": "/detokenize"}
    kinds = _KINDS

    def parse(self, content: bytes) -> Body:
        """The checked body. Raises BadRequest or BadField."""
        body = _DETOKENIZE(request_body.decode(content), "")
        return Body(path=self.path, model=body["model"], members=body, is_stream=False, wants_usage=False)

    def for_engine(self, body: Body, route: Route, *, cache_salt: str) -> bytes:  # noqa: ARG002 - nothing is cached
        """The tokens."""
        kinds.check(self.path, self.kinds, route)
        return msgspec.json.encode({"model": route.served_name, "tokens": body.members["tokens"]})

    def whole(self, status: int, content: bytes, body: Body, route: Route) -> WholeAnswer:
        """The text. Raises BadField, EngineRefused, EngineBusy or EngineFailed."""
        if status == 500 and b"range_check" in content:
            # llama-server looks a token up without asking whether there is one; vLLM leaves it out.
            raise wrong("tokens", f"has a token that {route.served_name} does not know")
        try:
            said = _texts.decode(content_of(status, content, body, route))
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed from None
        prompt = said.content if said.content is not None else said.prompt
        if prompt is None:
            raise EngineFailed
        return WholeAnswer(content=msgspec.json.encode({"model": body.model, "prompt": prompt}), settled=NOTHING)
