"""The way of one request to an engine and of its answer back: which replica, which connection, what is tried again.

Tried again is only what cannot have been begun: a connection that was refused (once, on another replica), and an idle
connection that the engine closed before it said a byte (once, on a new connection).
"""

import asyncio
from typing import Final

from moorage.gateway.activity import RouteActivity
from moorage.gateway.chunks import Chunks
from moorage.gateway.parts import Parts
from moorage.gateway.pool import Replica
from moorage.gateway.receiver import Receiver
from moorage.gateway.upstream_protocol import UpstreamConnection
from moorage.wire.records import Route

#: With which a comment begins.
_COLON: Final = ord(":")


class Answered:
    """Whoever made the call. Exactly one of the last four comes, once, unless the call is dropped before."""

    def answer_began(self, status: int, media_type: bytes) -> None:
        """The engine's head is complete."""

    def answer_came(self, pieces: list[bytes]) -> None:
        """A piece of the engine's body."""

    def answer_in_chunks(self, chunks: Chunks) -> None:
        """Many pieces of it, in one read."""

    def answer_ended(self) -> None:
        """The engine's body is complete."""

    def answer_whole(self, status: int, content: bytes) -> None:
        """A JSON answer, in one piece: this instead of the others."""

    def answer_lost(self) -> None:
        """The connection broke, or broke the rules."""

    def engine_unreachable(self) -> None:
        """No replica could be connected to."""


class EngineCall(Receiver):
    """``choose`` a replica, ``send`` the request; ``drop`` at any time. A Receiver for the connection."""

    # What is the same for all of them at first is the class's: see Exchange.
    replica_id = ""
    revision_id = ""
    #: What the replica's breaker will be told: it answered, it failed; None: it could not show.
    is_good: bool | None = None
    #: The loop's time when the engine was last heard, or spoken to.
    heard_at = 0.0
    _route: Route | None = None
    _request = b""
    _tokens = 0
    _status = 0
    _tried: frozenset[str] = frozenset()
    _replica: Replica | None = None
    _connection: UpstreamConnection | None = None
    _connecting: "asyncio.Task[None] | None" = None
    _is_fresh = False

    def __init__(self, parts: Parts, caller: Answered) -> None:
        self._parts = parts
        self._caller: Answered | None = caller  # None: the call was dropped
        self._loop = parts.loop
        #: Of the route; the exchange sets it when it is admitted.
        self.activity: RouteActivity

    @property
    def is_waiting(self) -> bool:
        """Whether something is expected of the engine."""
        return self._connection is not None

    def choose(self, route: Route, content: bytes, tokens: int) -> bool:
        """Take a place at a replica for a request of so many tokens. False when none has one: the pool says why."""
        replica = self._parts.pool.choose(route, content, tokens, self._loop.time(), self._tried)
        if replica is None:
            return False
        self._route, self._replica, self.replica_id = route, replica, replica.id
        self.revision_id = replica.revision_id
        self._tokens = tokens
        if not replica.in_flight:
            replica.heard_at = self._loop.time()
        replica.take(tokens)
        self._parts.metrics.in_flight += 1
        self.activity.began(replica.id)
        return True

    def send(self, request: bytes) -> None:
        """Send the whole request, head and body, to the chosen replica."""
        self._request = request
        self._connect()

    def pause(self) -> None:
        """Take no more from the engine for now."""
        if self._connection is not None:
            self._connection.pause()

    def resume(self) -> None:
        """Go on after ``pause``."""
        self.heard_at = self._loop.time()
        if self._connection is not None:
            self._connection.resume()

    def drop(self) -> None:
        """Give up the call, or what is left of it. The engine stops when its connection closes."""
        if self._connecting is not None:
            self._connecting.cancel()
            self._connecting = None
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.abort()
        self._let_go()
        # Nothing more is said to the caller; without the way back to it, both are freed at once.
        self._caller = None

    def _connect(self, *, must_be_fresh: bool = False) -> None:
        assert self._replica is not None
        idle_seconds = self._parts.settings.pool_idle_seconds
        connection = None if must_be_fresh else self._replica.take_idle(idle_seconds=idle_seconds)
        if connection is not None:
            self._send_on(connection, is_fresh=False)
        else:
            self._connecting = self._loop.create_task(self._connect_fresh(self._replica))

    async def _connect_fresh(self, replica: Replica) -> None:
        try:
            connection = await replica.connect(seconds=self._parts.settings.connect_seconds)
        except (OSError, TimeoutError):
            self._connecting = None
            self._try_another(replica)
            return
        self._connecting = None
        self._send_on(connection, is_fresh=True)

    def _try_another(self, refused: Replica) -> None:
        """The replica is gone and the control plane has not said so yet."""
        assert self._route is not None
        route = self._route
        is_first = not self._tried
        self._tried |= {refused.id}
        self.is_good = False
        self._let_go()
        self.is_good = None
        if is_first and self.choose(route, self._request, self._tokens):
            self._parts.metrics.engine_retries += 1
            self._connect()
        elif self._caller is not None:
            self._caller.engine_unreachable()

    def _send_on(self, connection: UpstreamConnection, *, is_fresh: bool) -> None:
        assert self._replica is not None
        self._connection = connection
        self._is_fresh = is_fresh
        self.heard_at = self._loop.time()
        connection.send(self, self._request)

    def _let_go(self) -> None:
        replica, self._replica = self._replica, None
        if replica is not None:
            assert self._route is not None
            replica.leave(self._tokens)
            breaker = replica.breaker
            if self.is_good:
                if not breaker.is_calm:
                    breaker.succeeded()
            elif self.is_good is None:
                breaker.abandoned()
            else:
                breaker.failed(self._loop.time())
            self._parts.metrics.in_flight -= 1
            if self.activity.ended(replica.id):
                self._parts.activity.is_urgent = True
            self._parts.holding.freed(self._route.id)

    # -- the connection's Receiver

    def answer_began(self, status: int, media_type: bytes) -> None:
        self._request = b""  # not sent again from here on
        self.heard_at = self._loop.time()
        self._status = status
        if self._replica is not None and not self._replica.breaker.is_closed and _is_in_order(status):
            self._replica.breaker.answering()
        if self._caller is not None:
            self._caller.answer_began(status, media_type)

    def answer_came(self, pieces: list[bytes]) -> None:
        self.heard_at = self._loop.time()
        # A comment is the engine's way to keep a connection open while it has nothing to say.
        if self._replica is not None and not pieces[0].startswith(b":"):
            self._replica.heard_at = self.heard_at
        if self._caller is not None:
            self._caller.answer_came(pieces)

    def answer_in_chunks(self, chunks: Chunks) -> None:
        self.heard_at = self._loop.time()
        if self._replica is not None and chunks.first_byte != _COLON:
            self._replica.heard_at = self.heard_at
        if self._caller is not None:
            self._caller.answer_in_chunks(chunks)

    def answer_whole(self, status: int, content: bytes) -> None:
        connection, self._connection = self._connection, None
        if self._replica is not None and connection is not None:
            self._replica.heard_at = self._loop.time()
            self._replica.give_back(connection)
        self.is_good = _is_in_order(status)
        if self._caller is not None:
            self._caller.answer_whole(status, content)

    def answer_ended(self) -> None:
        connection, self._connection = self._connection, None
        if self._replica is not None and connection is not None:
            self._replica.give_back(connection)
        self.is_good = _is_in_order(self._status)
        if self._caller is not None:
            self._caller.answer_ended()

    def engine_lost(self, *, is_unused: bool) -> None:
        self._connection = None
        if is_unused and not self._is_fresh:
            # It was idle, and the engine closed it while the request was on its way: nothing was begun.
            self._parts.metrics.engine_retries += 1
            self._connect(must_be_fresh=True)
        elif self._caller is not None:
            self._caller.answer_lost()


def _is_in_order(status: int) -> bool:
    """Whether an engine that answers so is well. One that says that it is busy is not broken."""
    return status < 500 or status == 503
