"""How many replicas one model should have now. Pure: load and time come in, a number and its reason come out.

Rules, first that applies:
1. Paused or being deleted: none.
2. Nobody has called for ``idle_seconds``: the floor, which may be zero.
3. The load is twice what the ready replicas are for, or somebody waits in vain (panic): what the load of this moment
   and of the last six seconds needs, or one more than serve, at once; for half a minute after that none is given up.
4. Otherwise: what the mean of the last minute and its chance variation need, or the mean of the last six seconds if
   that is more; fewer only after a minute that was looked at, and ``down_delay_seconds`` of surplus on top.

The load is counted in requests: those in flight and waiting; or, if that is more, what the engines' KV caches are
filled with. The warm replicas are added to what is needed, and
all of it is held within the floor (``min`` or the schedule's) and ``max``.
"""

import dataclasses
import datetime as dt
from typing import Any, Final

from moorage.deployments.load_window import NOTHING_SEEN, LoadWindow, with_chance

#: From this multiple of what is there on, the load is a panic.
PANIC_FACTOR: Final = 2
#: So long after the last moment of panic no replica is given up.
PANIC_LASTS: Final = dt.timedelta(seconds=30)
#: How full a KV cache may be: vLLM stops and recomputes requests when it is out of blocks.
KV_FULL: Final = 0.8
#: Seconds; who waits so long beside replicas that serve waits in vain.
QUEUE_PATIENCE: Final = 5.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """What the owner asked for. ``idle_seconds`` None: never to zero."""

    minimum: int
    maximum: int
    idle_seconds: int | None
    slots: int  #: requests one replica serves at once
    target: int | None = None  #: requests in flight that one replica is meant for; None: its slots
    warm: int = 0  #: so many more than are needed
    down_delay_seconds: int = 0
    #: Why ``minimum`` is more than the Compose file's min; empty where it is not.
    schedule: str = ""

    @property
    def per_replica(self) -> int:
        """Requests that one replica is meant for."""
        return max(1, self.target or self.slots)

    @property
    def floor(self) -> int:
        """What stays when nobody calls."""
        return min(max(self.minimum, self.warm), self.most)

    def within(self, needed: int) -> int:
        """``needed`` and the warm ones, within the bounds."""
        return min(max(needed + self.warm, self.minimum), self.most)

    @property
    def most(self) -> int:
        """Never more than these."""
        return max(self.maximum, self.minimum, 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Load:
    """What the gateways say, and since when it has been so."""

    in_flight: int = 0
    waiting: int = 0
    #: How long the oldest of those who wait has waited.
    queue_seconds: float = 0.0
    #: Replicas that answer now.
    ready: int = 0
    #: How full the KV caches of those are, 1.0 each at most; engines that do not say are not in it.
    kv_used: tuple[float, ...] = ()
    #: A wake row is there: a request is held for want of a replica.
    is_wake_requested: bool = False
    #: The last request, or the deployment's last change if nobody has called since.
    last_active_at: dt.datetime

    @property
    def requests(self) -> int:
        """All that are here."""
        return self.in_flight + self.waiting


@dataclasses.dataclass(frozen=True, kw_only=True)
class Memory:
    """What one decision leaves to the next one; kept in the row of the scale."""

    window: LoadWindow = NOTHING_SEEN
    surplus_since: dt.datetime | None = None
    panic_until: dt.datetime | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """The decision, why, and the figures it was made from."""

    count: int
    why: str
    memory: Memory = dataclasses.field(default_factory=Memory)
    signals: dict[str, Any] = dataclasses.field(default_factory=dict)


def decide(policy: Policy, load: Load, *, current: int, memory: Memory, is_off: bool, now: dt.datetime) -> Wanted:
    """The number of replicas wanted, from ``current`` wanted so far."""
    if is_off:
        return Wanted(count=0, why="Paused or deleted.")
    demand, cause = _demand(policy, load)
    window = memory.window.seeing(demand, now=now)
    lately, usual = window.lately(now=now), window.usual()
    signals = {
        "in_flight": load.in_flight,
        "waiting": load.waiting,
        "queue_seconds": round(load.queue_seconds, 1),
        "kv_used": [round(each, 2) for each in load.kv_used],
        "ready": load.ready,
        "per_replica": policy.per_replica,
        "load_now": round(demand, 1),
        "load_6s": round(lately, 1),
        "load_60s": round(usual, 1),
        "minimum": policy.minimum,
        "maximum": policy.maximum,
        "warm": policy.warm,
        "is_panic": False,
    }
    fresh = Memory(window=window)
    if not load.requests and not load.is_wake_requested:
        is_idle = policy.idle_seconds is not None and (now - load.last_active_at).total_seconds() >= policy.idle_seconds
        if is_idle or not current:
            why = f"No request for {policy.idle_seconds} s." if is_idle else "No request at the moment."
            return Wanted(count=policy.floor, why=_bounded(why, policy, 0), memory=fresh, signals=signals)
    now_needed = max(-(-with_chance(demand) // policy.per_replica), 1)
    is_over = demand >= PANIC_FACTOR * load.ready * policy.per_replica and load.requests > 0
    is_vain = bool(load.waiting and load.ready and load.queue_seconds >= QUEUE_PATIENCE)
    panic_until = now + PANIC_LASTS if is_over or is_vain else memory.panic_until
    if panic_until is not None and now < panic_until <= now + PANIC_LASTS:
        needed = int(max(now_needed if is_over else 1, -(-lately // policy.per_replica)))
        count = max(policy.within(needed), min(current, policy.within(current)))
        what = f"{cause}, {'over twice what is ready' if is_over else 'after a sudden rise'}."
        if is_vain and count <= load.ready:
            count = min(max(count, load.ready + 1), policy.most)
            what = f"The oldest request has waited for {load.queue_seconds:.0f} s beside {load.ready} that serve."
        signals["is_panic"] = True
        why = _bounded(what, policy, needed)
        return Wanted(count=count, why=why, memory=dataclasses.replace(fresh, panic_until=panic_until), signals=signals)
    needed = int(max(-(-max(usual, lately) // policy.per_replica), 1))
    why = f"{cause}; the last minute asks for places for {max(usual, lately):.0f}."
    return _settle(policy, needed, why, current=current, memory=memory, fresh=fresh, signals=signals, now=now)


def _settle(
    policy: Policy,
    needed: int,
    why: str,
    *,
    current: int,
    memory: Memory,
    fresh: Memory,
    signals: dict[str, Any],
    now: dt.datetime,
) -> Wanted:
    """More at once; fewer only after a whole minute that was looked at, and the delay."""
    count = policy.within(needed)
    if count >= current:
        return Wanted(count=count, why=_bounded(why, policy, needed), memory=fresh, signals=signals)
    most = policy.within(current)  # a lower maximum holds at once
    since = memory.surplus_since if memory.surplus_since is not None and memory.surplus_since <= now else now
    if fresh.window.is_whole(now=now) and (now - since).total_seconds() >= policy.down_delay_seconds:
        return Wanted(count=count, why=_bounded(why, policy, needed), memory=fresh, signals=signals)
    kept = min(current, most)
    why = _bounded(why, policy, needed) + f" Keeps {kept} for a while."
    return Wanted(count=kept, why=why, memory=dataclasses.replace(fresh, surplus_since=since), signals=signals)


def _demand(policy: Policy, load: Load) -> tuple[float, str]:
    """The load in requests, and what it is made of."""
    each = policy.per_replica
    found: list[tuple[float, str]] = [
        (load.requests, f"{load.in_flight} in flight and {load.waiting} waiting at {each} a replica")
    ]
    if load.is_wake_requested:
        found.append((1, "A request waits for the model to wake"))
    if load.requests and load.kv_used:
        fullest = max(load.kv_used)
        found.append((sum(load.kv_used) / KV_FULL * each, f"A KV cache is {fullest:.0%} full"))
    return max(found, key=lambda one: one[0])


def _bounded(why: str, policy: Policy, needed: int) -> str:
    """The sentence with what held the number up or down."""
    wanted = needed + policy.warm
    said = [why]
    if policy.warm and wanted <= policy.most:
        said.append(f"{policy.warm} warm beyond that.")
    if wanted < policy.minimum:
        said.append(policy.schedule or f"The minimum is {policy.minimum}.")
    elif wanted > policy.most:
        said.append(f"The maximum is {policy.most}.")
    return " ".join(said)
