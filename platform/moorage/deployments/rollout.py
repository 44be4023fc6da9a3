"""How the replicas of one revision make way for those of another, by strategy. Pure: what is there comes in.

===========  =====================================================================================================
surge        The new ones come up beside the old ones. Each that is ready lets an old one go, so that there are never
             fewer than wanted; the last one lets all go. Where a new one finds no room but would have that of an old
             one, one old replica makes way for it: requests wait in the gateway while the place changes hands.
hold         There is one place. The new one's weights are brought to the node while the old one serves; then the
             old ones drain and go, and the new one starts in their room. Requests wait in the gateway meanwhile.
recreate     The old ones drain and go, whatever the new one may come to; then the new one is made. Requests wait.
===========  =====================================================================================================

Whoever serves nobody (an old replica that is not ready) goes at once. Nothing old goes for a replica that would find
no room either way.
"""

import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Final, Protocol

from moorage.compose.spec import Strategy
from moorage.deployments.models import ReplicaStatus
from moorage.deployments.reasons import Reason

R: Final = ReplicaStatus


class Member(Protocol):
    """What is asked of an observed replica."""

    @property
    def id(self) -> str:
        """Its id."""

    @property
    def status(self) -> ReplicaStatus:
        """Where it stands."""

    @property
    def created_at(self) -> dt.datetime:
        """Its age."""

    @property
    def is_room_held(self) -> bool:
        """Its weights are on the node, and it waits for the room of a replica that it replaces."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Turn:
    """What may happen now: which old replicas go and why, and whether new ones may be made."""

    retire: tuple[str, ...] = ()
    reason: Reason = Reason.NEW_REVISION
    may_create: bool = True


def turn(
    strategy: Strategy,
    *,
    wanted: int,
    new: Sequence[Member],
    old: Sequence[Member],
    leaving: int,
    is_whole: bool = False,
) -> Turn:
    """The turn of one model. ``new`` are its replicas of the wanted revision, ``old`` those of others that are not on
    their way out, ``leaving`` how many of others are, and still have their room. ``is_whole``: they never
    serve beside each other."""
    if not old:
        return Turn(may_create=strategy != "recreate" or not leaving)
    ready = sum(one.status == R.READY for one in new)
    everyone = tuple(one.id for one in old)
    if wanted == 0 or ready >= wanted:
        return Turn(retire=everyone)
    if strategy == "recreate":
        return Turn(retire=everyone, reason=Reason.MAKES_WAY, may_create=False)
    serving = sorted((one for one in old if one.status == R.READY), key=lambda one: (one.created_at, one.id))
    idle = tuple(one.id for one in old if one.status != R.READY)
    waiting = sum(one.is_room_held for one in new)
    if strategy == "hold":
        return Turn(retire=everyone, reason=Reason.MAKES_WAY) if waiting else Turn(retire=idle)
    if waiting > leaving + len(idle):
        making = tuple(one.id for one in serving[: waiting - leaving - len(idle)])
        return Turn(retire=(*idle, *making), reason=Reason.MAKES_WAY)
    excess = max(0, len(serving) - (wanted - ready)) if ready and not is_whole else 0
    return Turn(retire=(*idle, *(one.id for one in serving[:excess])))


def canary_count(wanted: int, weight: int) -> int:
    """How many replicas a revision on trial has beside ``wanted`` of the other: its share, at least one."""
    return -(-wanted * weight // 100) if wanted else 0
