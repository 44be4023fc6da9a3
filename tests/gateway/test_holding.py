"""A deployment at zero replicas: woken, the request held, answered or sent away with a reason."""

import concurrent.futures
import contextlib
import json
import time

import openai
import pytest

from tests.gateway.conftest import MODEL, ControlPlane, Start, client_of, replica, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_openai_client import ask
from tests.waiting import wait_until


@pytest.fixture
def asleep(start_gateway: Start, control: ControlPlane, alices_key: str) -> GatewayProcess:
    """A gateway whose only model is idle."""
    control.put_route(status="idle", reason="The last request was an hour ago.")
    gateway = start_gateway(MOORAGE_GATEWAY_HOLD_COMMENT_SECONDS="0.3", MOORAGE_GATEWAY_HOLD_REQUESTS="3")
    wait_until_knows(gateway, alices_key, MODEL)
    return gateway


def raw_request(key: str, *, headers: str = "", stream: bool = False) -> bytes:
    body = json.dumps({"model": MODEL, "messages": ask("hello"), "stream": stream})
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n{headers}"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def wakes(control: ControlPlane) -> list[tuple[object, ...]]:
    return control.rows("SELECT route_id, deployment_id, model_key FROM wake")


def waiting(control: ControlPlane) -> int:
    return int(str((control.rows("SELECT coalesce(sum(waiting), 0) FROM route_activity"))[0][0]))


def test_requests_for_an_idle_model_wake_it_once_and_are_answered_when_it_is_ready(
    asleep: GatewayProcess, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    with client_of(asleep, alices_key) as client, concurrent.futures.ThreadPoolExecutor(3) as crowd:
        asked = [crowd.submit(client.chat.completions.create, model=MODEL, messages=ask("hello")) for _ in range(3)]
        woken = wait_until(lambda: wakes(control), seconds=5)
        wait_until(lambda: waiting(control) == 3, seconds=5)
        told = "SELECT waiting_since BETWEEN now() - interval '1 minute' AND now() FROM route_activity"
        assert control.rows(told) == [(True,)]
        route = control.put_route(status="ready", replicas=(replica(engine),))

        answers = [each.result(timeout=10) for each in asked]

    assert [answer.choices[0].message.content for answer in answers] == ["Tied up well"] * 3
    assert woken == [(route.id, route.deployment_id, "pilot")]
    assert all(event.held_us > 0 and event.outcome == "completed" for event in asleep.events())
    wait_until(
        lambda: control.rows("SELECT in_flight, waiting, replicas FROM route_activity") == [(0, 0, {})], seconds=5
    )
    ((since, busy),) = control.rows("SELECT waiting_since, busy FROM route_activity")
    assert since is None
    assert [begin <= end for ranges in busy.values() for begin, end in ranges]  # type: ignore[attr-defined]


def test_impatience_ends_in_503_with_the_reason_and_one_event(
    asleep: GatewayProcess, control: ControlPlane, alices_key: str
) -> None:
    answer = asleep.exchange(raw_request(alices_key, headers="X-Moorage-Wait: 0\r\nConnection: close\r\n"))

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"Retry-After: 5" in answer
    assert b"The last request was an hour ago." in answer
    event = asleep.only_event()
    assert (event.outcome, event.status, event.output_tokens, event.source) == ("refused", 503, 0, "none")
    assert wakes(control)


def test_who_does_not_wait_is_sent_away_however_fast_the_model_wakes(
    asleep: GatewayProcess, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    request = raw_request(alices_key, headers="X-Moorage-Wait: 0\r\nConnection: close\r\n")

    with concurrent.futures.ThreadPoolExecutor(1) as caller:
        asked = caller.submit(asleep.exchange, request)
        wait_until(lambda: wakes(control), seconds=5)
        control.put_route(status="ready", replicas=(replica(engine),))
        answer = asked.result(timeout=10)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert engine.seen == []


@pytest.mark.parametrize("patience", ["601", "-1", "1.5", "soon", ""])
def test_patience_has_bounds(asleep: GatewayProcess, alices_key: str, patience: str) -> None:
    answer = asleep.exchange(raw_request(alices_key, headers=f"X-Moorage-Wait: {patience}\r\nConnection: close\r\n"))

    assert answer.startswith(b"HTTP/1.1 400 ")
    assert asleep.events() == []


def test_a_held_stream_is_kept_alive_by_comments(
    asleep: GatewayProcess, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    with contextlib.closing(asleep.connect()) as plug:
        plug.sendall(raw_request(alices_key, stream=True))
        received = b""
        while b": waiting" not in received:
            received += plug.recv(65536)
        control.put_route(status="ready", replicas=(replica(engine),))
        while b"[DONE]" not in received:
            received += plug.recv(65536)

    assert received.startswith(b"HTTP/1.1 200 ")
    assert b'"Tied"' in received


def test_a_client_that_leaves_does_not_take_the_wake_back(
    asleep: GatewayProcess, control: ControlPlane, alices_key: str
) -> None:
    with contextlib.closing(asleep.connect()) as plug:
        plug.sendall(raw_request(alices_key))
        wait_until(lambda: wakes(control), seconds=5)

    event = asleep.only_event()
    assert (event.outcome, event.status, event.output_tokens) == ("client_gone", 499, 0)
    assert wakes(control)


def test_a_full_queue_refuses_at_once(asleep: GatewayProcess, alices_key: str) -> None:
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            plug = stack.enter_context(contextlib.closing(asleep.connect()))
            plug.sendall(raw_request(alices_key))
        wait_until(lambda: b"moorage_gateway_held 3.0" in asleep.exchange(METRICS), seconds=5)

        answer = asleep.exchange(raw_request(alices_key, headers="Connection: close\r\n"))

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"queue_full"' in answer


METRICS = b"GET /-/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("status", ["paused", "failed"])
def test_a_model_that_will_not_wake_says_so_at_once(
    start_gateway: Start, control: ControlPlane, alices_key: str, status: str
) -> None:
    control.put_route(status=status, reason="Alice paused it.")
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    began = time.monotonic()

    with client_of(gateway, alices_key) as client, pytest.raises(openai.InternalServerError) as refused:
        client.chat.completions.create(model=MODEL, messages=ask("hello"))

    assert time.monotonic() - began < 3
    assert (refused.value.status_code, refused.value.code) == (503, "model_not_serving")
    assert "Alice paused it." in refused.value.message
    assert gateway.only_event().outcome == "refused"
    assert wakes(control) == []


def test_those_who_wait_are_told_when_it_fails(asleep: GatewayProcess, control: ControlPlane, alices_key: str) -> None:
    with contextlib.closing(asleep.connect()) as plug:
        plug.sendall(raw_request(alices_key))
        wait_until(lambda: wakes(control), seconds=5)
        control.put_route(status="failed", reason="The model needs more memory than there is.")

        answer = plug.recv(65536)

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b"needs more memory" in answer
