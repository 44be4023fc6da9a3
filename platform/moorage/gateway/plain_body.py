"""The body that nearly every application sends, checked by compiled code: what it takes is what the tables take.

It takes a body only when three things are true: every member is one of a few common ones with a value in its bounds
(``plain_shapes``), no object has a member twice, and the text is the one form that our own encoder writes. The last two
are one comparison: decoded and encoded again, it must be the same bytes. So the text itself can go to the engine, with
our members appended. Everything else gets ``None`` here and is judged by ``request_body``, in sentences.
"""

from typing import Any, Final

import msgspec

from moorage.gateway.plain_shapes import SHAPES

_decode: Final = msgspec.json.Decoder(dict[str, Any]).decode
_encode: Final = msgspec.json.Encoder().encode


def members_of(path: str, content: bytes) -> dict[str, Any] | None:
    """The members of a plain body to ``path``, or None when it is not plain."""
    shape = SHAPES.get(path)
    if shape is None:
        return None
    try:
        checked = shape.decode(content)
        members = _decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if _encode(members) != content:
        return None
    if "stream_options" in members and not checked.stream:
        return None
    return members
