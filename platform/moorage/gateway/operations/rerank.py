"""``/v1/rerank``: documents in the order of their relevance to a query, in the shape of Jina and Cohere.

    {"model": "m", "query": "sea", "documents": ["a", {"text": "b"}], "top_n": 1, "return_documents": true}
    {"model": "m", "results": [{"index": 1, "relevance_score": 0.7, "document": {"text": "b"}}], "usage": {…}}

Scores compare within one answer alone: llama-server's are logits, vLLM's lie between -1 and 1 or 0 and 1.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from moorage.gateway import request_body, whole_answer
from moorage.gateway.body import Body
from moorage.gateway.errors import EngineFailed
from moorage.gateway.operation import worst_reading
from moorage.gateway.operations import kinds
from moorage.gateway.operations.whole_operation import WholeOperation
from moorage.gateway.request_fields import STRIPPED, Check, boolean, either, integer, list_of, members, text, wrong
from moorage.gateway.whole_answer import WholeAnswer
from moorage.wire.records import Route

DOCUMENTS_MAX: Final = 1000

_DOCUMENT: Final[Check] = either(
    "must be a string or an object with text",
    {str: text(), dict: members({"text": text()}, required=("text",))},
)
_RERANK: Final = members(
    {
        "model": text(256),
        "query": text(),
        "documents": list_of(_DOCUMENT, 1, DOCUMENTS_MAX),
        "top_n": integer(1, 2**53),
        "return_documents": boolean,
    },
    required=("model", "query", "documents"),
    stripped=STRIPPED,
)


class RerankBody(Body, frozen=True, kw_only=True, gc=False):
    """A Body whose prompts are its documents: the query is read again with each."""

    @property
    def inputs(self) -> int:
        """Documents in this request."""
        return len(self.members["documents"])


class _Result(msgspec.Struct, frozen=True, gc=False):
    index: int
    relevance_score: float


class _Ranking(msgspec.Struct, frozen=True, gc=False):
    results: list[_Result]


_rankings: Final = msgspec.json.Decoder(_Ranking)


class Rerank(WholeOperation):
    """An Operation. vLLM ranks with an embedding model too, by the angle between query and document."""

    path = "/v1/rerank"
    engine_paths: Mapping[str, str] = {"llamacpp": "/v1/rerank", "vllm": "/v1/rerank"}
    kinds = frozenset({"rerank", "embedding"})

    def serves(self, route: Route) -> bool:
        """Whether it ranks."""
        return route.kind == "rerank" or (route.kind == "embedding" and route.engine == "vllm")

    def parse(self, content: bytes) -> Body:
        """The checked body. Raises BadRequest or BadField."""
        body = _RERANK(request_body.decode(content), "")
        body["documents"] = [each if type(each) is str else each["text"] for each in body["documents"]]
        return RerankBody(path=self.path, model=body["model"], members=body, is_stream=False, wants_usage=False)

    def for_engine(self, body: Body, route: Route, *, cache_salt: str) -> bytes:
        """Query and documents. Raises BadField."""
        kinds.check(self.path, self.kinds, route)
        if route.kind != "rerank" and route.engine == "llamacpp":
            raise wrong(
                "model",
                f"{route.served_name} makes embeddings; llama-server ranks with a model deployed with --reranking",
            )
        asked = {"model": route.served_name, "query": body.members["query"], "documents": body.members["documents"]}
        if route.engine == "vllm":
            asked["cache_salt"] = cache_salt
        return msgspec.json.encode(asked)

    def worst(self, body: Body, route: Route, size: int) -> tuple[int, int]:
        """The query is read again with each document."""
        return worst_reading(body, route, size * body.inputs)

    def whole(self, status: int, content: bytes, body: Body, route: Route) -> WholeAnswer:
        """The ranking, best first. Raises EngineRefused, EngineBusy or EngineFailed."""
        answer = whole_answer.read(status, content, body, route)
        try:
            results = _rankings.decode(answer.content).results
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise EngineFailed from None
        documents = body.members["documents"]
        if sorted(result.index for result in results) != list(range(len(documents))):
            raise EngineFailed
        best = sorted(results, key=lambda result: (-result.relevance_score, result.index))
        tokens = answer.settled.input_tokens
        ranking = {
            "model": body.model,
            "object": "list",
            "results": [_shown(result, body.members) for result in best[: body.members.get("top_n")]],
            "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        }
        return WholeAnswer(content=msgspec.json.encode(ranking), settled=answer.settled)


def _shown(result: _Result, asked: dict[str, Any]) -> dict[str, Any]:
    shown: dict[str, Any] = {"index": result.index, "relevance_score": result.relevance_score}
    if asked.get("return_documents"):
        shown["document"] = {"text": asked["documents"][result.index]}
    return shown
