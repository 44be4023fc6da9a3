"""What is billed when a stream ends otherwise than well: each line of the rule, against a real gateway."""

import contextlib

import openai
import pytest

from tests.gateway.conftest import MODEL, ControlPlane, replica, script, wait_until_knows
from tests.gateway.fake_engine import PROMPT_TOKENS, FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_openai_client import ask
from tests.waiting import wait_until

WORDS = [f" w{number}" for number in range(20)]


def stream(client: openai.OpenAI, model: str = MODEL, **steps: object) -> tuple[list[str], Exception | None]:
    """The words that arrived and the error that ended them."""
    words: list[str] = []
    try:
        for chunk in client.chat.completions.create(model=model, messages=ask(script(**steps)), stream=True):
            words.extend(choice.delta.content for choice in chunk.choices if choice.delta.content)
    except (openai.APIError, openai.APIConnectionError) as error:
        return words, error
    return words, None


@pytest.mark.parametrize("fault", ["fin_first", "reset_first", "500", "no_http", "404"])
def test_an_engine_that_fails_before_its_first_token_costs_nothing(
    client: openai.OpenAI, gateway: GatewayProcess, fault: str
) -> None:
    words, error = stream(client, fault=fault)

    assert words == []
    assert isinstance(error, openai.InternalServerError) and error.status_code == 502
    event = gateway.only_event()
    assert (event.outcome, event.status, event.source) == ("engine_failed", 502, "none")
    assert (event.input_tokens, event.output_tokens) == (0, 0)


@pytest.mark.parametrize("fault", ["fin", "reset", "error_event", "huge", "bad_chunk"])
def test_an_engine_that_fails_in_the_middle_is_billed_for_what_was_delivered(
    client: openai.OpenAI, gateway: GatewayProcess, fault: str
) -> None:
    words, error = stream(client, say=WORDS, fault=fault, at=7)

    assert words == WORDS[:7]
    assert isinstance(error, openai.APIError) and "engine failed" in str(error)
    event = gateway.only_event()
    assert (event.outcome, event.status, event.source) == ("engine_failed", 200, "gateway")
    assert (event.input_tokens, event.output_tokens) == (PROMPT_TOKENS, 7)


@pytest.mark.parametrize("fault", ["no_json", "bad_utf8"])
def test_a_broken_frame_is_dropped_and_the_stream_goes_on(
    client: openai.OpenAI, gateway: GatewayProcess, fault: str
) -> None:
    words, error = stream(client, say=WORDS, fault=fault, at=7)

    assert (words, error) == (WORDS, None)
    assert (gateway.only_event().output_tokens, gateway.only_event().source) == (20, "engine")


@pytest.mark.parametrize(("fault", "billed", "source"), [("no_usage", 20, "gateway"), ("no_done", 20, "engine")])
def test_a_stream_without_its_last_frames_is_complete_when_http_says_so(
    client: openai.OpenAI, gateway: GatewayProcess, fault: str, billed: int, source: str
) -> None:
    words, error = stream(client, say=WORDS, fault=fault)

    assert (words, error) == (WORDS, None)
    event = gateway.only_event()
    assert (event.outcome, event.output_tokens, event.source) == ("completed", billed, source)


@pytest.mark.parametrize("fault", ["lie", "negative", "nan", "two_finals"])
def test_an_engine_that_claims_more_than_was_seen_is_billed_at_what_was_seen(
    client: openai.OpenAI, gateway: GatewayProcess, fault: str
) -> None:
    words, error = stream(client, say=WORDS, fault=fault)

    assert (words, error) == (WORDS, None)
    event = gateway.only_event()
    assert event.output_tokens == 20
    assert event.input_tokens == PROMPT_TOKENS


def test_an_engine_that_claims_less_than_was_seen_is_believed(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    stream(client, say=WORDS, claim=15)

    assert gateway.only_event().output_tokens == 15


def test_usage_in_the_chunk_with_the_finish_reason_counts_and_is_removed(
    client: openai.OpenAI, gateway: GatewayProcess
) -> None:
    steps = script(say=WORDS, usage_with_finish=True)

    chunks = list(client.chat.completions.create(model=MODEL, messages=ask(steps), stream=True))

    assert all(chunk.usage is None for chunk in chunks)
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert (gateway.only_event().output_tokens, gateway.only_event().source) == (20, "engine")


def test_frames_without_an_end_fail_without_a_bill(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    words, _ = stream(client, say=WORDS, fault="no_blank_line")

    assert words == []
    assert gateway.only_event().output_tokens == 0


def test_a_client_that_leaves_stops_the_engine_and_pays_for_what_was_delivered(
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
    assert (event.outcome, event.status, event.source) == ("client_gone", 200, "gateway")
    assert event.input_tokens == PROMPT_TOKENS
    assert 5 <= event.output_tokens <= engine.seen[0].sent < 100


def test_vllms_running_figure_is_billed_when_a_client_leaves(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine, control: ControlPlane, alices_key: str
) -> None:
    engine.shape = "vllm"
    control.put_route(name="harbour/vllm", engine="vllm", replicas=(replica(engine),))
    wait_until_knows(gateway, alices_key, "harbour/vllm")
    answer = client.chat.completions.create(
        model="harbour/vllm", messages=ask(script(say=WORDS * 50, delay=0.02)), stream=True
    )
    next(iter(answer))
    next(iter(answer))
    answer.close()

    event = gateway.only_event()
    assert (event.outcome, event.source) == ("client_gone", "engine_running")
    assert 1 <= event.output_tokens <= engine.seen[0].sent


def test_a_client_that_leaves_before_a_whole_answer_pays_nothing(
    gateway: GatewayProcess, engine: FakeEngine, alices_key: str
) -> None:
    body = b'{"model":"harbour/pilot","messages":[{"role":"user","content":"{\\"fault\\":\\"silence\\"}"}]}'
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alices_key}\r\n"
    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        wait_until(lambda: engine.seen, seconds=10)

    wait_until(lambda: engine.seen[0].is_cut, seconds=10, what="the engine to be stopped")
    event = gateway.only_event()
    assert (event.outcome, event.status, event.output_tokens) == ("client_gone", 499, 0)


def test_a_whole_answer_that_claims_more_than_was_allowed_is_billed_at_the_limit(
    client: openai.OpenAI, gateway: GatewayProcess
) -> None:
    client.chat.completions.create(model=MODEL, messages=ask(script(say=WORDS, fault="lie")), max_tokens=25)

    assert gateway.only_event().output_tokens == 25


@pytest.mark.parametrize(("fault", "status"), [("no_json", 502), ("500", 502), ("503", 503), ("429", 503)])
def test_a_whole_answer_that_cannot_be_used_costs_nothing(
    client: openai.OpenAI, gateway: GatewayProcess, fault: str, status: int
) -> None:
    with pytest.raises(openai.InternalServerError) as failed:
        client.chat.completions.create(model=MODEL, messages=ask(script(fault=fault)))

    assert failed.value.status_code == status
    assert (gateway.only_event().status, gateway.only_event().output_tokens) == (status, 0)


def test_an_engine_that_says_nothing_is_given_up(
    start_gateway, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway(MOORAGE_GATEWAY_ENGINE_SILENCE_SECONDS="0.5")
    wait_until_knows(gateway, alices_key, MODEL)

    with openai.OpenAI(base_url=f"{gateway.url}/v1", api_key=alices_key, max_retries=0) as client:
        words, error = stream(client, say=WORDS, fault="hang", at=3)

    assert words == WORDS[:3]
    assert isinstance(error, openai.APIError) and "in time" in str(error)
    assert (gateway.only_event().outcome, gateway.only_event().output_tokens) == ("engine_failed", 3)
    wait_until(lambda: engine.seen[0].is_cut, seconds=10)


def test_a_dead_replica_is_passed_over(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine, control: ControlPlane, alices_key: str
) -> None:
    dead = replica(engine, 7)
    dead = type(dead)(id="rep_7", socket=str(engine.path.with_name("gone.sock")))
    control.put_route(name="harbour/two", replicas=(dead, replica(engine)))
    control.put_route(name="harbour/none", replicas=(dead,))
    wait_until_knows(gateway, alices_key, "harbour/two", "harbour/none")

    answer = client.chat.completions.create(model="harbour/two", messages=ask("hello"))
    with pytest.raises(openai.InternalServerError, match="cannot be reached"):
        client.chat.completions.create(model="harbour/none", messages=ask("hello"))

    assert answer.choices[0].message.content == "Tied up well"
    assert [(event.replica_id, event.outcome) for event in gateway.events()] == [
        ("rep_1", "completed"),
        ("rep_7", "engine_failed"),
    ]


def test_a_connection_is_used_again_and_a_stale_one_is_replaced_unseen(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine
) -> None:
    for _ in range(3):
        client.chat.completions.create(model=MODEL, messages=ask("hello"))
    used = engine.connections
    engine.close_idle()
    answer = client.chat.completions.create(model=MODEL, messages=ask("hello"))

    assert used == 1
    assert answer.choices[0].message.content == "Tied up well"
    assert [event.outcome for event in gateway.events()] == ["completed"] * 4
