"""Ranking and tokens: one shape for two engines. Pure."""

import json
from typing import Any

import pytest

from moorage.gateway.errors import BadField, EngineFailed
from moorage.gateway.operations import OPERATIONS
from moorage.gateway.operations.rerank import Rerank
from moorage.gateway.operations.tokenize import Detokenize, Tokenize
from moorage.wire.records import Route
from tests.gateway.chat_frames import ENGINES
from tests.gateway.test_request_body import with_engine

ASKED: dict[str, Any] = {"model": "harbour/pilot", "query": "sea", "documents": ["a", {"text": "b"}, "c"]}
#: As each engine wrote it for three documents.
RANKED = {
    "llamacpp": {
        "model": "harbour/pilot",
        "object": "list",
        "usage": {"prompt_tokens": 13, "total_tokens": 13},
        "results": [
            {"index": 1, "relevance_score": -0.3},
            {"index": 0, "relevance_score": -1.7},
            {"index": 2, "relevance_score": -9.0},
        ],
    },
    "vllm": {
        "id": "score-1",
        "model": "harbour/pilot",
        "usage": {"prompt_tokens": 12, "total_tokens": 12},
        "results": [
            {"index": 0, "document": {"text": "a", "multi_modal": None}, "relevance_score": 0.1},
            {"index": 2, "document": {"text": "c", "multi_modal": None}, "relevance_score": 0.3},
            {"index": 1, "document": {"text": "b", "multi_modal": None}, "relevance_score": 0.2},
        ],
    },
}


def ranker(engine: str) -> Route:
    return with_engine(engine, kind="rerank")


@pytest.mark.parametrize("engine", ENGINES)
def test_documents_come_best_first_and_their_tokens_are_billed(engine: str) -> None:
    operation = Rerank()
    body = operation.parse(json.dumps({**ASKED, "top_n": 2, "return_documents": True, "cache_salt": "x"}).encode())

    sent = json.loads(operation.for_engine(body, ranker(engine), cache_salt="salt"))
    answer = operation.whole(200, json.dumps(RANKED[engine]).encode(), body, ranker(engine))

    salt = {"cache_salt": "salt"} if engine == "vllm" else {}
    assert sent == {"model": "harbour/pilot", "query": "sea", "documents": ["a", "b", "c"], **salt}
    ranking = json.loads(answer.content)
    best = {"llamacpp": [1, 0], "vllm": [2, 1]}[engine]
    assert [result["index"] for result in ranking["results"]] == best
    assert [result["document"] for result in ranking["results"]] == [{"text": "abc"[index]} for index in best]
    tokens = RANKED[engine]["usage"]["prompt_tokens"]  # type: ignore[index]
    assert ranking["usage"] == {"prompt_tokens": tokens, "total_tokens": tokens}
    assert (answer.settled.input_tokens, answer.settled.output_tokens) == (tokens, 0)
    assert answer.settled.source == "engine"


def test_the_query_is_read_with_each_document() -> None:
    assert Rerank().parse(json.dumps(ASKED).encode()).inputs == 3


def test_a_ranking_that_is_not_one_is_an_engines_failure() -> None:
    body = Rerank().parse(json.dumps(ASKED).encode())
    for results in ([], [{"index": 0, "relevance_score": 1}] * 3, [{"index": 7, "relevance_score": 1}]):
        content = json.dumps({"results": results, "usage": {"prompt_tokens": 1}}).encode()

        with pytest.raises(EngineFailed):
            Rerank().whole(200, content, body, ranker("vllm"))


def test_vllm_ranks_with_embeddings_and_llama_server_says_what_it_needs() -> None:
    body = Rerank().parse(json.dumps(ASKED).encode())

    assert Rerank().for_engine(body, with_engine("vllm", kind="embedding"), cache_salt="salt")
    with pytest.raises(BadField, match="deployed with --reranking"):
        Rerank().for_engine(body, with_engine("llamacpp", kind="embedding"), cache_salt="salt")
    with pytest.raises(BadField, match="generates text and cannot be called at /v1/rerank"):
        Rerank().for_engine(body, with_engine("llamacpp"), cache_salt="salt")


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"documents": []}, "documents"),
        ({"documents": ["a"] * 1001}, "documents"),
        ({"documents": [7]}, "documents[0]"),
        ({"documents": [{"text": "a", "image": "x"}]}, "documents[0].image"),
        ({"top_n": 0}, "top_n"),
        ({"query": None}, "query"),
        ({"stream": True}, "stream"),
    ],
)
def test_a_wrong_member_is_refused_by_its_path(members: dict[str, Any], path: str) -> None:
    with pytest.raises(BadField) as refused:
        Rerank().parse(json.dumps({**ASKED, **members}).encode())

    assert refused.value.param == path


@pytest.mark.parametrize(
    ("engine", "expected", "content"),
    [
        (
            "llamacpp",
            {"content": "Hello harbour", "add_special": False, "parse_special": True},
            {"tokens": [713, 370]},
        ),
        (
            "vllm",
            {"model": "harbour/pilot", "prompt": "Hello harbour", "add_special_tokens": False},
            {"count": 2, "max_model_len": 512, "tokens": [713, 370], "token_strs": None},
        ),
    ],
)
def test_a_prompts_tokens_come_in_one_shape(engine: str, expected: dict[str, Any], content: dict[str, Any]) -> None:
    asked = {"model": "harbour/pilot", "prompt": "Hello harbour", "add_special_tokens": False}
    body = Tokenize().parse(json.dumps(asked).encode())

    sent = json.loads(Tokenize().for_engine(body, with_engine(engine), cache_salt="salt"))
    answer = Tokenize().whole(200, json.dumps(content).encode(), body, with_engine(engine))

    assert sent == expected
    assert json.loads(answer.content) == {
        "model": "harbour/pilot",
        "count": 2,
        "max_model_len": 512,
        "tokens": [713, 370],
    }
    assert (answer.settled.input_tokens, answer.settled.source) == (0, "none")


@pytest.mark.parametrize(("engine", "member"), [("llamacpp", "content"), ("vllm", "prompt")])
def test_tokens_become_text_again(engine: str, member: str) -> None:
    body = Detokenize().parse(b'{"model":"harbour/pilot","tokens":[713,370]}')

    sent = json.loads(Detokenize().for_engine(body, with_engine(engine), cache_salt="salt"))
    answer = Detokenize().whole(200, json.dumps({member: "Hello harbour"}).encode(), body, with_engine(engine))

    assert sent == {"model": "harbour/pilot", "tokens": [713, 370]}
    assert json.loads(answer.content) == {"model": "harbour/pilot", "prompt": "Hello harbour"}


def test_a_token_that_llama_server_does_not_know_is_the_callers_mistake() -> None:
    body = Detokenize().parse(b'{"model":"harbour/pilot","tokens":[99999]}')
    content = b'{"error":{"code":500,"message":"vector::_M_range_check: __n (which is 99999) >= this->size()"}}'

    with pytest.raises(BadField) as refused:
        Detokenize().whole(500, content, body, with_engine("llamacpp"))

    assert refused.value.param == "tokens"


@pytest.mark.parametrize(
    ("path", "asked", "most"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 9, "n": 2}, (512, 18)),
        ("/v1/messages", {"messages": [{"role": "user", "content": "a"}], "max_tokens": 9}, (512, 9)),
        ("/v1/responses", {"input": "a", "max_output_tokens": 9}, (512, 9)),
        ("/v1/responses", {"input": "a"}, (512, 512)),
        ("/v1/embeddings", {"input": ["a", "b"]}, (600, 0)),
        ("/v1/rerank", {"query": "a", "documents": ["b", "c"]}, (1024, 0)),
        ("/v1/tokenize", {"prompt": "a"}, (0, 0)),
        ("/v1/messages/count_tokens", {"messages": [{"role": "user", "content": "a"}]}, (0, 0)),
    ],
)
def test_what_is_held_before_a_request_is_its_worst_case(
    path: str, asked: dict[str, Any], most: tuple[int, int]
) -> None:
    operation = OPERATIONS[path]
    body = operation.parse(json.dumps({"model": "harbour/pilot", **asked}).encode())

    assert operation.worst(body, with_engine("vllm"), 600) == most
