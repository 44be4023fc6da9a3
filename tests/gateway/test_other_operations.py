"""Responses, ranking and tokens, as their clients see them."""

import httpx
import openai
import pytest

from tests.gateway.conftest import MODEL, ControlPlane, replica, script, wait_until_knows
from tests.gateway.fake_engine import CACHED_TOKENS, PROMPT_TOKENS, FakeEngine
from tests.gateway.gateway_process import GatewayProcess


def test_a_response_is_answered_and_leaves_one_usage_event(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine
) -> None:
    raw = client.responses.with_raw_response.create(model=MODEL, input="Where do we lie?", instructions="Be brief.")
    answer = raw.parse()

    assert (answer.output_text, answer.status, answer.model) == ("Tied up well", "completed", MODEL)
    assert answer.usage is not None
    assert (answer.usage.input_tokens, answer.usage.output_tokens) == (PROMPT_TOKENS, 3)
    event = gateway.event(raw.headers["x-request-id"])
    assert (event.path, event.outcome, event.status, event.source) == ("/v1/responses", "completed", 200, "engine")
    assert (event.input_tokens, event.cached_tokens, event.output_tokens) == (PROMPT_TOKENS, CACHED_TOKENS, 3)
    assert engine.seen[0].path == "/v1/chat/completions"
    assert [message["role"] for message in engine.seen[0].body["messages"]] == ["system", "user"]


@pytest.mark.parametrize("shape", ["llamacpp", "vllm"])
def test_a_stream_is_accumulated_by_the_client_and_billed_once(
    client: openai.OpenAI,
    gateway: GatewayProcess,
    engine: FakeEngine,
    control: ControlPlane,
    alices_key: str,
    shape: str,
) -> None:
    engine.shape = shape
    name = f"harbour/{shape}"
    control.put_route(name=name, engine=shape, replicas=(replica(engine),))
    wait_until_knows(gateway, alices_key, name)
    asked = [{"role": "user", "content": script(say=["Gr", "ü", "ße", " 🌊"], split=True, crlf=True)}]

    with client.responses.stream(model=name, input=asked) as stream:  # type: ignore[arg-type]
        kinds = [event.type for event in stream]
        final = stream.get_final_response()

    assert (kinds[0], kinds[-1]) == ("response.created", "response.completed")
    assert final.output_text == "Grüße 🌊"
    assert final.usage is not None and final.usage.output_tokens == 4
    event = gateway.only_event()
    assert (event.outcome, event.source, event.is_stream) == ("completed", "engine", True)
    assert (event.input_tokens, event.cached_tokens, event.output_tokens) == (PROMPT_TOKENS, CACHED_TOKENS, 4)


def test_the_last_event_waits_for_the_journal_and_an_engine_that_breaks_off_is_an_error(
    client: openai.OpenAI, gateway: GatewayProcess
) -> None:
    asked = [{"role": "user", "content": script(say=["a", "b", "c"], fault="fin", at=2)}]

    with pytest.raises(openai.APIError, match="engine failed"):
        for event in client.responses.create(model=MODEL, input=asked, stream=True):  # type: ignore[call-overload]
            assert event.type != "response.completed"

    event = gateway.only_event()
    assert (event.outcome, event.output_tokens) == ("engine_failed", 2)


def test_memory_is_refused_in_a_sentence(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    with pytest.raises(openai.BadRequestError, match="nothing is stored between requests") as refused:
        client.responses.create(model=MODEL, input="hi", previous_response_id="resp_1")

    assert refused.value.param == "previous_response_id"
    assert gateway.events() == []


def test_documents_are_ranked_and_billed_by_the_engines_figure(
    gateway: GatewayProcess, engine: FakeEngine, control: ControlPlane, alices_key: str
) -> None:
    control.put_route(name="harbour/ranker", kind="rerank", replicas=(replica(engine),))
    wait_until_knows(gateway, alices_key, "harbour/ranker")
    headers = {"Authorization": f"Bearer {alices_key}"}
    asked = {"query": "sea", "documents": ["a", "b", "c"], "top_n": 2, "return_documents": True}

    answer = httpx.post(f"{gateway.url}/v1/rerank", json={"model": "harbour/ranker", **asked}, headers=headers)
    refused = httpx.post(f"{gateway.url}/v1/rerank", json={"model": MODEL, **asked}, headers=headers)

    assert [result["document"]["text"] for result in answer.json()["results"]] == ["c", "b"]
    event = gateway.event(answer.headers["x-request-id"])
    assert (event.path, event.outcome, event.source) == ("/v1/rerank", "completed", "engine")
    assert (event.input_tokens, event.output_tokens) == (PROMPT_TOKENS, 0)
    assert refused.status_code == 400
    assert "generates text and cannot be called at /v1/rerank" in refused.json()["error"]["message"]


@pytest.mark.parametrize("shape", ["llamacpp", "vllm"])
def test_a_text_becomes_tokens_and_text_again_for_nothing(
    gateway: GatewayProcess, engine: FakeEngine, control: ControlPlane, alices_key: str, shape: str
) -> None:
    engine.shape = shape
    name = f"harbour/{shape}"
    control.put_route(name=name, engine=shape, replicas=(replica(engine),))
    wait_until_knows(gateway, alices_key, name)
    headers = {"Authorization": f"Bearer {alices_key}"}

    tokens = httpx.post(f"{gateway.url}/v1/tokenize", json={"model": name, "prompt": "ahoy"}, headers=headers).json()
    text = httpx.post(
        f"{gateway.url}/v1/detokenize", json={"model": name, "tokens": tokens["tokens"]}, headers=headers
    ).json()

    assert tokens == {"model": name, "count": 4, "max_model_len": 4096, "tokens": [97, 104, 111, 121]}
    assert text == {"model": name, "prompt": "ahoy"}
    assert [seen.path for seen in engine.seen] == ["/tokenize", "/detokenize"]
    for event in gateway.events():
        assert (event.outcome, event.source, event.input_tokens, event.output_tokens) == ("completed", "none", 0, 0)


@pytest.mark.parametrize(
    ("values", "endpoints", "can"),
    [
        (
            {"kind": "chat", "engine": "llamacpp"},
            "chat/completions completions responses messages messages/count_tokens tokenize detokenize",
            {"streaming", "tools", "structured_outputs"},
        ),
        (
            {"kind": "chat", "engine": "vllm", "has_tools": False},
            "chat/completions completions responses messages messages/count_tokens tokenize detokenize",
            {"streaming", "structured_outputs"},
        ),
        (
            {"kind": "chat", "engine": "vllm", "has_chat_template": False},
            "completions tokenize detokenize",
            {"streaming"},
        ),
        ({"kind": "embedding", "engine": "llamacpp"}, "embeddings tokenize detokenize", set()),
        ({"kind": "embedding", "engine": "vllm"}, "embeddings rerank tokenize detokenize", set()),
        ({"kind": "rerank", "engine": "llamacpp"}, "rerank tokenize detokenize", set()),
    ],
)
def test_a_model_says_where_it_can_be_called_and_what_it_can_do(
    client: openai.OpenAI,
    gateway: GatewayProcess,
    control: ControlPlane,
    alices_key: str,
    values: dict[str, object],
    endpoints: str,
    can: set[str],
) -> None:
    control.put_route(name="harbour/other", status="idle", **values)
    wait_until_knows(gateway, alices_key, "harbour/other")

    one = client.models.retrieve("harbour/other").to_dict()

    assert set(one["endpoints"]) == {f"/v1/{path}" for path in endpoints.split()}  # type: ignore[attr-defined]
    assert (one["kind"], one["engine"], one["context_size"], one["status"]) == (
        *(values["kind"], values["engine"], 4096, "idle"),
    )
    capabilities = one["capabilities"]
    assert {name for name in ("streaming", "tools", "structured_outputs") if capabilities[name]["supported"]} == can  # type: ignore[index]
    if not can & {"tools"} and values["kind"] == "chat":
        asked = {"model": "harbour/other", "messages": [{"role": "user", "content": "hi"}]}
        with pytest.raises(openai.BadRequestError, match=r"tools|chat template"):
            client.chat.completions.create(
                **asked,  # type: ignore[call-overload]
                tools=[{"type": "function", "function": {"name": "f"}}],
            )
