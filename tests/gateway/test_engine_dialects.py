"""Every API surface with the vendors' official clients against both real engines and the demo model."""

from collections.abc import Iterator
from pathlib import Path

import anthropic
import httpx
import openai
import pytest

from moorage.fleet.engines import Engine
from moorage.wire.records import ReplicaAddress
from tests.gateway.conftest import MODEL, ControlPlane, Start, client_of, wait_until_knows
from tests.gateway.engine_runner import CONTEXT, running
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_anthropic_client import claude_of, messages
from tests.waiting import wait_until

BOTH = [
    pytest.param("llamacpp", marks=pytest.mark.engine),
    pytest.param("vllm", marks=pytest.mark.vllm),
]
TOOL: anthropic.types.ToolParam = {"name": "tide", "input_schema": {"type": "object", "properties": {}}}
#: The API has it, this version of its client has no parameter for it.
GREEDY = {"temperature": 0}
HERMES = (("--enable-auto-tool-choice", None), ("--tool-call-parser", "hermes"))
CANNOT_CALL_TOOLS = {"llamacpp": "its chat template has no place", "vllm": "--tool-call-parser"}


def program_of(engine: str, request: pytest.FixtureRequest) -> Path:
    program: Path = request.getfixturevalue({"llamacpp": "llama_server", "vllm": "vllm_python"}[engine])
    return program


@pytest.fixture(scope="module", params=BOTH)
def chat(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """An engine that serves the demo model for text, and its socket."""
    flags = HERMES if request.param == "vllm" else ()
    with running(Engine(request.param), program_of(request.param, request), flags=flags) as socket:
        yield request.param, socket


@pytest.fixture(scope="module", params=BOTH)
def ranker(request: pytest.FixtureRequest) -> Iterator[tuple[str, Path]]:
    """An engine that serves the demo model as a ranker; vLLM as a model of embeddings."""
    is_llamacpp = request.param == "llamacpp"
    flags = (("--reranking", None),) if is_llamacpp else ()
    kind = "rerank" if is_llamacpp else "embedding"
    with running(Engine(request.param), program_of(request.param, request), kind=kind, flags=flags) as socket:  # type: ignore[arg-type]
        yield request.param, socket


@pytest.fixture
def served(chat: tuple[str, Path], control: ControlPlane, start_gateway: Start, alices_key: str) -> GatewayProcess:
    """A gateway in front of the engine."""
    return serve(chat, control, start_gateway, alices_key)


def serve(
    engine: tuple[str, Path], control: ControlPlane, start_gateway: Start, key: str, **values: object
) -> GatewayProcess:
    replicas = (ReplicaAddress(id="rep_1", socket=str(engine[1])),)
    control.put_route(engine=engine[0], replicas=replicas, context_size=CONTEXT, **values)
    gateway = start_gateway()
    wait_until_knows(gateway, key, MODEL)
    return gateway


def test_messages_are_the_chat_completions_of_the_same_words(
    chat: tuple[str, Path], served: GatewayProcess, alices_key: str
) -> None:
    with claude_of(served, alices_key) as claude, client_of(served, alices_key) as client:
        counted = claude.messages.count_tokens(model=MODEL, system="You are kind.", messages=messages("Hello"))
        asked = {"model": MODEL, "max_tokens": 32, "system": "You are kind.", "messages": messages("Hello")}
        whole = claude.messages.create(**asked, extra_body=GREEDY)  # type: ignore[call-overload]
        with claude.messages.stream(**asked, extra_body=GREEDY) as stream:  # type: ignore[arg-type]
            text = "".join(stream.text_stream)
            streamed = stream.get_final_message()
        chatted = client.chat.completions.create(
            model=MODEL,
            max_tokens=32,
            temperature=0,
            messages=[{"role": "system", "content": "You are kind."}, {"role": "user", "content": "Hello"}],
        )

    assert whole.content[0].type == "text"
    assert whole.content[0].text == text == chatted.choices[0].message.content
    assert whole.stop_reason == streamed.stop_reason == "end_turn"
    counting, *events = wait_until(lambda: len(served.events()) == 4 and served.events(), seconds=10)
    assert (counting.source, counting.input_tokens) == ("none", 0)
    assert {(event.outcome, event.source) for event in events} == {("completed", "engine")}
    assert len({(event.input_tokens, event.output_tokens) for event in events}) == 1
    assert events[0].input_tokens == counted.input_tokens
    for usage in (whole.usage, streamed.usage):
        assert usage.input_tokens + (usage.cache_read_input_tokens or 0) == counted.input_tokens
        assert usage.output_tokens == events[0].output_tokens


def test_the_end_of_a_message_has_its_true_reason(
    chat: tuple[str, Path], served: GatewayProcess, alices_key: str
) -> None:
    with claude_of(served, alices_key) as claude:
        for is_stream in (False, True):
            asked = {"model": MODEL, "messages": messages("Hello"), "extra_body": GREEDY}
            for more, expected in (
                ({"max_tokens": 3}, ("max_tokens", None)),
                ({"max_tokens": 64, "stop_sequences": ["Harbour", "x!"]}, ("stop_sequence", "Harbour")),
            ):
                if is_stream:
                    with claude.messages.stream(**asked, **more) as stream:  # type: ignore[arg-type]
                        message = stream.get_final_message()
                else:
                    message = claude.messages.create(**asked, **more)  # type: ignore[call-overload]

                assert (message.stop_reason, message.stop_sequence) == expected


def test_responses_are_the_chat_completions_of_the_same_words(
    chat: tuple[str, Path], served: GatewayProcess, alices_key: str
) -> None:
    with client_of(served, alices_key) as client:
        asked = {"model": MODEL, "input": "Hello", "instructions": "You are kind.", "temperature": 0}
        whole = client.responses.create(**asked)  # type: ignore[call-overload]
        with client.responses.stream(**asked) as stream:  # type: ignore[arg-type]
            text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            streamed = stream.get_final_response()
        again = client.responses.create(
            **{
                **asked,
                "input": [{"role": "user", "content": "Hello"}, *whole.output, {"role": "user", "content": "Hi"}],
            }  # type: ignore[call-overload]
        )
        cut = client.responses.create(**{**asked, "max_output_tokens": 3})  # type: ignore[call-overload]

    assert whole.output_text == streamed.output_text == text
    assert whole.status == streamed.status == again.status == "completed"
    assert again.usage.input_tokens > whole.usage.input_tokens
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    events = wait_until(lambda: len(served.events()) == 4 and served.events(), seconds=10)
    assert {(event.outcome, event.source) for event in events} == {("completed", "engine")}
    for event, answer in zip(events, (whole, streamed, again, cut), strict=True):
        assert (event.input_tokens, event.output_tokens) == (answer.usage.input_tokens, answer.usage.output_tokens)
    assert "usage_disagreements_total 0.0" in httpx.get(f"{served.url}/-/metrics").text


def test_a_client_that_leaves_a_message_pays_for_what_it_got(
    chat: tuple[str, Path], served: GatewayProcess, alices_key: str
) -> None:
    # The model may come to the end of its story before the client has left; then it is asked again.
    for _ in range(20):
        with claude_of(served, alices_key) as claude:
            asked = messages("Tell me a long story")
            with claude.messages.create(model=MODEL, max_tokens=400, messages=asked, stream=True) as stream:
                request_id = stream.response.headers["x-request-id"]
                for told in stream:
                    if told.type == "content_block_delta":
                        break
        event = served.event(request_id)
        if event.outcome == "client_gone":
            break

    assert event.outcome == "client_gone"
    assert event.source == {"llamacpp": "gateway", "vllm": "engine_running"}[chat[0]]
    assert event.input_tokens > 0 and 0 < event.output_tokens < 400


@pytest.mark.parametrize("chat", [pytest.param("vllm", marks=pytest.mark.vllm)], indirect=True)
def test_a_call_that_vllm_is_made_to_write_is_told_as_it_is_written(
    chat: tuple[str, Path], served: GatewayProcess, alices_key: str
) -> None:
    asked = {"model": MODEL, "max_tokens": 40, "messages": messages("Hello"), "extra_body": GREEDY, "tools": [TOOL]}
    function = {"type": "function", "name": "tide", "strict": None, "parameters": {}}

    with (
        claude_of(served, alices_key) as claude,
        claude.messages.create(**asked, tool_choice={"type": "tool", "name": "tide"}, stream=True) as stream,  # type: ignore[call-overload]
    ):
        events = list(stream)
    with client_of(served, alices_key) as client:
        told = list(
            client.responses.create(
                model=MODEL,
                input="Hello",
                max_output_tokens=40,
                temperature=0,
                tools=[function],  # type: ignore[list-item]
                tool_choice={"type": "function", "name": "tide"},
                stream=True,
            )
        )

    block = next(event.content_block for event in events if event.type == "content_block_start")
    assert (block.type, block.name, block.input) == ("tool_use", "tide", {})
    arguments = "".join(event.delta.partial_json for event in events if event.type == "content_block_delta")
    done = next(event for event in told if event.type == "response.function_call_arguments.done")
    assert done.arguments == arguments != ""
    final = told[-1].response
    assert (final.output[0].type, final.output[0].name) == ("function_call", "tide")
    first, second = wait_until(lambda: len(served.events()) == 2 and served.events(), seconds=10)
    assert first.output_tokens == second.output_tokens > 0
    assert (first.source, second.source) == ("engine", "engine")


def test_tools_that_a_model_cannot_call_are_refused_in_one_sentence(
    chat: tuple[str, Path], control: ControlPlane, start_gateway: Start, alices_key: str
) -> None:
    gateway = serve(chat, control, start_gateway, alices_key, has_tools=False)

    with claude_of(gateway, alices_key) as claude, client_of(gateway, alices_key) as client:
        with pytest.raises(anthropic.BadRequestError, match=CANNOT_CALL_TOOLS[chat[0]]):
            claude.messages.create(model=MODEL, max_tokens=8, messages=messages("Hello"), tools=[TOOL])
        with pytest.raises(openai.BadRequestError, match=CANNOT_CALL_TOOLS[chat[0]]):
            client.responses.create(
                model=MODEL,
                input="Hello",
                tools=[{"type": "function", "name": "tide", "strict": None, "parameters": {}}],
            )

    assert gateway.events() == []


def test_a_text_has_the_same_tokens_at_both_engines(
    chat: tuple[str, Path], served: GatewayProcess, alices_key: str
) -> None:
    headers = {"Authorization": f"Bearer {alices_key}"}

    def ask(path: str, **members: object) -> httpx.Response:
        return httpx.post(f"{served.url}/v1/{path}", json={"model": MODEL, **members}, headers=headers)

    marked = ask("tokenize", prompt="Hello harbour").json()
    bare = ask("tokenize", prompt="Hello harbour", add_special_tokens=False).json()
    text = ask("detokenize", tokens=bare["tokens"]).json()
    unknown = ask("detokenize", tokens=[2**31 - 1])

    assert (marked["tokens"], marked["count"], marked["max_model_len"]) == ([0, 713, 370], 3, CONTEXT)
    assert (bare["tokens"], text["prompt"]) == ([713, 370], "Hello harbour")
    if chat[0] == "llamacpp":
        assert unknown.status_code == 400 and unknown.json()["error"]["param"] == "tokens"
    else:
        assert unknown.json()["prompt"] == ""


def test_documents_are_ranked_or_it_is_said_why_not(
    ranker: tuple[str, Path], control: ControlPlane, start_gateway: Start, alices_key: str
) -> None:
    kind = "rerank" if ranker[0] == "llamacpp" else "embedding"
    gateway = serve(ranker, control, start_gateway, alices_key, kind=kind)
    asked = {"model": MODEL, "query": "sea", "documents": ["the sea is blue", {"text": "compose files"}]}
    headers = {"Authorization": f"Bearer {alices_key}"}

    answer = httpx.post(f"{gateway.url}/v1/rerank", json={**asked, "return_documents": True}, headers=headers)
    one = httpx.post(f"{gateway.url}/v1/rerank", json={**asked, "top_n": 1}, headers=headers).json()
    with client_of(gateway, alices_key) as client, pytest.raises(openai.BadRequestError, match="cannot be called at"):
        client.responses.create(model=MODEL, input="Hello")

    ranking = answer.json()
    assert answer.status_code == 200
    assert sorted(result["index"] for result in ranking["results"]) == [0, 1]
    assert ranking["results"][0]["relevance_score"] >= ranking["results"][1]["relevance_score"]
    assert {result["document"]["text"] for result in ranking["results"]} == {"the sea is blue", "compose files"}
    assert len(one["results"]) == 1
    first, second = wait_until(lambda: len(gateway.events()) == 2 and gateway.events(), seconds=10)
    assert (first.path, first.outcome, first.source, first.output_tokens) == ("/v1/rerank", "completed", "engine", 0)
    assert first.input_tokens == second.input_tokens == ranking["usage"]["prompt_tokens"] > 0
