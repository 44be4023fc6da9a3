"""What Anthropic's official client sees: messages, counting and models, streamed and not, and its errors."""

from collections.abc import Iterator

import anthropic
import httpx
import pytest

from tests.gateway.conftest import MODEL, ControlPlane, replica, script, wait_until_knows
from tests.gateway.fake_engine import CACHED_TOKENS, PROMPT_TOKENS, FakeEngine
from tests.gateway.gateway_process import GatewayProcess


def messages(content: str) -> list:
    return [{"role": "user", "content": content}]


def claude_of(gateway: GatewayProcess, key: str) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=gateway.url, api_key=key, max_retries=0, timeout=30)


@pytest.fixture
def claude(gateway: GatewayProcess, alices_key: str) -> Iterator[anthropic.Anthropic]:
    """The official client with Alice's key, which it sends as ``x-api-key``."""
    with claude_of(gateway, alices_key) as client:
        yield client


def test_a_message_is_answered_and_leaves_one_usage_event(
    claude: anthropic.Anthropic, gateway: GatewayProcess, engine: FakeEngine
) -> None:
    raw = claude.messages.with_raw_response.create(model=MODEL, max_tokens=64, messages=messages("Where do we lie?"))
    answer = raw.parse()

    assert [block.text for block in answer.content] == ["Tied up well"]
    assert (answer.type, answer.role, answer.model, answer.stop_reason) == ("message", "assistant", MODEL, "end_turn")
    assert (answer.usage.input_tokens, answer.usage.cache_read_input_tokens, answer.usage.output_tokens) == (
        *(PROMPT_TOKENS - CACHED_TOKENS, CACHED_TOKENS, 3),
    )
    event = gateway.event(raw.headers["x-request-id"])
    assert answer._request_id == event.request_id
    assert (event.path, event.outcome, event.status, event.source) == ("/v1/messages", "completed", 200, "engine")
    assert (event.input_tokens, event.cached_tokens, event.output_tokens) == (PROMPT_TOKENS, CACHED_TOKENS, 3)
    assert engine.seen[0].path == "/v1/chat/completions"


@pytest.mark.parametrize("shape", ["llamacpp", "vllm"])
def test_a_stream_is_accumulated_by_the_client_and_billed_once(
    claude: anthropic.Anthropic,
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
    asked = messages(script(say=["Gr", "ü", "ße", " 🌊"], split=True, crlf=True))

    with claude.messages.stream(model=name, max_tokens=64, messages=asked) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()

    assert text == "Grüße 🌊"
    assert (message.stop_reason, message.usage.output_tokens) == ("end_turn", 4)
    event = gateway.only_event()
    assert (event.outcome, event.source, event.is_stream) == ("completed", "engine", True)
    assert (event.input_tokens, event.cached_tokens, event.output_tokens) == (PROMPT_TOKENS, CACHED_TOKENS, 4)


def test_a_client_that_leaves_pays_for_what_it_got(claude: anthropic.Anthropic, gateway: GatewayProcess) -> None:
    asked = messages(script(say=["word "] * 400, delay=0.01))

    with claude.messages.create(model=MODEL, max_tokens=1000, messages=asked, stream=True) as stream:
        for event in stream:
            if event.type == "content_block_delta":
                break

    event = gateway.only_event()
    assert (event.outcome, event.source, event.input_tokens) == ("client_gone", "gateway", PROMPT_TOKENS)
    assert 0 < event.output_tokens < 400


def test_an_engine_that_breaks_off_is_an_error_of_the_client(
    claude: anthropic.Anthropic, gateway: GatewayProcess
) -> None:
    asked = messages(script(say=["a", "b", "c"], fault="fin", at=2))

    with (
        pytest.raises(anthropic.APIStatusError, match="engine failed"),
        claude.messages.create(model=MODEL, max_tokens=64, messages=asked, stream=True) as stream,
    ):
        list(stream)

    event = gateway.only_event()
    assert (event.outcome, event.output_tokens) == ("engine_failed", 2)


def test_errors_are_those_that_the_client_knows(
    claude: anthropic.Anthropic, gateway: GatewayProcess, alices_key: str
) -> None:
    with pytest.raises(anthropic.NotFoundError) as unknown:
        claude.messages.create(model="harbour/ghost", max_tokens=64, messages=messages("hi"))
    with pytest.raises(anthropic.BadRequestError, match=r"tools\[0\].type: must be") as wrong:
        claude.messages.create(
            model=MODEL,
            max_tokens=64,
            messages=messages("hi"),
            tools=[{"type": "web_search_20250305", "name": "web_search"}],
        )
    with pytest.raises(anthropic.BadRequestError, match="too long by far"):
        claude.messages.create(model=MODEL, max_tokens=64, messages=messages(script(fault="400")))
    with claude_of(gateway, "mk_live_" + "0" * 39) as stranger, pytest.raises(anthropic.AuthenticationError) as refused:
        stranger.messages.create(model=MODEL, max_tokens=64, messages=messages("hi"))

    for error, kind in (
        (unknown, "not_found_error"),
        (wrong, "invalid_request_error"),
        (refused, "authentication_error"),
    ):
        body = error.value.body
        assert isinstance(body, dict)
        assert (body["type"], body["error"]["type"]) == ("error", kind)
        assert body["request_id"] == error.value.response.headers["x-request-id"]


def test_the_key_may_come_as_bearer_too_but_two_keys_are_refused(gateway: GatewayProcess, alices_key: str) -> None:
    asked = {"model": MODEL, "max_tokens": 8, "messages": messages("hi")}

    def status(headers: dict[str, str]) -> int:
        return httpx.post(f"{gateway.url}/v1/messages", json=asked, headers=headers).status_code

    assert status({"Authorization": f"Bearer {alices_key}"}) == 200
    assert status({"X-Api-Key": alices_key, "Authorization": f"Bearer {alices_key}"}) == 200
    assert status({"X-Api-Key": alices_key, "Authorization": "Bearer mk_live_" + "0" * 39}) == 400
    assert status({"X-Api-Key": f"Bearer {alices_key}"}) == 401
    assert status({}) == 401
    head = f"POST /v1/messages HTTP/1.1\r\nHost: x\r\nX-Api-Key: {alices_key}\r\nX-Api-Key: {alices_key}\r\n\r\n"
    assert b"The header x-api-key came twice." in gateway.exchange(head.encode())


@pytest.mark.parametrize("shape", ["llamacpp", "vllm"])
def test_tokens_are_counted_and_not_billed(
    claude: anthropic.Anthropic,
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

    counted = claude.messages.count_tokens(model=name, system="Be brief.", messages=messages("Where do we lie?"))

    assert counted.input_tokens == PROMPT_TOKENS
    expected = {"llamacpp": "/v1/chat/completions/input_tokens", "vllm": "/tokenize"}[shape]
    assert engine.seen[0].path == expected
    event = gateway.only_event()
    assert (event.path, event.outcome, event.source) == ("/v1/messages/count_tokens", "completed", "none")
    assert (event.input_tokens, event.output_tokens) == (0, 0)


def test_models_are_listed_in_anthropics_shape(claude: anthropic.Anthropic) -> None:
    listed = list(claude.models.list())
    one = claude.models.retrieve(MODEL)

    assert [model.id for model in listed] == [MODEL]
    assert (one.type, one.display_name, one.lifecycle) == ("model", MODEL, "active")
    assert (one.max_input_tokens, one.max_tokens) == (4096, 4096)
    assert one.created_at.timestamp() == 1_700_000_000
    assert one.capabilities is not None
    assert not one.capabilities.image_input.supported
    assert one.capabilities.structured_outputs.supported
