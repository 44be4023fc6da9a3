"""How many replicas one model should have now. Pure: load and time come in, a number and its reason come out.

Rules, first that applies:
1. Paused or being deleted: none.
2. A request waits or runs: enough for ``waiting + in flight`` at ``slots`` a replica, within [max(min, 1), max].
3. Nobody has called for ``idle_seconds``: the minimum, which may be zero.
4. Otherwise the present number; it shrinks to what the load needs only after SETTLE of surplus.
"""

import dataclasses
import datetime as dt
from typing import Final

#: How long a smaller number must have been enough before replicas are given up.
SETTLE: Final = dt.timedelta(seconds=60)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """What the owner asked for. ``idle_seconds`` None: never to zero."""

    minimum: int
    maximum: int
    idle_seconds: int | None
    slots: int  #: requests one replica serves at once


@dataclasses.dataclass(frozen=True, kw_only=True)
class Load:
    """What the gateways say, and since when it has been so."""

    in_flight: int = 0
    waiting: int = 0
    #: A wake row is there: a request is held for want of a replica.
    is_wake_requested: bool = False
    #: The last request, or the deployment's last change if nobody has called since.
    last_active_at: dt.datetime


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wanted:
    """The decision. ``surplus_since`` is carried to the next one."""

    count: int
    why: str
    surplus_since: dt.datetime | None = None


def decide(
    policy: Policy, load: Load, *, current: int, surplus_since: dt.datetime | None, is_off: bool, now: dt.datetime
) -> Wanted:
    """The number of replicas wanted, from ``current`` wanted so far."""
    if is_off:
        return Wanted(count=0, why="paused or deleted")
    requests = load.in_flight + load.waiting
    if requests or load.is_wake_requested:
        needed = -(-max(requests, 1) // policy.slots)
        count = min(max(needed, policy.minimum, 1), max(policy.maximum, 1))
        why = f"{load.in_flight} in flight and {load.waiting} waiting at {policy.slots} a replica"
        return _settle(count, why, current=current, surplus_since=surplus_since, now=now)
    idle = now - load.last_active_at
    if policy.idle_seconds is not None and idle.total_seconds() >= policy.idle_seconds:
        return Wanted(count=policy.minimum, why=f"no request for {policy.idle_seconds} s")
    count = min(max(policy.minimum, 1), max(policy.maximum, 1)) if current else policy.minimum
    return _settle(count, "no request at the moment", current=current, surplus_since=surplus_since, now=now)


def _settle(count: int, why: str, *, current: int, surplus_since: dt.datetime | None, now: dt.datetime) -> Wanted:
    if count >= current:
        return Wanted(count=count, why=why)
    since = surplus_since or now
    if now - since >= SETTLE:
        return Wanted(count=count, why=f"{why}, for {int(SETTLE.total_seconds())} s")
    return Wanted(count=current, why=f"{why}; keeps {current} for a while", surplus_since=since)
