"""An engine whose socket has no room for another connection is busy, not broken: whoever connects waits a moment."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvloop

from moorage.gateway.pool import Replica
from moorage.wire.records import ReplicaAddress


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[socket.socket]:
    """A listening socket that takes no connection until somebody accepts."""
    with contextlib.ExitStack() as stack:
        listening = stack.enter_context(socket.socket(socket.AF_UNIX))
        listening.bind(str(tmp_path / "engine.sock"))
        listening.listen(0)
        with contextlib.suppress(BlockingIOError):
            while True:
                waiting = stack.enter_context(socket.socket(socket.AF_UNIX))
                waiting.setblocking(False)
                waiting.connect(listening.getsockname())
        yield listening


def replica_at(listening: socket.socket) -> Replica:
    return Replica(ReplicaAddress(id="rep_a", socket=listening.getsockname()))


def test_a_connection_is_made_as_soon_as_there_is_room(crowded: socket.socket) -> None:
    async def connect() -> bool:
        connecting = asyncio.create_task(replica_at(crowded).connect(seconds=10))
        await asyncio.sleep(0)
        assert not connecting.done()
        crowded.accept()[0].close()
        connection = await connecting
        is_open = connection.is_open
        connection.abort()
        return is_open

    assert uvloop.run(connect())


def test_a_socket_that_stays_full_is_given_up_in_time(crowded: socket.socket) -> None:
    async def connect() -> None:
        await replica_at(crowded).connect(seconds=0.05)

    with pytest.raises(TimeoutError):
        uvloop.run(connect())
