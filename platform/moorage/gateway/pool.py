"""The replicas this worker talks to: which of them a request goes to, and the idle connections of each.

A request goes to the replica with the fewest tokens outstanding: what its prompts and answers are expected to be, for
lengths differ a hundredfold where numbers of requests do not. Among several, :mod:`moorage.gateway.affinity` may
prefer one that has the prompt's beginning in its cache. None gets more requests than its engine answers at once
(``slots``), and none that a breaker has taken out. Where two revisions share a route, a request first gets a revision,
by their weights in turn, and then one of its replicas. Every worker may use all slots: a share of them would leave an
engine idle whenever connections spread unevenly, and the few requests too many wait in the engine instead.
"""

import asyncio
import collections
import hashlib
import sys
import time
from collections.abc import Collection, Iterator
from typing import Final, Literal, cast

from moorage.gateway import affinity, engine_address
from moorage.gateway.breaker import Breaker
from moorage.gateway.routes import RouteTable
from moorage.gateway.upstream_protocol import UpstreamConnection
from moorage.wire.records import ReplicaAddress, Route

_monotonic: Final = time.monotonic
#: A prompt's bytes for each of its tokens, and the tokens of an answer before any was seen.
_BYTES_A_TOKEN: Final = 4
_FIRST_TYPICAL: Final = 256
#: How slowly the typical answer follows the last one: by 1/16 of the difference.
_TYPICAL_SHIFT: Final = 4
#: Seconds before a connection for which there was no room is tried again.
_FIRST_PAUSE: Final = 0.001
_LONGEST_PAUSE: Final = 0.02

#: Why no replica can take a request: all are at their slots; breakers are open; there is none that was not tried.
Refusal = Literal["full", "broken", "gone"]


def _new_connection() -> asyncio.Protocol:
    # It has a protocol's methods; without the base class it can be compiled to a native class (see ``compiled``).
    return cast(asyncio.Protocol, UpstreamConnection())


class Replica:
    """One runner behind its Unix socket."""

    def __init__(self, address: ReplicaAddress) -> None:
        self.id: Final = address.id
        self.socket: Final = address.socket
        self.revision_id: Final = address.revision_id
        #: How many requests its engine answers at once; unknown: any number.
        self.slots: Final = address.slots or sys.maxsize
        self.number: Final = int.from_bytes(hashlib.sha256(address.id.encode()).digest()[:8])
        self.breaker: Final = Breaker()
        self.in_flight = 0
        #: Tokens that the requests in flight are expected to take.
        self.outstanding = 0
        #: The loop's time when its engine last said something to a request, or was asked while it had none; 0: never.
        self.heard_at = 0.0
        self._is_retired = False
        self._idle: collections.deque[UpstreamConnection] = collections.deque()

    def take(self, tokens: int) -> None:
        """A request goes here. ``tokens``: as it was chosen for."""
        self.in_flight += 1
        self.outstanding += tokens
        if not self.breaker.is_closed:
            self.breaker.began()

    def leave(self, tokens: int) -> None:
        """That request has ended, or goes elsewhere."""
        self.in_flight -= 1
        self.outstanding -= tokens

    def take_idle(self, *, idle_seconds: float) -> UpstreamConnection | None:
        """The connection used last, unless the engine may be about to close it."""
        oldest = _monotonic() - idle_seconds
        while self._idle:
            connection = self._idle.pop()
            if connection.is_open and connection.idle_since > oldest:
                return connection
            connection.abort()
        return None

    async def connect(self, *, seconds: float) -> UpstreamConnection:
        """A new connection. Raises OSError or TimeoutError.

        An engine that is not quick to accept has a full backlog under a burst; Linux then refuses a Unix socket's
        connection with EAGAIN and offers nothing to wait on (connect(2)), so it is asked again after a pause.
        """
        loop = asyncio.get_running_loop()
        pause = _FIRST_PAUSE
        async with asyncio.timeout(seconds):
            while True:
                try:
                    with engine_address.opened(self.socket) as path:
                        _, connection = await loop.create_unix_connection(_new_connection, path)
                except BlockingIOError:
                    await asyncio.sleep(pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                else:
                    return cast(UpstreamConnection, connection)

    def give_back(self, connection: UpstreamConnection) -> None:
        """Keep a connection whose answer is complete."""
        if not connection.is_open:
            return
        if self._is_retired:
            connection.abort()
            return
        connection.idle_since = _monotonic()
        self._idle.append(connection)

    def retire(self) -> None:
        """Close idle connections now and the others when their request ends."""
        self._is_retired = True
        self.close_idle()

    def close_idle(self, *, idle_seconds: float = 0.0) -> None:
        """Close connections that have been idle for longer."""
        oldest = _monotonic() - idle_seconds
        while self._idle and (self._idle[0].idle_since <= oldest or not self._idle[0].is_open):
            self._idle.popleft().abort()


class Share:
    """One revision of several that a route's requests are shared out to by weight.

    Smooth weighted turns: of any ``total`` requests in a row each gets its weight, spread evenly, without chance.
    """

    def __init__(self, revision_id: str, weight: int) -> None:
        self.revision_id: Final = revision_id
        self.weight: Final = weight
        self.credit = 0
        #: What its replicas have in their caches says nothing of the other revision's.
        self.memory: Final = affinity.Memory()


class Group:
    """The replicas of one route, and what is learned of its answers."""

    def __init__(self, route: Route, replicas: tuple[Replica, ...]) -> None:
        self.route: Route
        self.replicas: tuple[Replica, ...]
        #: The only one, where there is one: nothing to choose.
        self.only: Replica | None
        self.serve(route, replicas)
        self.memory: Final = affinity.Memory()
        self.typical_output = _FIRST_TYPICAL

    def serve(self, route: Route, replicas: tuple[Replica, ...]) -> None:
        """The route has changed."""
        self.route, self.replicas = route, replicas
        self.only = replicas[0] if len(replicas) == 1 else None
        weights = {address.revision_id: address.weight for address in route.replicas if address.weight}
        #: None while one revision has it all, or nobody has a weight.
        self.shares = [Share(name, weight) for name, weight in weights.items()] if len(weights) > 1 else None

    def whose_turn(self, willing: list[Replica]) -> tuple[affinity.Memory, list[Replica]]:
        """The willing replicas of the revision that gets a request, and what is known of their caches.

        A revision without any leaves its turn to the others: nobody waits for a trial.
        """
        able = [
            share for share in self.shares or () if any(replica.revision_id == share.revision_id for replica in willing)
        ]
        if not able:
            return self.memory, willing
        for share in able:
            share.credit += share.weight
        chosen = max(able, key=_credit)
        chosen.credit -= sum(share.weight for share in able)
        return chosen.memory, [replica for replica in willing if replica.revision_id == chosen.revision_id]

    def willing(self, tried: Collection[str], now: float) -> list[Replica]:
        """Those that can take a request now. One that was refused elsewhere has had its turn: the engine queues it."""
        return [
            replica
            for replica in self.replicas
            if (replica.in_flight < replica.slots or tried)
            and (replica.breaker.is_closed or replica.breaker.allows(now))
            and replica.id not in tried
        ]


class Pool:
    """All replicas by route. One that left its route gets nothing new; what it is at, it finishes."""

    def __init__(self) -> None:
        self._groups: dict[str, Group] = {}

    def __iter__(self) -> Iterator[Replica]:
        return (replica for group in self._groups.values() for replica in group.replicas)

    def estimate(self, route_id: str, content_bytes: int, output_limit: int | None, choices: int = 1) -> int:
        """Tokens that a request is expected to take: its prompt's, and those of a typical answer within its limit."""
        group = self._groups.get(route_id)
        output = group.typical_output if group is not None else _FIRST_TYPICAL
        if output_limit is not None and output_limit < output:
            output = output_limit
        return content_bytes // _BYTES_A_TOKEN + output * choices + 1

    def learn(self, route_id: str, output_tokens: int) -> None:
        """An answer of the route was complete and had so many tokens."""
        group = self._groups.get(route_id)
        if group is not None:
            group.typical_output += output_tokens - group.typical_output >> _TYPICAL_SHIFT

    def choose(
        self, route: Route, content: bytes, tokens: int, now: float, tried: Collection[str] = ()
    ) -> Replica | None:
        """The replica that a request of ``tokens`` with this engine's body goes to, or None: ``refusal`` knows why.

        ``take`` it at once. ``now`` is the loop's time; ``tried`` are ids of replicas that are not to be asked again.
        """
        group = self._groups.get(route.id)
        if group is None:
            group = self._groups[route.id] = Group(route, _replicas(route, ()))
        only = group.only
        if only is not None:
            is_willing = only.in_flight < only.slots and (only.breaker.is_closed or only.breaker.allows(now))
            return only if is_willing and only.id not in tried else None
        willing = group.willing(tried, now)
        memory = group.memory
        if group.shares is not None and willing:
            memory, willing = group.whose_turn(willing)
        if len(willing) > 1:
            beginnings = affinity.keys(route.organization_id, content)
            if beginnings:
                return memory.pick(beginnings, willing, tokens)
            return min(willing, key=_outstanding)
        return willing[0] if willing else None

    def can_take(self, route: Route, now: float) -> bool:
        """Whether ``choose`` would find a replica."""
        group = self._groups.get(route.id)
        if group is None:
            return bool(route.replicas)
        return bool(group.willing((), now))

    def refusal(self, route: Route, now: float, tried: Collection[str] = ()) -> Refusal:
        """Why ``choose`` found none."""
        group = self._groups.get(route.id)
        untried = [replica for replica in group.replicas if replica.id not in tried] if group is not None else []
        if not untried:
            return "gone"
        return "full" if any(replica.breaker.allows(now) for replica in untried) else "broken"

    def seconds_to_trial(self, route_id: str, now: float) -> float:
        """When the first of the route's open breakers lets a request through."""
        group = self._groups.get(route_id)
        replicas = group.replicas if group is not None else ()
        return min((replica.breaker.seconds_left(now) for replica in replicas), default=0.0)

    def routes_changed(self, routes: RouteTable) -> None:
        """Take over what routes are now; the replicas they name no more are retired."""
        for route_id, group in list(self._groups.items()):
            route = routes.get(route_id)
            if route is group.route:
                continue
            replicas = _replicas(route, group.replicas) if route is not None else ()
            for replica in group.replicas:
                if replica not in replicas:
                    replica.retire()
            if route is None:
                del self._groups[route_id]
            else:
                group.serve(route, replicas)

    def signs(self, route_id: str, now: float) -> dict[str, dict[str, object]]:
        """Signs of life of the route's replicas, by id: for how long each was silent, whether its breaker is open."""
        group = self._groups.get(route_id)
        found: dict[str, dict[str, object]] = {}
        for replica in group.replicas if group is not None else ():
            if replica.heard_at:
                silent = round(now - replica.heard_at, 1)
                found[replica.id] = {"silent": silent, "broken": not replica.breaker.is_closed}
        return found

    def tick(self, *, idle_seconds: float) -> None:
        """Close what has been idle for too long."""
        for replica in self:
            replica.close_idle(idle_seconds=idle_seconds)

    def close(self) -> None:
        """Close all idle connections."""
        for replica in self:
            replica.close_idle()


def _credit(share: Share) -> int:
    return share.credit


def _outstanding(replica: Replica) -> tuple[int, int]:
    return replica.outstanding, replica.in_flight


def _replicas(route: Route, known: Collection[Replica]) -> tuple[Replica, ...]:
    """The route's replicas: those that are ``known``, and new ones."""
    by_place = {(replica.id, replica.socket): replica for replica in known}
    return tuple(by_place.get((address.id, address.socket)) or Replica(address) for address in route.replicas)
