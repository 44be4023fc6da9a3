"""Where a replica that nobody calls sleeps, and for how long. Pure: times, policy and measurements come in.

Tiers, from the quickest to wake to the cheapest to keep:

=========  ==========================================================  ====================================
frozen     the container is paused, memory and room are kept           wakes in milliseconds
stopped    the container is kept, its process has ended, room is free  starts again, with warm files
absent     nothing is left but the weights on the node                 is made anew
=========  ==========================================================  ====================================

The idle time begins the sleep. A replica is frozen for the policy's time, then stopped for the policy's time, then
gone; a time of zero leaves the tier out. Memory that another replica needs ends the frozen tier early, and a tier from
which it was measured to wake no quicker than from the next one is left out. Whoever is wanted is woken, from the
quickest tier first, before anything is made anew.
"""

import dataclasses
import datetime as dt
import enum
from collections.abc import Iterable, Sequence
from typing import Final, Protocol

from moorage.compose.spec import SleepSpec
from moorage.deployments.models import ReplicaStatus
from moorage.deployments.reasons import Reason

R: Final = ReplicaStatus
NEVER: Final = dt.timedelta()
#: The route is withdrawn before a replica goes to sleep; gateways need a moment to hear of it.
HEARD: Final = dt.timedelta(seconds=1)
#: A tier has to be quicker than the next one by this much, or its keep is wasted.
WORTHWHILE: Final = 0.9
#: Without a word of its owner, a model sleeps in a tier for at least so many times what waking from below it takes.
STRETCH: Final = 20


class Tier(enum.StrEnum):
    """Where something that does not serve is, by what it takes to bring it back."""

    FROZEN = "frozen"
    STOPPED = "stopped"
    ABSENT = "absent"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Policy:
    """How long a replica stays in each tier. NEVER: it is not put there."""

    frozen: dt.timedelta = NEVER
    stopped: dt.timedelta = NEVER


@dataclasses.dataclass(frozen=True, kw_only=True)
class WakeTimes:
    """What waking a model was measured to take from each tier, in seconds. None: not measured yet."""

    frozen: float | None = None
    stopped: float | None = None
    absent: float | None = None


#: Never asleep: what is idle goes.
NO_SLEEP: Final = Policy()
NOT_MEASURED: Final = WakeTimes()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bed:
    """What decides how the replicas of one model sleep."""

    policy: Policy = NO_SLEEP
    wakes: WakeTimes = NOT_MEASURED
    #: Some replica waits for memory.
    is_pressed: bool = False


NO_BED: Final = Bed()


class Sleeper(Protocol):
    """What is asked of an observed replica."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def status(self) -> ReplicaStatus:
        """Where it stands."""

    @property
    def status_changed_at(self) -> dt.datetime:
        """Since when."""

    @property
    def in_flight(self) -> int:
        """Requests that it has."""

    @property
    def is_waking(self) -> bool:
        """It is wanted awake, and on its way."""

    @property
    def is_drowsy(self) -> bool:
        """It drains because nobody calls."""


@dataclasses.dataclass(frozen=True)
class Rest:
    """Put a replica to sleep, or deeper."""

    replica_id: str
    to: ReplicaStatus
    reason: Reason
    detail: str = ""


@dataclasses.dataclass(frozen=True)
class Wake:
    """Bring a replica back to service."""

    replica_id: str


@dataclasses.dataclass(frozen=True)
class End:
    """It has slept long enough: let it go."""

    replica_id: str
    reason: Reason
    detail: str = ""


Step = Rest | Wake | End


def policy_of(asked: SleepSpec, *, defaults: Policy, most: Policy, wakes: WakeTimes = NOT_MEASURED) -> Policy:
    """The policy of one model: its owner's word, else the operator's default, which is stretched for a model that is
    slow to come back; never longer than the operator's ``most``."""
    return Policy(
        frozen=_time(
            asked.frozen_seconds, default=defaults.frozen, most=most.frozen, below=wakes.stopped or wakes.absent
        ),
        stopped=_time(asked.stopped_seconds, default=defaults.stopped, most=most.stopped, below=wakes.absent),
    )


def _time(asked: int | None, *, default: dt.timedelta, most: dt.timedelta, below: float | None) -> dt.timedelta:
    if asked is not None:
        return min(dt.timedelta(seconds=asked), most)
    if default == NEVER:
        return NEVER
    return min(max(default, dt.timedelta(seconds=STRETCH * (below or 0.0))), most)


def steps(sleepers: Sequence[Sleeper], *, missing: int, bed: Bed, now: dt.datetime) -> tuple[Step, ...]:
    """What to do with the replicas of one model that sleep or are about to, while ``missing`` more should serve.

    Those that are woken, and those that are waking already, count for what is missing; see :func:`coming`.
    """
    left = missing - sum(one.is_waking for one in sleepers)
    found: list[Step] = []
    for one in sorted(sleepers, key=_quickness):
        if one.is_waking:
            continue
        if left > 0:
            found.append(Wake(one.id))
            left -= 1
        elif missing <= 0 and (step := _bedtime(one, bed, now)) is not None:
            found.append(step)
    return tuple(found)


def coming(sleepers: Iterable[Sleeper], found: Iterable[Step]) -> int:
    """How many of ``sleepers`` are on their way back to service, with these steps."""
    return sum(one.is_waking for one in sleepers) + sum(isinstance(step, Wake) for step in found)


def _quickness(one: Sleeper) -> tuple[int, float, str]:
    """The quickest first; of one tier, who fell asleep last."""
    order = {R.DRAINING: 0, R.FROZEN: 1, R.STOPPED: 2}
    return order[one.status], -one.status_changed_at.timestamp(), one.id


def _bedtime(one: Sleeper, bed: Bed, now: dt.datetime) -> Step | None:
    slept = now - one.status_changed_at
    match one.status:
        case R.DRAINING:
            return _down(one, bed, Tier.FROZEN) if slept >= HEARD and not one.in_flight else None
        case R.FROZEN:
            if one.in_flight:
                # A gateway that had not heard: its request waits in the socket.
                return Wake(one.id)
            is_over = bed.is_pressed or slept >= bed.policy.frozen
            return _down(one, bed, Tier.STOPPED) if is_over else None
        case R.STOPPED:
            return End(one.id, Reason.SLEPT_OUT) if slept >= bed.policy.stopped else None
        case _:
            return None


def _down(one: Sleeper, bed: Bed, tier: Tier) -> Step:
    """The first tier from ``tier`` downwards in which it is worth sleeping."""
    policy, wakes = bed.policy, bed.wakes
    left_out = ""
    if tier is Tier.FROZEN and policy.frozen > NEVER and not bed.is_pressed:
        below = wakes.stopped if policy.stopped > NEVER else wakes.absent
        if is_worthwhile(wakes.frozen, below):
            return Rest(one.id, R.FROZEN, Reason.FROZEN, f"For {_said(policy.frozen)} at most.")
        left_out = _no_quicker(Tier.FROZEN, wakes.frozen, below)
    if policy.stopped > NEVER:
        if is_worthwhile(wakes.stopped, wakes.absent):
            is_early = bed.is_pressed and (one.status == R.FROZEN or policy.frozen > NEVER)
            reason = Reason.MEMORY_NEEDED if is_early else Reason.STOPPED
            return Rest(one.id, R.STOPPED, reason, f"{left_out}For {_said(policy.stopped)} at most.".strip())
        left_out = _no_quicker(Tier.STOPPED, wakes.stopped, wakes.absent)
    return End(one.id, Reason.SLEPT_OUT if one.status == R.FROZEN else Reason.DRAINED, left_out.strip())


def is_worthwhile(here: float | None, below: float | None) -> bool:
    """Whether waking from here is quicker than from the tier below. What was never measured gets its chance."""
    return here is None or below is None or here < WORTHWHILE * below


def _no_quicker(tier: Tier, here: float | None, below: float | None) -> str:
    return f"Not {tier}: it woke from there in {here:.2f} s, and from below in {below:.2f} s. "


def _said(time: dt.timedelta) -> str:
    seconds = int(time.total_seconds())
    return f"{seconds // 60} min" if seconds >= 120 and seconds % 60 == 0 else f"{seconds} s"
