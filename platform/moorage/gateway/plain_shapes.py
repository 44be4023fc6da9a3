"""The shapes of plain bodies: common members alone, with values in their bounds. What reads them is ``plain_body``."""

from typing import Annotated, Any, Final, Literal

import msgspec

from moorage.gateway.request_fields import CHOICES_MAX, MESSAGES_MAX

_Name = Annotated[str, msgspec.Meta(max_length=256)]
_Limit = Annotated[int, msgspec.Meta(ge=1, le=2**53)]
_Penalty = Annotated[float, msgspec.Meta(ge=-2, le=2)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]


class _PlainMessage(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    role: Literal["system", "developer", "user", "assistant"]
    content: str


class _IncludeUsage(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    include_usage: bool = False


class _Sampling(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    model: _Name
    stream: bool = False
    stream_options: _IncludeUsage | msgspec.UnsetType = msgspec.UNSET
    max_tokens: _Limit | msgspec.UnsetType = msgspec.UNSET
    temperature: Annotated[float, msgspec.Meta(ge=0, le=2)] | msgspec.UnsetType = msgspec.UNSET
    top_p: _Share | msgspec.UnsetType = msgspec.UNSET
    min_p: _Share | msgspec.UnsetType = msgspec.UNSET
    top_k: Annotated[int, msgspec.Meta(ge=-1, le=1_000_000)] | msgspec.UnsetType = msgspec.UNSET
    n: Annotated[int, msgspec.Meta(ge=1, le=CHOICES_MAX)] | msgspec.UnsetType = msgspec.UNSET
    presence_penalty: _Penalty | msgspec.UnsetType = msgspec.UNSET
    frequency_penalty: _Penalty | msgspec.UnsetType = msgspec.UNSET
    seed: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | msgspec.UnsetType = msgspec.UNSET
    stop: Annotated[str, msgspec.Meta(max_length=1024)] | msgspec.UnsetType = msgspec.UNSET


_Messages = Annotated[list[_PlainMessage], msgspec.Meta(min_length=1, max_length=MESSAGES_MAX)]


class _PlainChat(_Sampling, forbid_unknown_fields=True, frozen=True, gc=False, kw_only=True):
    messages: _Messages
    max_completion_tokens: _Limit | msgspec.UnsetType = msgspec.UNSET


class _PlainCompletion(_Sampling, forbid_unknown_fields=True, frozen=True, gc=False, kw_only=True):
    prompt: str


class _PlainEmbedding(msgspec.Struct, forbid_unknown_fields=True, frozen=True, gc=False):
    model: _Name
    input: str
    encoding_format: Literal["float", "base64"] | msgspec.UnsetType = msgspec.UNSET


#: By the path that they are sent to.
SHAPES: Final[dict[str, msgspec.json.Decoder[Any]]] = {
    "/v1/chat/completions": msgspec.json.Decoder(_PlainChat),
    "/v1/completions": msgspec.json.Decoder(_PlainCompletion),
    "/v1/embeddings": msgspec.json.Decoder(_PlainEmbedding),
}
