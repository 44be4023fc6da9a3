"""``Idempotency-Key`` from outside: a call that is repeated is answered once, billed once, and bears one request id."""

import contextlib
import socket
from collections.abc import Iterator

import httpx
import psycopg
import pytest

from moorage.metering.shipper import Shipper
from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, script, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until

CHAT = "/v1/chat/completions"
ONCE = {"Idempotency-Key": '"8e03978e-40d5-43e8-bc93-6894a57f9324"'}


@pytest.fixture
def caller(gateway: GatewayProcess, alices_key: str) -> Iterator[httpx.Client]:
    with calling(gateway, alices_key) as caller:
        yield caller


def calling(gateway: GatewayProcess, key: str) -> httpx.Client:
    return httpx.Client(base_url=gateway.url, headers={"Authorization": f"Bearer {key}"}, timeout=30)


def chat(content: str = "Moor us", **members: object) -> dict[str, object]:
    return {"model": MODEL, "messages": [{"role": "user", "content": content}], **members}


@pytest.mark.parametrize("is_stream", [False, True])
def test_a_repeated_call_gets_the_same_bytes_and_the_same_request_id(
    gateway: GatewayProcess, caller: httpx.Client, engine: FakeEngine, is_stream: bool
) -> None:
    first, second, third = (caller.post(CHAT, json=chat(stream=is_stream), headers=ONCE) for _ in range(3))

    assert first.content == second.content == third.content
    assert len({answer.headers["x-request-id"] for answer in (first, second, third)}) == 1
    assert first.headers["content-type"] == second.headers["content-type"]
    assert "idempotency-replayed" not in first.headers
    assert second.headers["idempotency-replayed"] == third.headers["idempotency-replayed"] == "true"
    assert len(engine.seen) == 1
    gateway.stop()
    assert len(gateway.events()) == 1


def test_calls_with_other_keys_and_without_one_are_calls_of_their_own(caller: httpx.Client, engine: FakeEngine) -> None:
    answers = [caller.post(CHAT, json=chat(), headers=headers) for headers in (ONCE, {"Idempotency-Key": "2"}, {}, {})]

    assert len({answer.headers["x-request-id"] for answer in answers}) == len(engine.seen) == 4


def test_a_key_with_another_request_is_refused(caller: httpx.Client, engine: FakeEngine) -> None:
    caller.post(CHAT, json=chat(), headers=ONCE)

    refused = caller.post(CHAT, json=chat("Cast off"), headers=ONCE)

    assert refused.status_code == 422
    assert refused.json()["error"]["code"] == "idempotency_key_reused"
    assert len(engine.seen) == 1


def test_a_repetition_while_the_first_runs_is_told_when_to_come_again(
    caller: httpx.Client, gateway: GatewayProcess, engine: FakeEngine, alices_key: str
) -> None:
    engine.go.clear()
    body = chat(script(wait=True))
    with calling(gateway, alices_key) as other, contextlib.closing(begin(gateway, alices_key, body)) as plug:
        wait_until(lambda: engine.seen)

        early = other.post(CHAT, json=body, headers=ONCE)
        engine.go.set()
        received = b""
        while b"\r\n\r\n{" not in received or not received.endswith(b"}"):
            received += plug.recv(65536)
        late = other.post(CHAT, json=body, headers=ONCE)

    assert (early.status_code, early.headers["retry-after"]) == (409, "1")
    assert early.headers["x-request-id"] == late.headers["x-request-id"]
    assert late.status_code == 200
    assert late.content in received
    assert len(engine.seen) == 1


def begin(gateway: GatewayProcess, key: str, body: dict[str, object]) -> socket.socket:
    """A call of which the answer is not waited for."""
    request = httpx.Request("POST", gateway.url + CHAT, json=body)
    plug = gateway.connect()
    plug.sendall(
        f"POST {CHAT} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {key}\r\nContent-Type: application/json\r\n"
        f"Idempotency-Key: {ONCE['Idempotency-Key']}\r\nContent-Length: {len(request.content)}\r\n\r\n".encode()
        + request.content
    )
    return plug


@pytest.mark.parametrize(
    ("steps", "status"), [({"fault": "fin_first"}, 502), ({"fault": "400"}, 400), ({"fault": "no_json"}, 502)]
)
def test_a_call_that_came_to_nothing_may_be_made_again_with_its_key(
    caller: httpx.Client, engine: FakeEngine, steps: dict[str, object], status: int
) -> None:
    failed = caller.post(CHAT, json=chat(script(**steps)), headers=ONCE)

    served = caller.post(CHAT, json=chat(), headers=ONCE)

    assert (failed.status_code, served.status_code) == (status, 200)
    assert failed.headers["x-request-id"] != served.headers["x-request-id"]


def test_a_refusal_before_anything_begins_uses_no_key(caller: httpx.Client, control: ControlPlane) -> None:
    refused = [
        caller.post(CHAT, json={**chat(), "model": "harbour/nobody"}, headers=ONCE).status_code,
        caller.post(CHAT, json={**chat(), "max_tokens": -1}, headers=ONCE).status_code,
        # Not for this model: found out when the key is claimed already.
        caller.post("/v1/embeddings", json={"model": MODEL, "input": "a"}, headers=ONCE).status_code,
        caller.post(CHAT, json=chat(), headers={"Idempotency-Key": "x" * 256}).status_code,
    ]

    assert refused == [404, 400, 400, 400]
    wait_until(lambda: control.rows("SELECT count(*) FROM idempotency_claim") == [(0,)])
    assert caller.post(CHAT, json=chat(), headers=ONCE).status_code == 200


def test_a_stream_whose_client_left_is_replayed_as_far_as_it_went_and_billed_once(
    gateway: GatewayProcess, caller: httpx.Client, engine: FakeEngine, alices_key: str
) -> None:
    body = chat(script(say=["one", "two", "three"], fault="hang", at=2), stream=True)
    with contextlib.closing(begin(gateway, alices_key, body)) as plug:
        received = b""
        while b"two" not in received:
            received += plug.recv(65536)
    event = gateway.only_event()

    again = wait_until(
        lambda: answer if (answer := caller.post(CHAT, json=body, headers=ONCE)).status_code == 200 else None
    )

    assert again.headers["x-request-id"] == event.request_id
    assert "two" in again.text
    assert "answer_incomplete" in again.text
    assert "[DONE]" not in again.text
    assert (event.outcome, event.output_tokens) == ("client_gone", 2)
    assert len(gateway.events()) == len(engine.seen) == 1


def test_a_client_that_leaves_before_anything_is_billed_may_come_again(
    gateway: GatewayProcess, caller: httpx.Client, engine: FakeEngine, alices_key: str
) -> None:
    engine.go.clear()
    body = chat(script(wait=True))
    with contextlib.closing(begin(gateway, alices_key, body)):
        wait_until(lambda: engine.seen)
    first = gateway.only_event()
    engine.go.set()

    again = wait_until(
        lambda: answer if (answer := caller.post(CHAT, json=body, headers=ONCE)).status_code == 200 else None
    )

    assert (first.outcome, first.source) == ("client_gone", "none")
    assert again.headers["x-request-id"] != first.request_id


def test_a_client_that_leaves_while_its_key_is_claimed_holds_nothing(
    gateway: GatewayProcess, caller: httpx.Client, control: ControlPlane, alices_key: str
) -> None:
    for _ in range(20):
        begin(gateway, alices_key, chat()).close()

    again = wait_until(
        lambda: answer if (answer := caller.post(CHAT, json=chat(), headers=ONCE)).status_code == 200 else None
    )

    assert again.json()["choices"][0]["message"]["content"] == "Tied up well"
    assert len(control.rows("SELECT request_id FROM idempotency_claim")) == 1


def test_another_worker_and_a_later_boot_know_what_was_answered(
    gateway: GatewayProcess, caller: httpx.Client, start_gateway: Start, engine: FakeEngine, alices_key: str
) -> None:
    other = start_gateway()
    wait_until_knows(other, alices_key, MODEL)
    first = caller.post(CHAT, json=chat(), headers=ONCE)
    with calling(other, alices_key) as elsewhere:
        early = elsewhere.post(CHAT, json=chat(), headers=ONCE)
        reused = elsewhere.post(CHAT, json=chat("Cast off"), headers=ONCE)
        gateway.kill()
        Shipper(directory=gateway.journal_dir).ship()
        late = elsewhere.post(CHAT, json=chat(), headers=ONCE)

    assert (early.status_code, reused.status_code, late.status_code) == (409, 422, 409)
    assert (early.json()["error"]["code"], late.json()["error"]["code"]) == (
        "idempotency_key_in_use",
        "already_answered",
    )
    request_id = first.headers["x-request-id"]
    assert early.headers["x-request-id"] == late.headers["x-request-id"] == request_id
    assert request_id in late.json()["error"]["message"]
    assert len(engine.seen) == 1


def test_what_a_killed_gateway_had_not_begun_is_free_once_its_journal_is_read(
    gateway: GatewayProcess, control: ControlPlane, start_gateway: Start, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(name="harbour/sleeper", status="idle")
    other = start_gateway()
    for each in (gateway, other):
        wait_until_knows(each, alices_key, "harbour/sleeper")
    body = {**chat(), "model": "harbour/sleeper"}
    with contextlib.closing(begin(gateway, alices_key, body)):
        wait_until(lambda: control.rows("SELECT 1 FROM wake"))
        gateway.kill()
    control.put_route(name="harbour/sleeper", replicas=(replica(engine),))

    with calling(other, alices_key) as elsewhere:
        early = elsewhere.post(CHAT, json=body, headers=ONCE)
        Shipper(directory=gateway.journal_dir).ship()
        late = elsewhere.post(CHAT, json=body, headers=ONCE)

    assert (early.status_code, late.status_code) == (409, 200)


def test_without_the_database_only_calls_with_the_header_are_refused(
    start_gateway: Start,
    control: ControlPlane,
    engine: FakeEngine,
    alices_key: str,
    database_url: str,
) -> None:
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    with calling(gateway, alices_key) as caller, psycopg.connect(database_url, autocommit=True) as plain:
        # As good as away for whoever asks for a claim.
        plain.execute("ALTER TABLE idempotency_claim RENAME TO idempotency_claim_away")
        try:
            refused = caller.post(CHAT, json=chat(), headers=ONCE)
            served = caller.post(CHAT, json=chat())
        finally:
            plain.execute("ALTER TABLE idempotency_claim_away RENAME TO idempotency_claim")
        again = wait_until(
            lambda: answer if (answer := caller.post(CHAT, json=chat(), headers=ONCE)).status_code == 200 else None
        )

    assert (refused.status_code, served.status_code) == (503, 200)
    assert refused.json()["error"]["code"] == "idempotency_unavailable"
    assert "retry-after" in refused.headers
    assert again.status_code == 200


def test_a_gateway_without_a_secret_says_that_it_does_not_offer_this(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    gateway = start_gateway(MOORAGE_GATEWAY_SECRET="")
    wait_until_knows(gateway, alices_key, MODEL)

    with calling(gateway, alices_key) as caller:
        refused = caller.post(CHAT, json=chat(), headers=ONCE)

    assert refused.status_code == 503
    assert engine.seen == []
