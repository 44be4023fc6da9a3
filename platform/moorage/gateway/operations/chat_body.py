"""A body of another API that is a chat completion at heart: how it is kept, and how the engine is asked."""

from typing import Any

from moorage.gateway import request_body
from moorage.gateway.body import Body
from moorage.gateway.request_fields import wrong
from moorage.wire.records import Route

_CHAT = "/v1/chat/completions"


class TranslatedBody(Body, frozen=True, kw_only=True, gc=False):
    """A Body whose ``members`` are those of a chat completion. ``echo`` is what the answer repeats of the request."""

    echo: dict[str, Any]

    @classmethod
    def of(
        cls, path: str, model: str, chat: dict[str, Any], *, is_stream: bool, echo: dict[str, Any] | None = None
    ) -> "TranslatedBody":
        """The body of a request to ``path`` that asks for ``chat``."""
        return cls(path=path, model=model, members=chat, is_stream=is_stream, wants_usage=True, echo=echo or {})


def ask(body: Body, chat: dict[str, Any], route: Route, *, limit_name: str, cache_salt: str) -> bytes:
    """The engine's body for ``chat``. ``limit_name`` is what ``body`` calls max_tokens. Raises BadField."""
    limit = body.output_limit
    if limit is not None and route.context_size and limit > route.context_size:
        raise wrong(limit_name, f"must be at most {route.context_size}, the context size of {route.served_name}")
    asked = Body(path=_CHAT, model=body.model, members=chat, is_stream=body.is_stream, wants_usage=True)
    return request_body.for_engine(asked, route, cache_salt=cache_salt)
