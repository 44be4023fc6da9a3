"""From the bytes a client sent to the bytes an engine gets: decoded once, checked, and written anew.

Nothing is forwarded. The engine's body is built from checked members alone, so the two cannot read it differently.
"""

import json
from typing import Any

import msgspec

from moorage.gateway import json_faults, plain_body
from moorage.gateway.body import Body, PlainBody
from moorage.gateway.errors import BadRequest
from moorage.gateway.request_fields import BODIES, tree, wrong
from moorage.wire.records import Route


def parse(path: str, content: bytes) -> Body:
    """The checked body of a request to ``path``. Raises BadRequest (not JSON) or BadField (with the path)."""
    plain = plain_body.members_of(path, content)
    if plain is not None:
        options = plain.get("stream_options")
        return PlainBody(
            choices=plain.get("n", 1),
            output_limit=plain.get("max_completion_tokens", plain.get("max_tokens")),
            path=path,
            model=plain["model"],
            members=plain,
            is_stream=plain.get("stream", False),
            wants_usage=options is not None and options.get("include_usage", False),
            plain=content,
        )
    members: dict[str, Any] = BODIES[path](decode(content), "")
    is_stream = members.pop("stream", False)
    options = members.pop("stream_options", None)
    if options is not None and not is_stream:
        raise wrong("stream_options", "is only allowed when stream is true")
    if path == "/v1/embeddings" and is_stream:
        raise wrong("stream", "embeddings are not streamed")
    members.pop("modalities", None)
    return Body(
        path=path,
        model=members["model"],
        members=members,
        is_stream=is_stream,
        wants_usage=bool(options and options.get("include_usage")),
    )


def decode(content: bytes) -> Any:
    """Strict JSON: UTF-8 without a mark, no duplicate members, no NaN, bounded depth. Raises BadRequest."""
    try:
        return json.loads(
            content.decode("utf-8"),
            object_pairs_hook=_object,
            parse_constant=_refuse_constant,
        )
    except (RecursionError, ValueError, _Refused):
        # The parser's own message would repeat a piece of the body.
        raise json_faults.find(content) from None


def for_engine(body: Body, route: Route, *, cache_salt: str) -> bytes:
    """The body that the route's engine gets. Raises BadField where the model cannot do what is asked."""
    limit = body.output_limit
    if limit is not None and route.context_size and limit > route.context_size:
        name = "max_completion_tokens" if "max_completion_tokens" in body.members else "max_tokens"
        raise wrong(name, f"must be at most {route.context_size}, the context size of {route.served_name}")
    if body.plain and body.model == route.served_name:
        forced = _forced(body, route, cache_salt)
        if forced is not None:
            return body.plain[:-1] + forced if forced else body.plain
    members = {**body.members, "model": route.served_name}
    if body.is_stream:
        members["stream"] = True
        members["stream_options"] = {"include_usage": True}
    if route.engine == "vllm":
        members["cache_salt"] = cache_salt
        # Counted by choice, the running figures of several cannot be told apart.
        if body.is_stream and body.choices == 1 and body.inputs == 1:
            members["stream_options"]["continuous_usage_stats"] = True
    elif body.is_stream:
        # llama-server's running figure for the prompt; its frames count the answer.
        members["return_progress"] = True
    try:
        return msgspec.json.encode(members)
    except (ValueError, OverflowError):
        tree(members, "body")
        raise BadRequest("The body cannot be sent on as JSON.") from None


def _forced(body: Body, route: Route, cache_salt: str) -> bytes | None:
    """Our members as text that ends a plain body; None when one of them is in it already."""
    is_stream = body.is_stream
    if route.engine != "vllm":
        if not is_stream:
            return b""
        if "stream_options" in body.members:
            return b',"return_progress":true}' if body.wants_usage else None
        return b',"stream_options":{"include_usage":true},"return_progress":true}'
    salt = b',"cache_salt":"%b"}' % cache_salt.encode()
    if not is_stream:
        return salt
    return None


class _Refused(Exception):
    """A member twice, or a number that is none."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise _Refused
    return members


def _refuse_constant(name: str) -> Any:
    raise _Refused(name)
