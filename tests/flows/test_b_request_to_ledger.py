"""Flow B: a request is answered, measured, priced to the pico, posted to the ledger, and stands on the statement."""

import csv
import io
from typing import Any

import pytest
from openai import AuthenticationError, BadRequestError, NotFoundError, OpenAI, PermissionDeniedError

from moorage.accounts.models import ApiKey, Scope
from moorage.billing.models import LedgerEntry, Price, RatedUsage
from moorage.metering.models import UsageEvent
from tests.cast import Cast
from tests.flows.stack import Stack
from tests.flows.test_a_compose_to_ready import COMPOSE
from tests.waiting import wait_until

CANARY = "the-canary-sings-a4f81c"


@pytest.fixture(scope="module")
def secret(committed_cast: Cast, stack: Stack) -> str:
    """A key of Alice's, with a deployment that is ready."""
    made = committed_cast.alice.key()
    with stack.api(made) as api:
        put = api.put("/deployments/demo", params={"wait": "ready"}, content=COMPOSE)
        assert put.status_code == 200, put.text
    return made


def event_of(request_id: str) -> UsageEvent:
    """The usage event of one request, once it has been shipped."""
    return wait_until(lambda: UsageEvent.objects.filter(pk=request_id).first(), seconds=20, what="a usage event")


def test_every_token_is_measured_priced_and_posted(secret: str, stack: Stack) -> None:
    client = stack.openai(secret)
    whole = client.chat.completions.with_raw_response.create(
        model="demo/llm", messages=[{"role": "user", "content": CANARY}], max_tokens=16
    )
    usage = whole.parse().usage
    assert usage is not None
    with client.chat.completions.with_streaming_response.create(
        model="demo/llm", messages=[{"role": "user", "content": "What is a moorage?"}], max_tokens=16, stream=True
    ) as streamed:
        streamed_id = streamed.headers["x-request-id"]
        chunks = [line for line in streamed.iter_lines() if line.startswith("data:")]
    assert not any('"usage"' in chunk for chunk in chunks), "the client did not ask for usage"

    event = event_of(whole.headers["x-request-id"])
    stream_event = event_of(streamed_id)

    assert (event.input_tokens, event.output_tokens) == (usage.prompt_tokens, usage.completion_tokens)
    assert (event.source, event.outcome, event.status) == ("engine", "completed", 200)
    assert stream_event.is_stream
    assert 1 <= stream_event.output_tokens <= 16

    rated = wait_until(lambda: list(RatedUsage.objects.filter(source_id=event.pk)), seconds=20, what="the priced usage")
    for line in rated:
        assert line.amount_pico == line.quantity * Price.objects.get(pk=line.price_id).pico_per_unit
    assert sum(line.quantity for line in rated) == event.input_tokens + event.output_tokens
    assert sum(LedgerEntry.objects.values_list("amount_pico", flat=True)) == 0
    assert LedgerEntry.objects.exists()

    with stack.api(secret) as api:
        shown = api.get(f"/usage/requests/{event.pk}").json()
        assert shown["output_tokens"] == event.output_tokens

        def stands_on_statement() -> bool:
            lines = api.get("/statement").json()["lines"]
            output = [line for line in lines if line["meter"] == "output_tokens"]
            return sum(line["quantity"] for line in output) == event.output_tokens + stream_event.output_tokens

        wait_until(stands_on_statement, seconds=20, what="both requests on the statement")
        rows = list(csv.DictReader(io.StringIO(api.get("/statement", params={"format": "csv"}).text)))
        assert any(row["meter"] == "output_tokens" for row in rows)

    for path in [*stack.home.rglob("*.log"), *stack.home.joinpath("journal").rglob("*")]:
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes(), f"a prompt stands in {path}"


def test_a_stream_that_its_client_leaves_is_billed_for_what_was_sent(secret: str, stack: Stack) -> None:
    client = stack.openai(secret)

    with client.completions.with_streaming_response.create(
        model="demo/llm", prompt="The sea", max_tokens=400, stream=True
    ) as response:
        request_id = response.headers["x-request-id"]
        seen = 0
        for line in response.iter_lines():
            seen += line.startswith("data:")
            if seen == 2:
                break

    event = event_of(request_id)
    assert event.outcome in {"client_gone", "completed"}
    assert 0 < event.output_tokens <= 400
    assert event.source in {"engine", "engine_running", "gateway"}


def test_what_is_wrong_is_said_in_one_sentence_and_not_billed(secret: str, committed_cast: Cast, stack: Stack) -> None:
    charged = committed_cast.alice.key(Scope.INFERENCE, name="charged for nothing")
    good = stack.openai(charged)
    wait_until(lambda: _is_accepted(good), seconds=5, what="the new key to be known")
    message: Any = [{"role": "user", "content": "Hello"}]

    with pytest.raises(NotFoundError) as unknown:
        good.chat.completions.create(model="demo/none", messages=message)
    with pytest.raises(BadRequestError) as field:
        good.chat.completions.create(model="demo/llm", messages=message, extra_body={"harbour_master": 1})
    with pytest.raises(AuthenticationError) as wrong:
        stack.openai("mk_live_" + "0" * 39).models.list()
    manage_only = committed_cast.alice.key(Scope.MANAGE, name="manage only")
    managing = stack.openai(manage_only)
    wait_until(lambda: _is_accepted(managing), seconds=5, what="the managing key to be known")
    with pytest.raises(PermissionDeniedError):
        managing.chat.completions.create(model="demo/llm", messages=message)

    for refusal in (unknown, field, wrong):
        body = refusal.value.body
        assert isinstance(body, dict)
        assert str(body["message"]).endswith(".")
        assert body["code"]
    assert not UsageEvent.objects.filter(key_id=ApiKey.objects.get(name="charged for nothing").pk, output_tokens__gt=0)


def test_a_revoked_key_is_refused_within_a_second(secret: str, stack: Stack) -> None:
    with stack.api(secret) as api:
        made = api.post("/keys", json={"name": "short-lived", "scopes": ["inference"]}).json()
        client = stack.openai(made["secret"])
        wait_until(lambda: _is_accepted(client), seconds=5, what="the new key to be known")

        assert api.delete(f"/keys/{made['id']}").status_code in {200, 204}

        wait_until(lambda: not _is_accepted(client), seconds=1, what="the revoked key to be refused")


def _is_accepted(client: OpenAI) -> bool:
    """Whether the gateway knows the client's key, whatever it may do with it."""
    try:
        client.models.list()
    except AuthenticationError:
        return False
    except PermissionDeniedError:
        return True
    return True


def test_an_embedding_is_answered_and_its_input_is_measured(secret: str, stack: Stack) -> None:
    compose = """
models:
  vec:
    model: catalog/harbour:q8_0
    context_size: 256
    runtime_flags: ["--embeddings", "--pooling mean"]
"""
    with stack.api(secret) as api:
        put = api.put("/deployments/vectors", params={"wait": "ready"}, content=compose)
        assert put.status_code == 200, put.text

    answer = stack.openai(secret).embeddings.with_raw_response.create(
        model="vectors/vec", input=["the sea", "a ship"], encoding_format="float"
    )

    vectors = answer.parse()
    assert len(vectors.data) == 2 and len(vectors.data[0].embedding) > 100
    event = event_of(answer.headers["x-request-id"])
    assert (event.input_tokens, event.output_tokens) == (vectors.usage.prompt_tokens, 0)
    assert event.source == "engine"
