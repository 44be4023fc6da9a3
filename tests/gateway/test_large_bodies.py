"""Large requests in memory are bounded, in all and for each organization: nobody's documents end everybody's worker."""

import contextlib
import json
import socket
from collections.abc import Iterator

import httpx
import pytest

from moorage.gateway.errors import TooManyLargeRequests
from moorage.gateway.large_bodies import LargeBodies
from tests.cast import Cast
from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, script, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until

LARGE = 90_000


def test_an_organization_gets_half_of_the_place_and_another_the_rest() -> None:
    bodies = LargeBodies(limit=1000)

    bodies.take("alice", 500)
    with pytest.raises(TooManyLargeRequests):
        bodies.take("alice", 1)
    bodies.take("charlie", 500)

    assert bodies.held == 1000


def test_all_together_get_no_more_than_there_is() -> None:
    bodies = LargeBodies(limit=1000)

    bodies.take("alice", 400)
    bodies.take("bob", 400)
    with pytest.raises(TooManyLargeRequests):
        bodies.take("charlie", 300)

    assert bodies.held == 800


def test_what_is_given_back_is_there_again() -> None:
    bodies = LargeBodies(limit=1000)
    bodies.take("alice", 500)

    bodies.give_back("alice", 500)
    bodies.take("alice", 500)

    assert bodies.held == 500


@pytest.fixture
def charlies_key(committed_cast: Cast) -> str:
    return committed_cast.charlie.key()


@pytest.fixture
def gateway(
    start_gateway: Start,
    control: ControlPlane,
    engine: FakeEngine,
    alices_key: str,
    charlies_key: str,
    committed_cast: Cast,
) -> GatewayProcess:
    """A gateway with place for one large request of each of two organizations."""
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    control.put_route(
        organization=committed_cast.charlie.organization, replicas=(replica(engine),), engine=engine.shape
    )
    gateway = start_gateway(MOORAGE_GATEWAY_LARGE_BODIES_BYTES="300000")
    wait_until_knows(gateway, alices_key, MODEL)
    wait_until_knows(gateway, charlies_key, MODEL)
    return gateway


def body_of(size: int) -> bytes:
    frame = {"model": MODEL, "messages": [{"role": "user", "content": ""}]}
    frame["messages"][0]["content"] = " " * (size - len(json.dumps(frame)))  # type: ignore[index]
    return json.dumps(frame).encode()


def head(key: str, framing: str) -> bytes:
    return (
        "POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {key}\r\n{framing}\r\n\r\n"
    ).encode()


def lengthy(key: str) -> bytes:
    return head(key, f"Content-Length: {LARGE}")


@contextlib.contextmanager
def begun(gateway: GatewayProcess, key: str) -> Iterator[socket.socket]:
    """A large request whose body has begun and does not go on."""
    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(lengthy(key) + b"{")
        wait_until(lambda: kept(gateway) == LARGE, what="the body to begin")
        yield plug


def kept(gateway: GatewayProcess) -> float:
    page = httpx.get(f"{gateway.url}/-/metrics", timeout=30).text
    (line,) = (line for line in page.splitlines() if line.startswith("moorage_gateway_large_body_bytes "))
    return float(line.split()[1])


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1]) if answer else 0


def test_one_large_request_too_many_is_told_to_come_back_and_another_organizations_is_served(
    gateway: GatewayProcess, alices_key: str, charlies_key: str
) -> None:
    with begun(gateway, alices_key):
        refused = gateway.exchange(lengthy(alices_key) + body_of(LARGE))
        served = gateway.exchange(lengthy(charlies_key) + body_of(LARGE))

    assert status(refused) == 503
    assert b"too_many_large_requests" in refused and b"Retry-After: 1" in refused
    assert status(served) == 200


def test_a_small_request_never_waits_for_large_ones(gateway: GatewayProcess, alices_key: str) -> None:
    small = body_of(500)

    with begun(gateway, alices_key):
        answer = gateway.exchange(head(alices_key, f"Content-Length: {len(small)}") + small)

    assert status(answer) == 200


def test_an_answer_gives_its_requests_place_back(gateway: GatewayProcess, alices_key: str) -> None:
    answers = []
    with contextlib.closing(gateway.connect()) as plug:
        for _ in range(4):
            plug.sendall(lengthy(alices_key) + body_of(LARGE))
            answers.append(plug.recv(65536))
        left = kept(gateway)

    assert [status(answer) for answer in answers] == [200] * 4
    assert left == 0


def test_a_stream_that_has_begun_does_not_keep_its_prompt(
    gateway: GatewayProcess, engine: FakeEngine, alices_key: str
) -> None:
    prompt = script(say=["one", "two"], fault="hang", at=1)
    body = json.dumps({"model": MODEL, "stream": True, "messages": [{"role": "user", "content": prompt}]}).encode()

    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(lengthy(alices_key) + body + b" " * (LARGE - len(body)))
        received = b""
        while b"one" not in received:
            received += plug.recv(65536)

        assert kept(gateway) == 0
        assert [seen.is_cut for seen in engine.seen] == [False]


def test_a_client_that_leaves_gives_its_place_back(gateway: GatewayProcess, alices_key: str) -> None:
    with begun(gateway, alices_key):
        pass

    wait_until(lambda: kept(gateway) == 0, what="the place to be free")
    assert status(gateway.exchange(lengthy(alices_key) + body_of(LARGE))) == 200


def test_a_body_without_a_length_counts_as_it_grows(gateway: GatewayProcess, alices_key: str) -> None:
    piece = b"16000\r\n" + b" " * 0x16000 + b"\r\n"

    with begun(gateway, alices_key):
        answer = gateway.exchange(head(alices_key, "Transfer-Encoding: chunked") + piece)

    assert status(answer) == 503
    assert b"too_many_large_requests" in answer
