"""OpenAI's Responses: what the engine is asked, and what the client is told. Judged by its client. Pure."""

import json
from typing import Any

import pydantic
import pytest
from openai.types.responses import Response, ResponseStreamEvent

from moorage.gateway.errors import BadField
from moorage.gateway.operations.responses import Responses
from moorage.gateway.usage import Meter
from tests.gateway import chat_frames
from tests.gateway.chat_frames import ENGINES
from tests.gateway.test_request_body import with_engine

HELLO: dict[str, Any] = {"model": "harbour/pilot", "input": "hi"}
TOOL = {"type": "function", "name": "tide", "parameters": {"type": "object", "properties": {}}, "strict": True}
_events = pydantic.TypeAdapter(ResponseStreamEvent)


def asked(body: dict[str, Any], engine: str = "llamacpp") -> dict[str, Any]:
    operation = Responses()
    parsed = operation.parse(json.dumps(body).encode())
    sent: dict[str, Any] = json.loads(operation.for_engine(parsed, with_engine(engine), cache_salt="salt"))
    return sent


def told(stream: bytes, body: dict[str, Any], *, piece: int = 0) -> tuple[list[Any], Meter]:
    """The events of a stream, each in the official client's types, and its meter."""
    operation, meter = Responses(), Meter(context_size=512)
    filtered = operation.stream(meter, operation.parse(json.dumps({**body, "stream": True}).encode()))
    size = piece or len(stream)
    out = b"".join(filtered.feed(stream[at : at + size]) for at in range(0, len(stream), size))
    assert filtered.is_done and not filtered.has_error and filtered.malformed == 0
    assert b"response.completed" not in out
    frames = [frame.split("\n") for frame in (out + filtered.last).decode().split("\n\n")[:-1]]
    events = [_events.validate_json(data.removeprefix("data: ")) for _, data in frames]
    assert [name.removeprefix("event: ") for name, _ in frames] == [event.type for event in events]
    assert [event.sequence_number for event in events] == list(range(len(events)))
    return events, meter


def test_a_conversation_is_asked_as_a_chat_completion() -> None:
    body = {
        **HELLO,
        "instructions": "Be brief.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]},
            {"type": "reasoning", "id": "r", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
            {
                "type": "message",
                "id": "m",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": "I ask.", "annotations": []}],
            },
            {"type": "function_call", "id": "f", "call_id": "c1", "name": "tide", "arguments": "{}"},
            {"type": "function_call", "id": "f", "call_id": "c2", "name": "tide", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c1", "output": "high"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "low"}]},
        ],
        "tools": [TOOL],
        "tool_choice": {"type": "function", "name": "tide"},
        "parallel_tool_calls": False,
        "max_output_tokens": 16,
        "temperature": 0.5,
        "reasoning": {"effort": "low", "summary": "auto"},
        "text": {"format": {"type": "json_schema", "name": "x", "schema": {"type": "object"}}, "verbosity": "low"},
        "store": True,
        "include": ["reasoning.encrypted_content"],
        "truncation": "disabled",
        "user": "alice",
        "cache_salt": "mine",
    }

    sent = asked(body)

    calls = [{"id": f"c{n}", "type": "function", "function": {"name": "tide", "arguments": "{}"}} for n in (1, 2)]
    assert sent == {
        "model": "harbour/pilot",
        "max_tokens": 16,
        "temperature": 0.5,
        "parallel_tool_calls": False,
        "reasoning_effort": "low",
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}},
        "tools": [{"type": "function", "function": {name: TOOL[name] for name in ("name", "parameters", "strict")}}],
        "tool_choice": {"type": "function", "function": {"name": "tide"}},
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "a\nb"},
            {"role": "assistant", "content": "I ask.", "reasoning_content": "hm", "tool_calls": calls},
            {"role": "tool", "tool_call_id": "c1", "content": "high"},
            {"role": "tool", "tool_call_id": "c2", "content": "low"},
        ],
    }


def test_vllm_gets_the_organizations_salt_and_usage_is_forced_on_streams() -> None:
    sent = asked({**HELLO, "stream": True, "stream_options": {"include_obfuscation": False}}, "vllm")

    assert sent["messages"] == [{"role": "user", "content": "hi"}]
    assert sent["cache_salt"] == "salt"
    assert sent["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 7}, "input"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "p"}}, "prompt"),
        ({"background": True}, "background"),
        ({"truncation": "auto"}, "truncation"),
        ({"include": ["web_search_call.results"]}, "include[0]"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "mcp", "server_url": "http://10.0.0.1"}]}, "tools[0].type"),
        ({"tool_choice": {"type": "file_search"}}, "tool_choice.type"),
        ({"text": {"format": {"type": "json_schema", "name": "x"}}}, "text.format.schema"),
        ({"max_output_tokens": 513}, "max_output_tokens"),
        ({"top_logprobs": 3}, "top_logprobs"),
        ({"stream_options": {}}, "stream_options"),
        ({"metadata": {"a": 1}}, "metadata.a"),
        ({"messages": []}, "messages"),
        ({"input": [{"type": "item_reference", "id": "x"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "assistant", "content": "I began"}]}, "input"),
    ],
)
def test_what_cannot_be_served_is_refused_by_its_path(members: dict[str, Any], path: str) -> None:
    with pytest.raises(BadField) as refused:
        asked({**HELLO, **members})

    assert refused.value.param == path
    assert refused.value.message.startswith(f"{path}: ")


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("piece", [0, 1, 7])
def test_a_stream_is_told_in_items_and_counted_like_a_chat(engine: str, piece: int) -> None:
    thought = {"llamacpp": "reasoning_content", "vllm": "reasoning"}[engine]
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "tide", "arguments": ""}}
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

    events, meter = told(stream, {**HELLO, "tools": [TOOL], "metadata": {"a": "b"}}, piece=piece)

    assert [event.type.removeprefix("response.") for event in events] == [
        *("created", "in_progress"),
        *("output_item.added", "content_part.added", "reasoning_text.delta"),
        *("reasoning_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "content_part.added", "output_text.delta", "output_text.delta"),
        *("output_text.done", "content_part.done", "output_item.done"),
        *("output_item.added", "function_call_arguments.delta", "function_call_arguments.delta"),
        *("function_call_arguments.done", "output_item.done"),
        "completed",
    ]
    response = events[-1].response
    assert (response.id, response.status, response.store, response.metadata) == (
        *("resp_a1", "completed", False, {"a": "b"}),
    )
    assert response.output_text == "Grüße 🌊"
    reasoning, _, function = response.output
    assert reasoning.content[0].text == "hm"
    assert (function.call_id, function.name, function.arguments) == ("c1", "tide", '{"at":1}')
    assert response.usage.to_dict() == {
        "input_tokens": 5,
        "input_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 0},
        "output_tokens": 6,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 11,
    }
    settled = meter.settle()
    assert (settled.input_tokens, settled.cached_tokens, settled.output_tokens, settled.source) == (5, 4, 6, "engine")


@pytest.mark.parametrize("engine", ENGINES)
def test_a_truncated_answer_is_incomplete_in_both_forms(engine: str) -> None:
    events, _ = told(chat_frames.stream(engine, {"content": "a"}, finish="length"), HELLO)
    body = Responses().parse(json.dumps(HELLO).encode())

    answer = Responses().whole(
        200, chat_frames.whole(engine, {"content": "a"}, tokens=1, finish="length"), body, with_engine(engine)
    )

    for response in (events[-1].response, Response.model_validate_json(answer.content)):
        assert (response.status, response.incomplete_details.reason) == ("incomplete", "max_output_tokens")
        assert response.output[0].status == "incomplete"
    assert events[-1].type == "response.incomplete"


@pytest.mark.parametrize("engine", ENGINES)
def test_an_answer_in_one_piece_is_a_response(engine: str) -> None:
    thought = {"llamacpp": "reasoning_content", "vllm": "reasoning"}[engine]
    call = {"id": "c1", "type": "function", "function": {"name": "tide", "arguments": "{}"}}
    content = chat_frames.whole(
        engine, {"content": "Tied up", thought: "hm", "tool_calls": [call]}, tokens=9, finish="tool_calls"
    )
    body = Responses().parse(json.dumps({**HELLO, "instructions": "Be brief.", "temperature": 0.5}).encode())

    answer = Responses().whole(200, content, body, with_engine(engine))

    response = Response.model_validate_json(answer.content)
    assert (response.id, response.object, response.model, response.created_at) == (
        *("resp_a1", "response", "harbour/pilot", 7),
    )
    assert (response.status, response.error, response.incomplete_details) == ("completed", None, None)
    assert (response.instructions, response.temperature, response.tools) == ("Be brief.", 0.5, [])
    assert [item.type for item in response.output] == ["reasoning", "message", "function_call"]
    assert len({item.id for item in response.output}) == 3
    assert response.output_text == "Tied up"
    assert response.usage is not None and response.usage.output_tokens == 9
    assert (answer.settled.input_tokens, answer.settled.output_tokens, answer.settled.source) == (5, 9, "engine")


def test_an_error_inside_a_stream_is_one_that_clients_raise() -> None:
    event = Responses().error_event(BadField("max_tokens: is missing.", param="max_tokens"), "req_1")

    name, data, *_ = event.split(b"\n")
    assert name == b"event: error"
    assert json.loads(data.removeprefix(b"data: "))["error"]["message"] == "max_tokens: is missing."


def test_an_error_of_the_engine_inside_a_stream_ends_it_untold() -> None:
    operation, meter = Responses(), Meter(context_size=512)
    filtered = operation.stream(meter, operation.parse(json.dumps({**HELLO, "stream": True}).encode()))

    out = filtered.feed(b'data: {"error": {"message": "out of memory", "code": 500}}\n\ndata: [DONE]\n\n')

    assert (out, filtered.has_error, filtered.is_done) == (b"", True, False)
