"""platform/moorage/metering/BILLING_RULE.md, line by line: the number in a test's name is the line's."""

import contextlib
import re
from pathlib import Path

import openai
import pytest

from moorage.metering.models import UsageEvent
from moorage.metering.shipper import Shipper
from moorage.wire import journal
from tests.gateway.conftest import MODEL, ControlPlane, Start, client_of, replica, script, wait_until_knows
from tests.gateway.fake_engine import CACHED_TOKENS, PROMPT_TOKENS, FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_billing_rules import WORDS, stream
from tests.gateway.test_openai_client import ask
from tests.waiting import wait_until

PAGE = Path(__file__).parents[2] / "platform" / "moorage" / "metering" / "BILLING_RULE.md"


def test_every_line_of_the_page_is_a_test_and_every_test_is_a_line() -> None:
    lines = [int(number) for number in re.findall(r"^(\d+)\. ", PAGE.read_text(), re.MULTILINE)]
    tested = {int(found[1]) for name in globals() if (found := re.match(r"test_line_(\d\d)_", name))}

    assert lines == list(range(1, len(lines) + 1))
    assert tested == set(lines)


@pytest.fixture
def vllm(
    gateway: GatewayProcess, client: openai.OpenAI, engine: FakeEngine, control: ControlPlane, alices_key: str
) -> str:
    """The name of a model whose engine gives running figures."""
    engine.shape = "vllm"
    control.put_route(name="harbour/vllm", engine="vllm", replicas=(replica(engine),))
    wait_until_knows(gateway, alices_key, "harbour/vllm")
    return "harbour/vllm"


# -- which figure


def test_line_01_the_engines_last_word_is_billed(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    words, _ = stream(client, say=WORDS)

    event = gateway.only_event()
    assert len(words) == event.output_tokens == 20
    assert (event.source, event.outcome, event.is_disputed) == ("engine", "completed", False)


def test_line_02_the_running_figure_is_billed_without_it(
    client: openai.OpenAI, gateway: GatewayProcess, vllm: str
) -> None:
    stream(client, model=vllm, say=WORDS, fault="fin", at=7)

    event = gateway.only_event()
    assert (event.output_tokens, event.source) == (7, "engine_running")


def test_line_03_the_gateways_count_is_billed_without_either(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    stream(client, say=WORDS, fault="fin", at=7)

    event = gateway.only_event()
    assert (event.output_tokens, event.source) == (7, "gateway")


def test_line_04_nobody_pays_for_more_than_was_delivered_and_the_event_is_disputed(
    client: openai.OpenAI, gateway: GatewayProcess
) -> None:
    stream(client, say=WORDS, fault="lie")

    event = gateway.only_event()
    assert (event.output_tokens, event.source, event.is_disputed) == (20, "engine", True)
    metrics = gateway.exchange(b"GET /-/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    assert re.search(rb"^moorage_gateway_usage_disagreements_total(\{.*\})? 1(\.0)?$", metrics, re.MULTILINE)


def test_line_05_an_engine_that_claims_less_is_believed(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    stream(client, say=WORDS, claim=15)

    assert gateway.only_event().output_tokens == 15


def test_line_06_of_two_last_figures_the_lower_one_is_billed(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    stream(client, say=WORDS, fault="two_finals")

    assert (gateway.only_event().output_tokens, gateway.only_event().is_disputed) == (20, True)


def test_line_07_a_running_figure_that_goes_backwards_is_not_believed(
    client: openai.OpenAI, gateway: GatewayProcess, vllm: str
) -> None:
    stream(client, model=vllm, say=WORDS, fault="decreasing")

    assert (gateway.only_event().output_tokens, gateway.only_event().is_disputed) == (20, True)


@pytest.mark.parametrize("fault", ["negative", "nan"])
def test_line_08_what_cannot_be_a_count_is_ignored(client: openai.OpenAI, gateway: GatewayProcess, fault: str) -> None:
    words, _ = stream(client, say=WORDS, fault=fault)

    assert len(words) == 20
    assert (gateway.only_event().output_tokens, gateway.only_event().source) == (20, "gateway")


def test_line_09_an_answer_in_one_piece_without_a_figure_costs_nothing(
    client: openai.OpenAI, gateway: GatewayProcess
) -> None:
    client.chat.completions.create(model=MODEL, messages=ask(script(say=WORDS, fault="no_usage")))

    event = gateway.only_event()
    assert (event.input_tokens, event.output_tokens, event.source, event.is_disputed) == (0, 0, "none", True)


def test_line_10_max_tokens_bound_the_bill(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    client.chat.completions.create(model=MODEL, messages=ask(script(say=WORDS, fault="lie")), max_tokens=25)

    assert (gateway.only_event().output_tokens, gateway.only_event().is_disputed) == (25, True)


@pytest.mark.parametrize("is_stream", [True, False])
def test_line_11_cached_tokens_are_part_of_the_input(
    client: openai.OpenAI, gateway: GatewayProcess, is_stream: bool
) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ask("hello"), stream=is_stream)
    if is_stream:
        list(answer)

    event = gateway.only_event()
    assert (event.input_tokens, event.cached_tokens) == (PROMPT_TOKENS, CACHED_TOKENS)


# -- what breaks


@pytest.mark.parametrize("is_stream", [True, False])
@pytest.mark.parametrize("fault", ["fin_first", "reset_first", "500", "no_http"])
def test_line_12_an_engine_that_fails_before_its_first_token_costs_nothing(
    client: openai.OpenAI, gateway: GatewayProcess, fault: str, is_stream: bool
) -> None:
    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(model=MODEL, messages=ask(script(fault=fault)), stream=is_stream)

    event = gateway.only_event()
    assert (event.outcome, event.input_tokens, event.output_tokens) == ("engine_failed", 0, 0)


@pytest.mark.parametrize("fault", ["fin", "reset", "error_event", "huge", "bad_chunk"])
def test_line_13_an_engine_that_fails_later_costs_what_was_delivered(
    client: openai.OpenAI, gateway: GatewayProcess, fault: str
) -> None:
    words, error = stream(client, say=WORDS, fault=fault, at=7)

    event = gateway.only_event()
    assert isinstance(error, openai.APIError)
    assert (event.outcome, event.input_tokens, event.output_tokens) == ("engine_failed", PROMPT_TOKENS, len(words))


def test_line_14_a_silent_engine_is_given_up(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway(MOORAGE_GATEWAY_ENGINE_SILENCE_SECONDS="0.5")
    wait_until_knows(gateway, alices_key, MODEL)

    with client_of(gateway, alices_key) as client:
        words, _ = stream(client, say=WORDS, fault="hang", at=3)

    event = gateway.only_event()
    assert (event.outcome, event.output_tokens) == ("engine_failed", len(words))


@pytest.mark.parametrize("fault", ["no_json", "bad_utf8"])
def test_line_15_what_is_not_valid_is_not_delivered_and_not_billed(
    client: openai.OpenAI, gateway: GatewayProcess, fault: str
) -> None:
    words, error = stream(client, say=WORDS, fault=fault, at=7)

    assert (words, error) == (WORDS, None)
    assert gateway.only_event().output_tokens == 20


def test_line_16_a_client_that_leaves_pays_what_was_delivered(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine
) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ask(script(say=WORDS * 50, delay=0.02)), stream=True)
    received = 0
    for chunk in answer:
        received += bool(chunk.choices[0].delta.content)
        if received == 5:
            break
    answer.close()

    wait_until(lambda: engine.seen[0].is_cut, seconds=10, what="the engine to be stopped")
    event = gateway.only_event()
    assert (event.outcome, event.input_tokens) == ("client_gone", PROMPT_TOKENS)
    assert 5 <= event.output_tokens <= engine.seen[0].sent < 100


def test_line_17_a_client_that_leaves_before_an_answer_in_one_piece_pays_nothing(
    gateway: GatewayProcess, engine: FakeEngine, alices_key: str
) -> None:
    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(request(alices_key, script(fault="silence")))
        wait_until(lambda: engine.seen, seconds=10)

    event = gateway.only_event()
    assert (event.outcome, event.input_tokens, event.output_tokens) == ("client_gone", 0, 0)


def test_line_18_a_client_that_stops_reading_is_cut_off_and_pays_what_was_handed_over(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway(MOORAGE_GATEWAY_STALL_SECONDS="1")
    wait_until_knows(gateway, alices_key, MODEL)
    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(request(alices_key, script(say=["word" * 8] * 200_000), stream=True))

        event = wait_until(gateway.events, seconds=30)[0]

    assert event.outcome == "client_gone"
    # 64 KiB in the gateway and what the kernel's buffers hold, of some 35 MB.
    assert 0 < event.output_tokens <= engine.seen[0].sent
    assert event.output_tokens < 100_000


def test_line_19_a_gateway_that_dies_leaves_its_last_checkpoint(
    gateway: GatewayProcess, client: openai.OpenAI, engine: FakeEngine
) -> None:
    answer = client.chat.completions.create(model=MODEL, messages=ask(script(say=WORDS * 50, delay=0.02)), stream=True)

    def checkpoints() -> list[journal.Progress]:
        found = [each for each in gateway.records() if isinstance(each, journal.Checkpoint)]
        return [stream for each in found for stream in each.streams]

    received = 0
    for chunk in answer:
        received += bool(chunk.choices[0].delta.content)
        if len(checkpoints()) == 2:
            break
    gateway.kill()
    with contextlib.suppress(openai.APIError, OSError):
        received += sum(bool(chunk.choices[0].delta.content) for chunk in answer)
    last = checkpoints()[-1]
    Shipper(directory=gateway.journal_dir).ship()

    event = UsageEvent.objects.get()
    assert (event.outcome, event.source, event.input_tokens) == ("gateway_lost", "gateway", PROMPT_TOKENS)
    assert event.output_tokens == last.output_tokens
    # At fifty tokens a second, and a machine that is late.
    assert received - 100 < event.output_tokens <= received <= engine.seen[0].sent


def test_line_20_a_gateway_that_dies_before_anything_was_delivered_bills_nothing(
    gateway: GatewayProcess, engine: FakeEngine, alices_key: str
) -> None:
    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(request(alices_key, script(fault="silence")))
        wait_until(lambda: engine.seen, seconds=10)
        gateway.kill()
    Shipper(directory=gateway.journal_dir).ship()

    event = UsageEvent.objects.get()
    assert (event.outcome, event.source, event.input_tokens, event.output_tokens) == ("gateway_lost", "none", 0, 0)


# -- what costs nothing


@pytest.mark.parametrize("fault", ["400", "429", "503"])
def test_line_21_a_refusal_costs_nothing(client: openai.OpenAI, gateway: GatewayProcess, fault: str) -> None:
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model=MODEL, messages=ask(script(fault=fault)))
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="harbour/unknown", messages=ask("hello"))

    event = gateway.only_event()
    assert (event.outcome, event.input_tokens, event.output_tokens) == ("refused", 0, 0)


def test_line_22_waiting_costs_nothing(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine, control: ControlPlane, alices_key: str
) -> None:
    control.put_route(name="harbour/asleep", status="idle", replicas=())
    wait_until_knows(gateway, alices_key, "harbour/asleep")

    with pytest.raises(openai.InternalServerError):
        client.chat.completions.create(
            model="harbour/asleep", messages=ask("hello"), extra_headers={"X-Moorage-Wait": "1"}
        )

    event = gateway.only_event()
    assert (event.outcome, event.status, event.input_tokens, event.output_tokens) == ("refused", 503, 0, 0)
    assert event.held_us >= 900_000
    assert engine.seen == []


def test_line_23_a_repeated_call_is_one_request_with_one_event(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine
) -> None:
    ids = {
        client.chat.completions.with_raw_response.create(
            model=MODEL, messages=ask("hello"), extra_headers={"Idempotency-Key": "the same"}
        ).headers["x-request-id"]
        for _ in range(3)
    }

    assert ids == {gateway.only_event().request_id}
    assert len(engine.seen) == 1


def test_line_24_without_a_place_for_usage_nothing_starts(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str, short_tmp: Path
) -> None:
    control.put_route(replicas=(replica(engine),))
    blocked = short_tmp / "blocked"
    blocked.write_text("a file where the directory should be")
    gateway = start_gateway(MOORAGE_JOURNAL_DIR=str(blocked))
    wait_until_knows(gateway, alices_key, MODEL)

    with client_of(gateway, alices_key) as client, pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model=MODEL, messages=ask("hello"))

    assert (refused.value.status_code, refused.value.code) == (503, "journal_unavailable")
    assert engine.seen == []


def request(key: str, content: str, **members: object) -> bytes:
    """A request as bytes, for clients that misbehave."""
    body = script(model=MODEL, messages=ask(content), **members)
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()
