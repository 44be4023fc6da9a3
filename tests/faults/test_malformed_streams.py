"""Engines that write nonsense: the gateway lives, and the bill is the lower of the counts."""

import openai
import pytest

from tests.gateway.conftest import MODEL, ControlPlane, replica, script, wait_until_knows
from tests.gateway.fake_engine import PROMPT_TOKENS, FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_billing_rules import WORDS, stream
from tests.gateway.test_openai_client import ask

#: The fault; what reaches the client; what is billed, and by whose count; whether an administrator hears of it.
MALFORMED = {
    "no blank line": ("no_blank_line", 0, 0, "none", False),
    "a line of 10 MiB": ("huge", 7, 7, "gateway", False),
    "invalid UTF-8": ("bad_utf8", 20, 20, "engine", False),
    "no JSON": ("no_json", 20, 20, "engine", False),
    "not a number": ("nan", 20, 20, "gateway", False),
    "negative usage": ("negative", 20, 20, "gateway", True),
    "two last figures": ("two_finals", 20, 20, "engine", True),
    "far more than was said": ("lie", 20, 20, "engine", True),
    "no [DONE]": ("no_done", 20, 20, "engine", False),
    "no usage": ("no_usage", 20, 20, "gateway", False),
    "nonsense for a chunk": ("bad_chunk", 7, 7, "gateway", False),
    "cut between chunks": ("fin", 7, 7, "gateway", False),
    "reset": ("reset", 7, 7, "gateway", False),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_a_malformed_stream_is_billed_at_the_lower_count_and_the_next_request_is_served(
    client: openai.OpenAI, gateway: GatewayProcess, name: str
) -> None:
    fault, delivered, billed, source, is_disputed = MALFORMED[name]

    words, _ = stream(client, say=WORDS, fault=fault, at=7 if delivered == 7 else 20)
    after = client.chat.completions.create(model=MODEL, messages=ask("hello"))

    event, _ = gateway.events()
    assert len(words) == delivered
    assert (event.output_tokens, event.source, event.is_disputed) == (billed, source, is_disputed)
    assert event.input_tokens in {0, PROMPT_TOKENS}
    assert after.choices[0].message.content == "Tied up well"
    assert gateway.process.poll() is None


def test_running_usage_that_decreases_is_disputed(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine, control: ControlPlane, alices_key: str
) -> None:
    engine.shape = "vllm"
    control.put_route(name="harbour/vllm", engine="vllm", replicas=(replica(engine),))
    wait_until_knows(gateway, alices_key, "harbour/vllm")

    words, _ = stream(client, model="harbour/vllm", say=WORDS, fault="decreasing")

    assert len(words) == 20
    assert (gateway.only_event().output_tokens, gateway.only_event().is_disputed) == (20, True)


@pytest.mark.parametrize("crlf", [False, True])
def test_a_stream_one_byte_at_a_time_is_the_same_stream(
    client: openai.OpenAI, gateway: GatewayProcess, crlf: bool
) -> None:
    steps = script(say=WORDS, split=True, crlf=crlf)

    chunks = list(client.chat.completions.create(model=MODEL, messages=ask(steps), stream=True))

    assert [
        chunk.choices[0].delta.content for chunk in chunks if chunk.choices and chunk.choices[0].delta.content
    ] == WORDS
    assert (gateway.only_event().output_tokens, gateway.only_event().source) == (20, "engine")
