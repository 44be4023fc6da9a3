"""The replicas this worker talks to, each with its idle connections and its count of requests."""

import asyncio
import collections
import time
from collections.abc import Iterable
from typing import Final

from moorage.gateway.upstream_protocol import UpstreamConnection
from moorage.wire.records import ReplicaAddress, Route


class Replica:
    """One runner behind its Unix socket."""

    def __init__(self, address: ReplicaAddress) -> None:
        self.id: Final = address.id
        self.socket: Final = address.socket
        self.in_flight = 0
        #: Requests sent whose answer has not begun.
        self.unanswered = 0
        self._is_retired = False
        self._idle: collections.deque[UpstreamConnection] = collections.deque()

    def take_idle(self, *, idle_seconds: float) -> UpstreamConnection | None:
        """The connection used last, unless the engine may be about to close it."""
        oldest = time.monotonic() - idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def connect(self, *, seconds: float) -> UpstreamConnection:
        """A new connection. Raises OSError or TimeoutError."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(seconds):
            _, connection = await loop.create_unix_connection(UpstreamConnection, self.socket)
        return connection

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection whose answer is complete.

        Not while other requests wait for their answer to begin: llama-server serves a connection with a thread, and an
        idle one would keep that thread from them.
        """
        if not connection.is_open:
            return
        if self.unanswered or self._is_retired:
            connection.abort()
            return
        connection.idle_since = time.monotonic()
        self._idle.append(connection)

    def retire(self) -> None:
        """Close idle connections now and the others when their request ends."""
        self._is_retired = True
        self.close_idle()

    def close_idle(self, *, idle_seconds: float = 0.0) -> None:
        """Close connections that have been idle for longer."""
        oldest = time.monotonic() - idle_seconds
        while self._idle and (self._idle[0].idle_since <= oldest or not self._idle[0].is_open):
            self._idle.popleft().abort()


class Pool:
    """All replicas by id. One that left its route gets nothing new and is forgotten when its last request ends."""

    def __init__(self) -> None:
        self._replicas: dict[str, Replica] = {}

    def choose(self, route: Route, *, tried: set[str]) -> Replica | None:
        """The replica of ``route`` with the fewest requests that is not in ``tried``."""
        best: Replica | None = None
        for address in route.replicas:
            if address.id in tried:
                continue
            replica = self._replicas.get(address.id)
            if replica is not None and replica.socket != address.socket:
                replica.retire()
                replica = None
            if replica is None:
                replica = self._replicas[address.id] = Replica(address)
            if best is None or replica.in_flight < best.in_flight:
                best = replica
        return best

    def keep_only(self, routes: Iterable[Route]) -> None:
        """Forget replicas that no route names any more."""
        named = {address.id for route in routes for address in route.replicas}
        for replica_id in [each for each in self._replicas if each not in named]:
            self._replicas.pop(replica_id).retire()

    def tick(self, *, idle_seconds: float) -> None:
        """Close what has been idle for too long."""
        for replica in self._replicas.values():
            replica.close_idle(idle_seconds=idle_seconds)

    def close(self) -> None:
        """Close all idle connections."""
        for replica in self._replicas.values():
            replica.close_idle()
