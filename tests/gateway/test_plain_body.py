"""The quick way through a body takes the same bodies, and says the same to the engine, as the thorough one. Pure."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.gateway import plain_body, request_body
from moorage.gateway.errors import BadRequest
from tests.gateway.test_request_body import CHAT, ROUTE, with_engine

COMPLETIONS = "/v1/completions"
#: Values on both sides of every bound, and of the wrong type.
_VALUES = st.one_of(
    st.sampled_from([0, 1, -1, 2, 8, 9, 2.0, 2.5, -2, 1e308, 2**53, 2**53 + 1, 2**63, -(2**63), 10.0, 513, "", "stop"]),
    st.booleans(),
    st.none(),
    st.floats(-3, 3, allow_nan=False),
    st.text(max_size=5),
    st.lists(st.text(max_size=3), max_size=2),
    st.dictionaries(st.sampled_from(["include_usage", "other"]), st.booleans(), max_size=2),
)
_NAMES = st.sampled_from(
    [
        *("stream", "stream_options", "max_tokens", "max_completion_tokens", "temperature", "top_p", "min_p", "top_k"),
        *("n", "presence_penalty", "frequency_penalty", "seed", "stop", "user", "store", "unknown", "logprobs"),
    ]
)
_MESSAGES = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["system", "user", "assistant", "tool", "nobody"]), "content": st.text(max_size=20)},
        optional={"name": st.text(max_size=3)},
    ),
    max_size=3,
)


def outcome(path: str, content: bytes, engine: str) -> object:
    """What the engine would be told, or why not."""
    try:
        body = request_body.parse(path, content)
        told = json.loads(request_body.for_engine(body, with_engine(engine), cache_salt="salt"))
    except BadRequest as refusal:
        return refusal.message
    if told.get("stream") is False:
        del told["stream"]  # says nothing
    return body.is_stream, body.wants_usage, body.choices, body.inputs, body.output_limit, told


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(
    members=st.dictionaries(_NAMES, _VALUES, max_size=4),
    messages=_MESSAGES,
    engine=st.sampled_from(["llamacpp", "vllm"]),
)
def test_the_quick_way_and_the_thorough_one_agree(
    members: dict[str, Any], messages: list[dict[str, str]], engine: str
) -> None:
    content = json.dumps(
        {"model": ROUTE.served_name, "messages": messages, **members}, ensure_ascii=False, separators=(",", ":")
    ).encode("utf-8", "surrogatepass")

    # A space in front is no matter for JSON, and makes the quick way pass.
    assert outcome(CHAT, content, engine) == outcome(CHAT, b" " + content, engine)


@pytest.mark.parametrize(
    "member",
    [
        '"temperature":0.5,"temperature":0.5',
        '"stop":"\\u0041"',
        '"stop":"\\/"',
        '"temperature":0.50',
        '"max_tokens":1e1',
        '"stop": "a"',
        '"user":"u"',
        '"tools":[]',
    ],
)
def test_what_has_a_second_form_or_a_rare_member_goes_the_thorough_way(member: str) -> None:
    content = f'{{"model":"m","messages":[{{"role":"user","content":"hi"}}],{member}}}'.encode()

    assert plain_body.members_of(CHAT, content) is None


@pytest.mark.parametrize(
    ("path", "content"),
    [
        (CHAT, b'{"messages":[{"role":"user","content":"h\xc3\xa9"}],"model":"m","temperature":0.7,"max_tokens":64}'),
        (CHAT, b'{"model":"m","messages":[{"role":"user","content":"a\\nb"}],"stream":true}'),
        (COMPLETIONS, b'{"model":"m","prompt":"hi","max_tokens":5}'),
        ("/v1/embeddings", b'{"model":"m","input":"hi"}'),
    ],
)
def test_what_official_clients_send_goes_the_quick_way(path: str, content: bytes) -> None:
    assert plain_body.members_of(path, content) == json.loads(content)
