"""Anthropic's Messages: what the engine is asked, and what the client is told. Judged by its client. Pure."""

import json
from typing import Any

import pydantic
import pytest
from anthropic.types import Message, MessageTokensCount, RawMessageStreamEvent

from moorage.gateway.errors import BadField, BadRequest, EngineFailed, EngineRefused
from moorage.gateway.operations.count_tokens import CountTokens
from moorage.gateway.operations.messages import Messages
from moorage.gateway.usage import Meter
from tests.gateway import chat_frames
from tests.gateway.chat_frames import ENGINES
from tests.gateway.test_request_body import ROUTE, with_engine

HELLO: dict[str, Any] = {"model": "harbour/pilot", "max_tokens": 64, "messages": [{"role": "user", "content": "hi"}]}
TOOL = {"name": "tide", "description": "asks", "input_schema": {"type": "object", "properties": {}}}
_events = pydantic.TypeAdapter(RawMessageStreamEvent)


def asked(body: dict[str, Any], engine: str = "llamacpp") -> dict[str, Any]:
    operation = Messages()
    parsed = operation.parse(json.dumps(body).encode())
    sent: dict[str, Any] = json.loads(operation.for_engine(parsed, with_engine(engine), cache_salt="salt"))
    return sent


def refusal(body: dict[str, Any], engine: str = "llamacpp") -> BadRequest:
    with pytest.raises(BadRequest) as refused:
        asked(body, engine)
    return refused.value


def told(engine: str, stream: bytes, *, piece: int = 0) -> tuple[list[Any], Meter]:
    """The events of a stream, each in the official client's types, and its meter."""
    operation, meter = Messages(), Meter(context_size=512)
    filtered = operation.stream(meter, operation.parse(json.dumps({**HELLO, "stream": True}).encode()))
    size = piece or len(stream)
    out = b"".join(filtered.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    assert filtered.is_done and not filtered.has_error and filtered.malformed == 0
    assert b"message_stop" not in out and b"message_delta" not in out
    frames = [frame.split("\n") for frame in (out + filtered.last).decode().split("\n\n")[:-1]]
    events = [_events.validate_json(data.removeprefix("data: ")) for _, data in frames]
    assert [name.removeprefix("event: ") for name, _ in frames] == [event.type for event in events]
    return events, meter


def test_a_conversation_is_asked_as_a_chat_completion() -> None:
    body = {
        **HELLO,
        "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "x"},
                    {"type": "redacted_thinking", "data": "x"},
                    {"type": "text", "text": "I ask."},
                    {"type": "tool_use", "id": "t1", "name": "tide", "input": {"at": 1}},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "and?"},
                    {"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "high"}]},
                ],
            },
        ],
        "tools": [TOOL],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "temperature": 0.5,
        "top_k": 3,
        "metadata": {"user_id": "alice"},
        "cache_salt": "mine",
    }

    sent = asked(body)

    function = {"name": "tide", "parameters": TOOL["input_schema"], "description": "asks"}
    call = {"id": "t1", "type": "function", "function": {"name": "tide", "arguments": '{"at":1}'}}
    assert sent == {
        "model": "harbour/pilot",
        "max_tokens": 64,
        "temperature": 0.5,
        "top_k": 3,
        "tools": [{"type": "function", "function": function}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a\nb"},
            {"role": "assistant", "content": "I ask.", "reasoning_content": "hm", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "t1", "content": "high"},
            {"role": "user", "content": "and?"},
        ],
    }


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        (
            {"tool_choice": {"type": "tool", "name": "f"}},
            {"tool_choice": {"type": "function", "function": {"name": "f"}}},
        ),
        ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        ({"thinking": {"type": "disabled"}}, {"reasoning_effort": "none"}),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, {"reasoning_effort": "xhigh"}),
        ({"thinking": {"type": "enabled", "budget_tokens": 9}}, {"thinking_budget_tokens": 9}),
        (
            {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "response_format": {
                    "type": "json_schema",
                    "json_schema": {"name": "answer", "schema": {"type": "object"}, "strict": True},
                }
            },
        ),
        # llama-server tells a stop sequence from the end of a turn only when it is asked to.
        ({"stop_sequences": ["x"]}, {"stop": ["x"], "verbose": True, "response_fields": ["stopping_word"]}),
    ],
)
def test_choices_are_put_in_the_engines_words(members: dict[str, Any], expected: dict[str, Any]) -> None:
    sent = asked({**HELLO, **members})

    assert {name: sent[name] for name in sent if name not in ("model", "messages", "max_tokens")} == expected


def test_vllm_gets_the_organizations_salt_and_usage_is_forced_on_streams() -> None:
    sent = asked({**HELLO, "stream": True, "stop_sequences": ["x"]}, "vllm")

    assert sent["cache_salt"] == "salt"
    assert sent["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert "verbose" not in sent


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"max_tokens": None}, "max_tokens"),
        ({"max_tokens": 513}, "max_tokens"),
        ({"temperature": 1.5}, "temperature"),
        ({"container": "c1"}, "container"),
        ({"mcp_servers": [{"url": "http://10.0.0.1"}]}, "mcp_servers"),
        ({"context_management": {}}, "context_management"),
        ({"surprise": 1}, "surprise"),
        ({"system": [{"type": "image"}]}, "system[0].type"),
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"name": "f", "input_schema": []}]}, "tools[0].input_schema"),
        ({"tool_choice": {"type": "tool"}}, "tool_choice.name"),
        ({"thinking": {"type": "enabled"}}, "thinking.budget_tokens"),
        ({"messages": [{"role": "user", "content": [{"type": "image", "source": {}}]}]}, "messages[0].content[0].type"),
        ({"messages": [{"role": "user", "content": [{"type": "document"}]}]}, "messages[0].content[0].type"),
        (
            {
                "messages": [
                    {
                        "role": "user",
                        "content": [{"type": "tool_result", "tool_use_id": "t", "content": [{"type": "image"}]}],
                    }
                ]
            },
            "messages[0].content[0].content[0].type",
        ),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [{"role": "user"}]}, "messages[0].content"),
        ({"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]}, "messages"),
    ],
)
def test_what_cannot_be_served_is_refused_by_its_path(members: dict[str, Any], path: str) -> None:
    error = refusal({**HELLO, **members})

    assert isinstance(error, BadField)
    assert error.param == path
    assert error.message.startswith(f"{path}: ")


def test_vllm_keeps_no_budget_for_thinking() -> None:
    assert refusal({**HELLO, "thinking": {"type": "enabled", "budget_tokens": 9}}, "vllm").param == (
        "thinking.budget_tokens"
    )


def test_a_model_that_makes_embeddings_writes_no_messages() -> None:
    body = Messages().parse(json.dumps(HELLO).encode())

    with pytest.raises(BadField, match="makes embeddings and cannot be called at /v1/messages"):
        Messages().for_engine(body, with_engine("vllm", kind="embedding"), cache_salt="salt")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("piece", [0, 1, 7])
def test_a_stream_is_told_in_blocks_and_counted_like_a_chat(engine: str, piece: int) -> None:
    thought = {"llamacpp": "reasoning_content", "vllm": "reasoning"}[engine]
    call = {"index": 0, "id": "t1", "type": "function", "function": {"name": "tide", "arguments": ""}}
    stream = chat_frames.stream(
        engine,
        {thought: "hm"},
        {"content": "Grüße"},
        {"content": " 🌊"},
        {"tool_calls": [call]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"at":'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": "1}"}}]},
        finish="tool_calls",
    )

    events, meter = told(engine, stream, piece=piece)

    start, *middle, delta, _ = events
    cached = 4 if engine == "llamacpp" else 0  # vLLM says at its end what was cached
    assert (start.message.usage.input_tokens, start.message.usage.cache_read_input_tokens) == (5 - cached, cached)
    assert start.message.id == "msg_a1"
    assert [(event.type, event.index) for event in middle if "delta" not in event.type] == [
        ("content_block_start", 0),
        ("content_block_stop", 0),
        ("content_block_start", 1),
        ("content_block_stop", 1),
        ("content_block_start", 2),
        ("content_block_stop", 2),
    ]
    assert [event.content_block.type for event in middle if event.type == "content_block_start"] == [
        *("thinking", "text", "tool_use"),
    ]
    assert "".join(event.delta.text for event in middle if getattr(event, "delta", None) and event.index == 1) == (
        "Grüße 🌊"
    )
    arguments = [event.delta.partial_json for event in middle if getattr(event, "delta", None) and event.index == 2]
    assert json.loads("".join(arguments)) == {"at": 1}
    assert delta.delta.stop_reason == "tool_use"
    usage = delta.usage
    assert (usage.input_tokens, usage.cache_read_input_tokens, usage.output_tokens) == (1, 4, 6)
    settled = meter.settle()
    assert (settled.input_tokens, settled.cached_tokens, settled.output_tokens, settled.source) == (5, 4, 6, "engine")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_stream_that_breaks_off_is_counted_by_what_was_delivered(engine: str) -> None:
    stream = chat_frames.stream(engine, {"content": "a"}, {"content": "b"}, {"content": "c"})
    operation, meter = Messages(), Meter(context_size=512)
    filtered = operation.stream(meter, operation.parse(json.dumps({**HELLO, "stream": True}).encode()))

    filtered.feed(stream[: stream.index(b'"c"')])

    settled = meter.settle()
    assert (settled.input_tokens, settled.output_tokens) == (5, 2)
    assert settled.source == {"llamacpp": "gateway", "vllm": "engine_running"}[engine]


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("finish", "stop", "reason"),
    [("stop", None, "end_turn"), ("length", None, "max_tokens"), ("stop", "END", "stop_sequence")],
)
def test_the_reason_of_the_end_is_told_alike_in_both_forms(
    engine: str, finish: str, stop: str | None, reason: str
) -> None:
    events, _ = told(engine, chat_frames.stream(engine, {"content": "a"}, finish=finish, stop=stop))
    content = chat_frames.whole(engine, {"content": "a"}, tokens=1, finish=finish, stop=stop)
    body = Messages().parse(json.dumps(HELLO).encode())

    answer = Messages().whole(200, content, body, with_engine(engine))

    message = Message.model_validate_json(answer.content)
    assert (message.stop_reason, message.stop_sequence) == (reason, stop)
    assert (events[-2].delta.stop_reason, events[-2].delta.stop_sequence) == (reason, stop)


@pytest.mark.parametrize("engine", ENGINES)
def test_an_answer_in_one_piece_is_a_message(engine: str) -> None:
    thought = {"llamacpp": "reasoning_content", "vllm": "reasoning"}[engine]
    call = {"id": "t1", "type": "function", "function": {"name": "tide", "arguments": '{"at": 1}'}}
    content = chat_frames.whole(
        engine, {"content": "Tied up", thought: "hm", "tool_calls": [call]}, tokens=9, finish="tool_calls"
    )
    body = Messages().parse(json.dumps(HELLO).encode())

    answer = Messages().whole(200, content, body, with_engine(engine))

    message = Message.model_validate_json(answer.content)
    assert [block.to_dict() for block in message.content] == [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": "Tied up"},
        {"type": "tool_use", "id": "t1", "name": "tide", "input": {"at": 1}},
    ]
    assert (message.id, message.model, message.role, message.stop_reason) == (
        *("msg_a1", "harbour/pilot", "assistant", "tool_use"),
    )
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.output_tokens) == (1, 4, 9)
    assert (answer.settled.input_tokens, answer.settled.output_tokens, answer.settled.source) == (5, 9, "engine")


def test_an_engine_that_answers_nonsense_has_failed() -> None:
    body = Messages().parse(json.dumps(HELLO).encode())

    for content in (b"{}", b'{"choices":[]}', b"<html>"):
        with pytest.raises(EngineFailed):
            Messages().whole(200, content, body, ROUTE)
    with pytest.raises(EngineRefused, match="too long by far"):
        Messages().whole(400, b'{"error":{"message":"too long by far"}}', body, ROUTE)


def test_errors_have_anthropics_shape() -> None:
    error = BadField("max_tokens: is missing.", param="max_tokens")

    body = json.loads(Messages().error(error, "req_1"))
    event = Messages().error_event(error, "req_1")

    assert body == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "max_tokens: is missing."},
        "request_id": "req_1",
    }
    assert event.startswith(b'event: error\ndata: {"type":"error"') and event.endswith(b"\n\n")


@pytest.mark.parametrize(
    ("engine", "path", "content"),
    [
        ("llamacpp", "/v1/chat/completions/input_tokens", b'{"input_tokens":9,"object":"response.input_tokens"}'),
        ("vllm", "/tokenize", b'{"count":9,"max_model_len":512,"tokens":[1],"token_strs":null}'),
    ],
)
def test_tokens_are_counted_for_nothing_over_the_conversation_that_would_be_asked(
    engine: str, path: str, content: bytes
) -> None:
    operation, counted = CountTokens(), {name: HELLO[name] for name in ("model", "messages")}
    whole = {**counted, "system": "Be brief.", "tools": [TOOL], "thinking": {"type": "disabled"}}
    body = operation.parse(json.dumps(whole).encode())

    sent = json.loads(operation.for_engine(body, with_engine(engine), cache_salt="salt"))
    answer = operation.whole(200, content, body, with_engine(engine))

    message = asked({**whole, "max_tokens": 1}, engine)
    assert sent == {name: message[name] for name in ("model", "messages", "tools")}
    assert operation.engine_paths[engine] == path
    assert MessageTokensCount.model_validate_json(answer.content).input_tokens == 9
    assert (answer.settled.input_tokens, answer.settled.output_tokens) == (0, 0)
