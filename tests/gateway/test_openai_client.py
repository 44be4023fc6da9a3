"""What the official client sees: chat, completions, embeddings and models, streamed and not."""

import openai
import pytest

from tests.gateway.conftest import MODEL, ControlPlane, client_of, replica, script, wait_until_knows
from tests.gateway.fake_engine import CACHED_TOKENS, PROMPT_TOKENS, FakeEngine
from tests.gateway.gateway_process import GatewayProcess


def ask(content: str) -> list:
    return [{"role": "user", "content": content}]


def test_a_chat_completion_is_answered_and_leaves_one_usage_event(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine
) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=ask("Where do we lie?"))
    answer = raw.parse()

    assert answer.choices[0].message.content == "Tied up well"
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (PROMPT_TOKENS, 3)
    event = gateway.event(raw.headers["x-request-id"])
    assert (event.outcome, event.status, event.source) == ("completed", 200, "engine")
    assert (event.input_tokens, event.cached_tokens, event.output_tokens) == (PROMPT_TOKENS, CACHED_TOKENS, 3)
    assert (event.replica_id, event.served_name, event.path) == ("rep_1", MODEL, "/v1/chat/completions")
    assert event.started_at_us <= event.ended_at_us
    assert engine.seen[0].headers["x-request-id"] == event.request_id


def test_the_engines_private_members_do_not_reach_the_client(client: openai.OpenAI, engine: FakeEngine) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=ask("hello"))

    assert engine.shape == "llamacpp"
    assert "timings" not in raw.text
    assert not {"server", "access-control-allow-origin"} & set(raw.headers)


def test_a_stream_comes_without_the_usage_that_nobody_asked_for(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=ask("hello"), stream=True)
    chunks = list(raw.parse())

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Tied up well"
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)
    assert all("timings" not in chunk.model_extra and "prompt_progress" not in chunk.model_extra for chunk in chunks)
    event = gateway.event(raw.headers["x-request-id"])
    assert (event.outcome, event.source, event.is_stream) == ("completed", "engine", True)
    assert (event.input_tokens, event.output_tokens) == (PROMPT_TOKENS, 3)
    assert event.first_token_at_us is not None and event.first_token_at_us <= event.ended_at_us


def test_a_stream_ends_with_usage_when_it_was_asked_for(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=ask("hello"), stream=True, stream_options={"include_usage": True}
    )

    *chunks, last = list(stream)

    assert last.choices == []
    assert last.usage is not None and last.usage.completion_tokens == 3
    assert "timings" not in (last.model_extra or {})
    assert all(chunk.usage is None for chunk in chunks)


@pytest.mark.parametrize("is_asked", [False, True])
def test_vllms_running_usage_is_forced_and_removed_again(
    client: openai.OpenAI,
    gateway: GatewayProcess,
    engine: FakeEngine,
    control: ControlPlane,
    alices_key: str,
    is_asked: bool,
) -> None:
    engine.shape = "vllm"
    control.put_route(name="harbour/vllm", engine="vllm", replicas=(replica(engine),))
    wait_until_knows(gateway, alices_key, "harbour/vllm")
    options = {"stream_options": {"include_usage": True}} if is_asked else {}

    chunks = list(client.chat.completions.create(model="harbour/vllm", messages=ask("hi"), stream=True, **options))

    assert engine.seen[0].body["stream_options"] == {"include_usage": True, "continuous_usage_stats": True}
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [is_asked]
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices) == "Tied up well"
    assert gateway.only_event().output_tokens == 3


def test_a_frame_cut_into_single_bytes_arrives_whole(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    said = script(say=["Gr", "ü", "ße", " 🌊"], split=True, crlf=True)

    chunks = list(client.chat.completions.create(model=MODEL, messages=ask(said), stream=True))

    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "Grüße 🌊"
    assert gateway.only_event().output_tokens == 4


def test_completions_are_answered_streamed_and_not(client: openai.OpenAI, gateway: GatewayProcess) -> None:
    whole = client.completions.create(model=MODEL, prompt="The tide", max_tokens=8)
    streamed = list(client.completions.create(model=MODEL, prompt="The tide", stream=True))

    assert whole.choices[0].text == "Tied up well"
    assert "".join(chunk.choices[0].text for chunk in streamed) == "Tied up well"
    assert [event.output_tokens for event in gateway.events()] == [3, 3]


def test_embeddings_are_answered_by_an_embedding_model_alone(
    client: openai.OpenAI, gateway: GatewayProcess, engine: FakeEngine, control: ControlPlane, alices_key: str
) -> None:
    control.put_route(name="harbour/chart", kind="embedding", replicas=(replica(engine),))
    wait_until_knows(gateway, alices_key, "harbour/chart")

    answer = client.embeddings.create(model="harbour/chart", input="rock", encoding_format="float")
    with pytest.raises(openai.BadRequestError, match="cannot be called at /v1/embeddings"):
        client.embeddings.create(model=MODEL, input="rock")

    assert answer.data[0].embedding == [0.5, -0.25]
    event = gateway.only_event()
    assert (event.input_tokens, event.output_tokens, event.source) == (PROMPT_TOKENS, 0, "engine")


def test_models_lists_only_the_organizations_own(
    client: openai.OpenAI, gateway: GatewayProcess, control: ControlPlane, committed_cast, alices_key: str
) -> None:
    island = committed_cast.charlie.organization
    control.put_route(organization=island, name="island/parrot", status="idle")
    charlies_key = committed_cast.charlie.key()
    wait_until_knows(gateway, charlies_key, "island/parrot")

    mine = [model.id for model in client.models.list()]
    one = client.models.retrieve(MODEL)

    assert mine == [MODEL]
    assert (one.id, one.object, one.created) == (MODEL, "model", 1_700_000_000)
    with client_of(gateway, charlies_key) as charlie:
        for ask_for_it in (
            lambda: charlie.models.retrieve(MODEL),
            lambda: charlie.chat.completions.create(model=MODEL, messages=ask("hello")),
        ):
            with pytest.raises(openai.NotFoundError) as refused:
                ask_for_it()
            assert refused.value.code == "model_not_found"
    assert gateway.events() == []


def test_a_reply_of_the_engine_that_refuses_is_passed_on_in_openais_shape(
    client: openai.OpenAI, gateway: GatewayProcess
) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.chat.completions.create(model=MODEL, messages=ask(script(fault="400")), stream=True)

    assert refused.value.code == "engine_refused"
    assert "too long by far" in refused.value.message
    event = gateway.only_event()
    assert (event.outcome, event.status, event.input_tokens, event.output_tokens) == ("refused", 400, 0, 0)


def test_the_engine_gets_built_fields_and_no_header_of_the_clients(client: openai.OpenAI, engine: FakeEngine) -> None:
    client.chat.completions.create(
        model=MODEL,
        messages=ask("hello"),
        temperature=0.5,
        user="alice",
        extra_body={"n_discard": -1, "cache_salt": "mine", "id_slot": 0},
        extra_headers={"X-Forwarded-For": "10.0.0.1", "X-Tenant": "other"},
    )

    seen = engine.seen[0]
    assert seen.body == {"model": MODEL, "messages": ask("hello"), "temperature": 0.5}
    assert set(seen.headers) == {"host", "content-type", "x-request-id", "content-length"}
