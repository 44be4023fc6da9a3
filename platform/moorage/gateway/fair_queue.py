"""Who is next: each organization, and within it each key, gets its share of tokens, however many requests it sends.

Start-time fair queueing (Goyal, Vin, Cheng 1996), once among organizations and once among the keys of each. A flow has
a start tag; the one with the lowest goes next, and its tag moves on by what was served, divided by its weight. A flow
that took less than its share lags behind, by BURST turns at most: whoever calls in bursts but within its share waits
for a place to come free and not for its turn again and again. One that took more has saved nothing up. So a light
caller never waits for another's queue. O(log flows) a step.

The bound is shared too: when the queue is full, the newest request of the longest flow makes way for one of a flow that
has fewer places.
"""

import collections
import heapq
from collections.abc import Hashable, Iterator
from typing import Final, Generic, NamedTuple, TypeVar

#: A key's weight among the keys of its organization, by its priority.
WEIGHTS: Final = {"low": 1.0, "normal": 4.0, "high": 16.0}
#: How many turns of usual size a flow may have saved up. Without it, a caller within its share that calls at random
#: times has three times the p99 beside one that floods; with it, less than twice (tests/gateway/test_fair_queue.py).
BURST: Final = 32
#: How slowly the usual size follows the last one.
_MEMORY: Final = 16
#: From how many flows on those are forgotten that nobody waits in.
_FORGET_FROM: Final = 64

Item = TypeVar("Item", bound=Hashable)


class _Flow(Generic[Item]):
    """One organization, or one key of an organization."""

    __slots__ = ("debt", "finish", "is_listed", "items", "keys", "name", "size", "start", "weight")

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.weight = 1.0
        #: Where its next request starts, and where its last one ended, in tokens by weight.
        self.start = self.finish = 0.0
        #: Tokens that its past requests took more than was estimated.
        self.debt = 0.0
        self.size = 0
        #: It stands in its level's heap; also for a moment when nobody waits in it any more.
        self.is_listed = False
        #: A key has items with their costs, an organization has keys.
        self.items: Final[collections.OrderedDict[Item, float]] = collections.OrderedDict()
        self.keys: _Level[Item] | None = None


class _Level(Generic[Item]):
    """The flows that share something."""

    __slots__ = ("_forget_at", "_heap", "_order", "_usual", "flows", "now")

    def __init__(self) -> None:
        self.flows: Final[dict[str, _Flow[Item]]] = {}
        #: The highest start tag of what was served.
        self.now = 0.0
        #: The usual tokens of a turn.
        self._usual = 0.0
        self._forget_at = _FORGET_FROM
        self._heap: Final[list[tuple[float, int, _Flow[Item]]]] = []
        self._order = 0

    def flow(self, name: str) -> _Flow[Item]:
        """The flow of that name, made when there is none."""
        found = self.flows.get(name)
        if found is None:
            found = self.flows[name] = _Flow(name)
        return found

    def came(self, flow: _Flow[Item]) -> None:
        """One more waits in ``flow``."""
        flow.size += 1
        if not flow.is_listed:
            flow.start = max(self.now - BURST * self._usual / flow.weight, flow.finish)
            self._list(flow)

    def first(self) -> _Flow[Item]:
        """The flow whose turn it is. Some must be waiting."""
        while not self._heap[0][2].size:
            heapq.heappop(self._heap)[2].is_listed = False
        return self._heap[0][2]

    def served(self, flow: _Flow[Item], tokens: float) -> None:
        """``flow``, the first, has had its turn."""
        heapq.heappop(self._heap)
        flow.is_listed = False
        flow.size -= 1
        self.now = max(self.now, flow.start)
        self._usual += (tokens - self._usual) / _MEMORY if self._usual else tokens
        charge = tokens + flow.debt
        flow.debt = min(charge, 0.0)
        flow.finish = flow.start + max(charge, 0.0) / flow.weight
        if flow.size:
            flow.start = flow.finish
            self._list(flow)
        elif len(self.flows) >= self._forget_at:
            self._forget()

    def owes(self, flow: _Flow[Item], tokens: float) -> None:
        """``flow`` took more (or less) than was thought."""
        if flow.is_listed:
            flow.debt += tokens
        else:
            flow.finish += tokens / flow.weight

    def _forget(self) -> None:
        """Drop the flows that would start as new ones do."""
        for flow in list(self.flows.values()):
            if not flow.is_listed and flow.finish <= self.now - BURST * self._usual / flow.weight:
                del self.flows[flow.name]
        self._forget_at = 2 * len(self.flows) + _FORGET_FROM

    def _list(self, flow: _Flow[Item]) -> None:
        flow.is_listed = True
        self._order += 1
        heapq.heappush(self._heap, (flow.start, self._order, flow))


class _Ticket(NamedTuple, Generic[Item]):
    organization: _Flow[Item]
    key: _Flow[Item]


class FairQueue(Generic[Item]):
    """At most ``limit`` items, given out one by one in fair order; of one key in the order of their coming."""

    def __init__(self, *, limit: int) -> None:
        self._limit: Final = limit
        self._organizations: Final[_Level[Item]] = _Level()
        self._tickets: Final[dict[Item, _Ticket[Item]]] = {}

    def __len__(self) -> int:
        return len(self._tickets)

    def __iter__(self) -> Iterator[Item]:
        return iter(self._tickets)

    def __contains__(self, item: object) -> bool:
        return item in self._tickets

    def push(
        self, item: Item, *, organization_id: str, key_id: str, tokens: float, weight: float = WEIGHTS["normal"]
    ) -> Item | None:
        """Queue an item of so many tokens. Returns who finds no place for it: nobody, another, or the item itself."""
        organization = self._organizations.flow(organization_id)
        if organization.keys is None:
            organization.keys = _Level()
        key = organization.keys.flow(key_id)
        loser = None
        if len(self._tickets) >= self._limit:
            loser = self._loser_to(organization, key)
            if loser is None:
                return item
            self.remove(loser)
        key.weight = weight
        key.items[item] = tokens
        self._tickets[item] = _Ticket(organization, key)
        organization.keys.came(key)
        self._organizations.came(organization)
        return loser

    def pop(self) -> Item:
        """Take out whose turn it is. Some must be waiting."""
        organization = self._organizations.first()
        assert organization.keys is not None
        key = organization.keys.first()
        item, tokens = key.items.popitem(last=False)
        del self._tickets[item]
        organization.keys.served(key, tokens)
        self._organizations.served(organization, tokens)
        return item

    def remove(self, item: Item) -> bool:
        """Take out one that does not wait any more, at no cost to its flow. Whether it was there."""
        ticket = self._tickets.pop(item, None)
        if ticket is None:
            return False
        del ticket.key.items[item]
        ticket.key.size -= 1
        ticket.organization.size -= 1
        return True

    def correct(self, *, organization_id: str, key_id: str, tokens: float) -> None:
        """A past request of a key took so many more tokens than it was queued with; less, if negative."""
        organization = self._organizations.flows.get(organization_id)
        if organization is None or organization.keys is None:
            return
        key = organization.keys.flows.get(key_id)
        if key is not None:
            self._organizations.owes(organization, tokens)
            organization.keys.owes(key, tokens)

    def _loser_to(self, organization: _Flow[Item], key: _Flow[Item]) -> Item | None:
        """The newest of the longest flow, if a place less there and one more here is fairer than before."""
        longest = max(self._organizations.flows.values(), key=_size)
        if longest is not organization and longest.size < organization.size + 2:
            longest = organization
        assert longest.keys is not None
        victim = max(longest.keys.flows.values(), key=_size)
        if longest is organization and victim.size < key.size + 2:
            return None
        return next(reversed(victim.items))


def _size(flow: _Flow[Item]) -> int:
    return flow.size
