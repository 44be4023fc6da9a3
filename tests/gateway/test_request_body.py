"""What a body may say, and what the engine is told instead. Pure."""

import json

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from moorage.gateway import request_body
from moorage.gateway.errors import BadRequest
from moorage.gateway.request_fields import STRIPPED
from moorage.wire.records import Route

CHAT = "/v1/chat/completions"
ROUTE = Route(
    id="dep:pilot",
    organization_id="org_1",
    served_name="harbour/pilot",
    deployment_id="dep",
    deployment_name="harbour",
    model_key="pilot",
    revision_id="rev",
    engine="llamacpp",
    kind="chat",
    context_size=512,
    status="ready",
)


def with_engine(engine: str, *, kind: str = "chat") -> Route:
    """The route on another engine, for another kind of model."""
    return msgspec.structs.replace(ROUTE, engine=engine, kind=kind)


MESSAGES = '"model":"m","messages":[{"role":"user","content":"hi"}]'


def refusal(content: str | bytes, path: str = CHAT) -> BadRequest:
    raw = content.encode() if isinstance(content, str) else content
    with pytest.raises(BadRequest) as refused:
        request_body.for_engine(request_body.parse(path, raw), ROUTE, cache_salt="salt")
    return refused.value


@pytest.mark.parametrize(
    ("member", "path"),
    [
        ('"max_tokens":1e309', "max_tokens"),
        ('"max_tokens":-1', "max_tokens"),
        ('"max_tokens":0', "max_tokens"),
        ('"max_tokens":true', "max_tokens"),
        ('"max_tokens":"10"', "max_tokens"),
        ('"max_tokens":10.0', "max_tokens"),
        ('"max_tokens":513', "max_tokens"),
        ('"max_completion_tokens":513', "max_completion_tokens"),
        ('"n":9', "n"),
        ('"n":16384', "n"),
        ('"temperature":1e999', "temperature"),
        ('"temperature":"warm"', "temperature"),
        ('"stream":1', "stream"),
        ('"stream_options":{"include_usage":true}', "stream_options"),
        ('"stream":true,"stream_options":{"continuous_usage_stats":true}', "stream_options.continuous_usage_stats"),
        ('"best_of":4', "best_of"),
        ('"grammar":"root ::= x"', "grammar"),
        ('"json_schema":{}', "json_schema"),
        ('"structured_outputs":{}', "structured_outputs"),
        ('"add_generation_prompt":false', "add_generation_prompt"),
        ('"logit_bias":{"hello":1}', "logit_bias"),
        ('"logit_bias":{"1":101}', "logit_bias.1"),
        ('"tools":[{"type":"function","function":{"name":"f","extra":1}}]', "tools[0].function.extra"),
        ('"response_format":{"type":"grammar"}', "response_format.type"),
        ('"stop":[1]', "stop[0]"),
        ('"user\\ud800":1', "user\\ud800"),
    ],
)
def test_a_wrong_member_is_refused_by_its_path(member: str, path: str) -> None:
    assert refusal(f"{{{MESSAGES},{member}}}").param == path


@pytest.mark.parametrize(
    ("messages", "path"),
    [
        ("[]", "messages"),
        ('"hi"', "messages"),
        ('[{"role":"root","content":"hi"}]', "messages[0].role"),
        ('[{"content":"hi"}]', "messages[0].role"),
        ('[{"role":"user","content":7}]', "messages[0].content"),
        ('[{"role":"user","content":"\\ud800"}]', "messages[0].content"),
        ('[{"role":"user","content":"hi","surprise":1}]', "messages[0].surprise"),
        (
            '[{"role":"user","content":[{"type":"image_url","image_url":{"url":"file:///etc/passwd"}}]}]',
            "messages[0].content[0].type",
        ),
        (
            '[{"role":"user","content":[{"type":"text","text":"a"},{"type":"image_url","image_url":"http://10.0.0.1/"}]}]',
            "messages[0].content[1].type",
        ),
        (
            '[{"role":"user","content":[{"type":"text","text":"a","image_url":"http://x"}]}]',
            "messages[0].content[0].image_url",
        ),
        ("[" + ",".join(['{"role":"user","content":"a"}'] * 100_000) + "]", "messages"),
    ],
)
def test_a_wrong_message_is_refused_by_its_path(messages: str, path: str) -> None:
    assert refusal(f'{{"model":"m","messages":{messages}}}').param == path


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{",
        f"{{{MESSAGES}}} x",
        f'{{{MESSAGES},"model":"other"}}',
        f'{{{MESSAGES},"temperature":NaN}}',
        f'{{{MESSAGES},"temperature":-Infinity}}',
        f'{{{MESSAGES},"seed":{"9" * 5000}}}',
        f'{{{MESSAGES},"seed":{2**63}}}',
        "[" * 100_000,
        '{"model":' * 100_000,
        f"{{{MESSAGES}}}".encode("utf-16"),
        b"\xef\xbb\xbf" + f"{{{MESSAGES}}}".encode(),
        b'{"model":"\xff"}',
    ],
)
def test_what_is_not_strict_json_is_refused_without_being_repeated(content: str | bytes) -> None:
    error = refusal(content)

    assert error.status_code == 400
    assert len(error.message) < 200


def test_a_duplicate_member_is_named_wherever_it_is() -> None:
    error = refusal('{"model":"m","messages":[{"role":"user","content":"a","content":"b"}]}')

    assert error.param == "messages[0].content"
    assert "twice" in error.message


def test_a_deep_schema_is_refused() -> None:
    schema = '{"a":' * 40 + "1" + "}" * 40
    tools = f'[{{"type":"function","function":{{"name":"f","parameters":{schema}}}}}]'

    assert refusal(f'{{{MESSAGES},"tools":{tools}}}').param == "tools[0].function.parameters"


def test_what_is_ours_to_set_is_dropped_in_silence() -> None:
    members = ",".join(f'"{name}":1' for name in sorted(STRIPPED))
    body = request_body.parse(CHAT, f'{{{MESSAGES},{members},"temperature":null}}'.encode())

    sent = json.loads(request_body.for_engine(body, ROUTE, cache_salt="salt"))

    assert sent == {"model": "harbour/pilot", "messages": [{"role": "user", "content": "hi"}]}


@pytest.mark.parametrize(
    ("engine", "more", "expected"),
    [
        ("llamacpp", "", {"stream_options": {"include_usage": True}, "return_progress": True}),
        (
            "vllm",
            "",
            {"stream_options": {"include_usage": True, "continuous_usage_stats": True}, "cache_salt": "salt"},
        ),
        ("vllm", ',"n":2', {"stream_options": {"include_usage": True}, "cache_salt": "salt", "n": 2}),
    ],
)
def test_usage_is_forced_on_every_stream(engine: str, more: str, expected: dict[str, object]) -> None:
    body = request_body.parse(CHAT, f'{{{MESSAGES},"stream":true,"cache_salt":"mine"{more}}}'.encode())
    route = Route(**{name: getattr(ROUTE, name) for name in ROUTE.__struct_fields__} | {"engine": engine})

    sent = json.loads(request_body.for_engine(body, route, cache_salt="salt"))

    assert {name: sent[name] for name in sent if name not in ("model", "messages")} == {"stream": True, **expected}


@pytest.mark.parametrize(
    ("prompt", "inputs"),
    [('"a"', 1), ('["a","b"]', 2), ("[1,2,3]", 1), ("[[1],[2],[3]]", 3)],
)
def test_prompts_are_counted(prompt: str, inputs: int) -> None:
    assert request_body.parse("/v1/completions", f'{{"model":"m","prompt":{prompt}}}'.encode()).inputs == inputs


@pytest.mark.parametrize("prompt", ["[]", '["a",1]', "[true]", "[-1]", "[[]]", "[null]", "{}", "7"])
def test_wrong_prompts_are_refused(prompt: str) -> None:
    assert str(refusal(f'{{"model":"m","prompt":{prompt}}}', "/v1/completions").param).startswith("prompt")


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(members=st.dictionaries(st.sampled_from(["model", "messages", "n", "stop", "tools", "stream", "x"]), _json))
def test_any_json_is_either_sent_on_as_json_or_refused(members: dict[str, object]) -> None:
    content = json.dumps(members).encode()
    try:
        sent = request_body.for_engine(request_body.parse(CHAT, content), ROUTE, cache_salt="salt")
    except BadRequest:
        return

    assert json.loads(sent)["model"] == "harbour/pilot"
