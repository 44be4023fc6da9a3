"""A gateway calls the socket that stands where the route says, and never follows a link that a runner put there."""

import asyncio
import json
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.gateway import engine_metrics
from moorage.gateway.pool import Replica
from moorage.wire.records import ReplicaAddress
from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, script, wait_until_knows
from tests.gateway.fake_engine import FakeEngine


def request_of(key: str) -> bytes:
    messages = [{"role": "user", "content": script(say=["w"])}]
    body = json.dumps({"model": MODEL, "messages": messages}).encode()
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nConnection: close\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
    )


def test_a_link_to_another_tenants_engine_is_not_followed(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    own = engine.path.with_name("own.sock")
    own.symlink_to(engine.path)
    control.put_route(replicas=(ReplicaAddress(id="rep_1", socket=str(own)),))
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)

    answer = gateway.exchange(request_of(alices_key))

    assert answer.startswith(b"HTTP/1.1 502 ")
    assert (engine.seen, engine.connections) == ([], 0)


def test_the_engine_itself_is_called(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)

    answer = gateway.exchange(request_of(alices_key))

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert engine.connections == 1


@pytest.fixture
def linked(short_tmp: Path) -> Iterator[Path]:
    """A link to a socket on which somebody listens."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_tmp / "another.sock"))
        listening.listen(1)
        link = short_tmp / "engine.sock"
        link.symlink_to("another.sock")
        yield link


def test_metrics_are_asked_of_no_link(linked: Path) -> None:
    with pytest.raises(OSError, match="Socket operation on non-socket"):
        asyncio.run(asyncio.wait_for(engine_metrics.fetch(str(linked)), 5))


def test_no_descriptor_is_left_behind(short_tmp: Path, linked: Path) -> None:
    async def connect() -> int:
        at_link = Replica(ReplicaAddress(id="rep_a", socket=str(linked)))
        at_socket = Replica(ReplicaAddress(id="rep_b", socket=str(short_tmp / "another.sock")))
        with pytest.raises(OSError, match="Socket operation on non-socket"):
            await at_link.connect(seconds=5)
        before = len(list(Path("/proc/self/fd").iterdir()))
        connection = await at_socket.connect(seconds=5)
        opened = len(list(Path("/proc/self/fd").iterdir())) - before
        connection.abort()
        return opened

    assert asyncio.run(connect()) == 1  # the connection's own
