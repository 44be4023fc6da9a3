"""Every part of a request has its time: the head and the body are in test_strict_door, here is the whole of it."""

import contextlib
import json

import httpx
import pytest

from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, script, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until


@pytest.fixture
def gateway(start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str) -> GatewayProcess:
    """A gateway that gives no request more than a second."""
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    control.put_route(name="harbour/sleeper", status="idle")
    gateway = start_gateway(MOORAGE_GATEWAY_TOTAL_SECONDS="1", MOORAGE_GATEWAY_BODY_SECONDS="1")
    wait_until_knows(gateway, alices_key, MODEL, "harbour/sleeper")
    return gateway


def ask(
    gateway: GatewayProcess, key: str, *, model: str = MODEL, is_stream: bool = False, **steps: object
) -> httpx.Response:
    return httpx.post(
        f"{gateway.url}/v1/chat/completions",
        json={"model": model, "stream": is_stream, "messages": [{"role": "user", "content": script(**steps)}]},
        headers={"Authorization": f"Bearer {key}"},
        timeout=30,
    )


def test_a_stream_that_takes_too_long_ends_with_an_error_and_is_billed_as_far_as_it_went(
    gateway: GatewayProcess, engine: FakeEngine, alices_key: str
) -> None:
    answer = ask(gateway, alices_key, is_stream=True, say=["one", "two", "three"], fault="hang", at=2)

    event = gateway.event(answer.headers["x-request-id"])
    last = json.loads(answer.text.strip().rpartition("data: ")[2])
    assert last["error"]["code"] == "total_time_exceeded"
    assert (event.outcome, event.output_tokens) == ("refused", 2)
    wait_until(lambda: engine.seen[0].is_cut, what="the engine to be let off")


@pytest.mark.parametrize("asked", [{"wait": True}, {"fault": "silence"}])
def test_an_answer_in_one_piece_that_takes_too_long_is_an_error_and_costs_nothing(
    gateway: GatewayProcess, engine: FakeEngine, alices_key: str, asked: dict[str, object]
) -> None:
    engine.go.clear()
    answer = ask(gateway, alices_key, **asked)
    engine.go.set()

    event = gateway.event(answer.headers["x-request-id"])
    assert answer.status_code == event.status == 504
    assert event.source == "none"


def test_waiting_for_a_replica_is_part_of_it(gateway: GatewayProcess, alices_key: str) -> None:
    answer = ask(gateway, alices_key, model="harbour/sleeper")

    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "total_time_exceeded"


def test_a_body_that_comes_too_slowly_is_refused(gateway: GatewayProcess, alices_key: str, engine: FakeEngine) -> None:
    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
            + f"Authorization: Bearer {alices_key}\r\nContent-Length: 100\r\n\r\n".encode()
            + b'{"model": '
        )
        received = b""
        while piece := plug.recv(65536):
            received += piece

    assert received.startswith(b"HTTP/1.1 408 ")
    assert engine.seen == []
