"""The API surfaces: one module each, found by path in :data:`OPERATIONS`."""

from typing import Final

from moorage.gateway.operation import Operation
from moorage.gateway.operations.count_tokens import CountTokens
from moorage.gateway.operations.messages import Messages
from moorage.gateway.operations.openai import OpenAI
from moorage.gateway.operations.rerank import Rerank
from moorage.gateway.operations.responses import Responses
from moorage.gateway.operations.tokenize import Detokenize, Tokenize

_ALL: Final[tuple[Operation, ...]] = (
    OpenAI("/v1/chat/completions", kinds=frozenset({"chat"})),
    OpenAI("/v1/completions", kinds=frozenset({"chat"})),
    OpenAI("/v1/embeddings", kinds=frozenset({"embedding"}), is_stream_possible=False),
    Responses(),
    Messages(),
    CountTokens(),
    Rerank(),
    Tokenize(),
    Detokenize(),
)

#: Every path that is billed.
OPERATIONS: Final[dict[str, Operation]] = {operation.path: operation for operation in _ALL}
