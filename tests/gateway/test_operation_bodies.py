"""Whatever a body says, it is sent on as JSON or refused as the caller's mistake, at every path. Pure."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.gateway.errors import BadRequest
from moorage.gateway.operations import OPERATIONS
from moorage.gateway.request_fields import STRIPPED
from tests.gateway.chat_frames import ENGINES
from tests.gateway.test_request_body import with_engine

#: The least that each path asks for.
LEAST: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/completions": {"prompt": "hi"},
    "/v1/embeddings": {"input": "hi"},
    "/v1/responses": {"input": "hi"},
    "/v1/messages": {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 9},
    "/v1/messages/count_tokens": {"messages": [{"role": "user", "content": "hi"}]},
    "/v1/rerank": {"query": "hi", "documents": ["a"]},
    "/v1/tokenize": {"prompt": "hi"},
    "/v1/detokenize": {"tokens": [1]},
}
KINDS = {"/v1/embeddings": "embedding", "/v1/rerank": "rerank"}
_WORDS = st.sampled_from(
    [
        *(
            "type",
            "role",
            "content",
            "text",
            "name",
            "input",
            "user",
            "assistant",
            "tool_use",
            "tool_result",
            "function",
        ),
        *("input_text", "output_text", "reasoning", "message", "function_call", "call_id", "arguments", "id", "output"),
    ]
)
_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5) | _WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS | st.text(max_size=3), inner, max_size=4),
    max_leaves=12,
)
_MEMBERS = st.sampled_from(
    [
        *("model", "messages", "input", "instructions", "system", "tools", "tool_choice", "thinking", "text", "stream"),
        *("reasoning", "metadata", "documents", "query", "tokens", "prompt", "max_tokens", "output_config", "include"),
    ]
)


def test_every_path_is_here() -> None:
    assert set(LEAST) == set(OPERATIONS)


@pytest.mark.parametrize("path", LEAST)
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(members=st.dictionaries(_MEMBERS, _json, max_size=4))
def test_any_json_is_either_sent_on_as_json_or_refused(path: str, members: dict[str, object]) -> None:
    operation = OPERATIONS[path]
    content = json.dumps({"model": "harbour/pilot", **LEAST[path], **members}).encode()
    for engine in ENGINES:
        route = with_engine(engine, kind=KINDS.get(path, "chat"))
        try:
            body = operation.parse(content)
            sent = operation.for_engine(body, route, cache_salt="salt")
        except BadRequest as refused:
            assert refused.status_code == 400
            continue

        assert isinstance(json.loads(sent), dict)
        most_in, most_out = operation.worst(body, route, len(content))
        assert most_in >= 0 and most_out >= 0


@pytest.mark.parametrize("path", LEAST)
@pytest.mark.parametrize("engine", ENGINES)
def test_what_is_ours_to_set_is_dropped_in_silence(path: str, engine: str) -> None:
    operation = OPERATIONS[path]
    route = with_engine(engine, kind=KINDS.get(path, "chat"))
    plain = {"model": "harbour/pilot", **LEAST[path]}
    # Two of them are members of Responses.
    steering = dict.fromkeys(STRIPPED - {"metadata", "store"}, 1)

    steered = operation.for_engine(
        operation.parse(json.dumps({**plain, **steering}).encode()), route, cache_salt="salt"
    )

    sent = operation.for_engine(operation.parse(json.dumps(plain).encode()), route, cache_salt="salt")
    assert json.loads(steered) == json.loads(sent)
    salted = engine == "vllm" and operation.worst(operation.parse(json.dumps(plain).encode()), route, 99) != (0, 0)
    assert json.loads(sent).get("cache_salt") == ("salt" if salted else None)


@pytest.mark.parametrize("path", LEAST)
@pytest.mark.parametrize(
    ("more", "named"),
    [
        ('"surprise":1', "surprise"),
        ('"model":"other"', "model"),
        ('"surprise":' + "[" * 70 + "]" * 70, "surprise"),
        ('"x":' + "9" * 5000, "x"),
        ('"x":NaN', "x"),
    ],
)
def test_strangeness_is_refused_by_its_path(path: str, more: str, named: str) -> None:
    content = json.dumps({"model": "harbour/pilot", **LEAST[path]})[:-1] + f",{more}}}"

    with pytest.raises(BadRequest) as refused:
        OPERATIONS[path].parse(content.encode())

    assert str(refused.value.param).startswith(named)
