"""From what is wanted and what is there to the steps that are missing. Pure, level-triggered, idempotent.

The same input gives the same steps; performing them and asking again gives fewer, until there are none. Nothing here
trusts that a step was performed: only what is observed counts.
"""

import dataclasses
import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final, Literal

from moorage.deployments.models import ReplicaStatus
from moorage.deployments.reasons import Reason

#: A draining replica gets this long to finish its requests.
DRAIN: Final = dt.timedelta(seconds=30)
#: The route is withdrawn before draining begins; gateways need a moment to hear of it.
HEARD: Final = dt.timedelta(seconds=1)
#: Waits between tries of a model that keeps failing: 1, 2, 4 … 300 s.
LONGEST_WAIT: Final = dt.timedelta(seconds=300)
#: From this many failures in a row on, the deployment is called failed.
FAILURES_BEFORE_FAILED: Final = 3

#: What the runtime says of a replica's container; unknown means it could not be asked.
ContainerState = Literal["running", "exited", "absent", "unknown"]

R = ReplicaStatus
_PROVISIONING: Final = frozenset({R.PENDING, R.PLACED, R.PULLING, R.STARTING})


@dataclasses.dataclass(frozen=True, kw_only=True)
class DesiredModel:
    """One model of the target revision."""

    key: str
    revision_id: str
    wanted: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class ObservedReplica:
    """One replica that is not gone."""

    id: str
    model_key: str
    revision_id: str
    status: ReplicaStatus
    status_changed_at: dt.datetime
    created_at: dt.datetime
    container: ContainerState = "unknown"
    exit_code: int | None = None
    is_oom_killed: bool = False
    in_flight: int = 0
    is_refused_room: bool = False
    is_driven: bool = False  #: somebody holds its lease


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failures:
    """The run of failures of one model of the target revision since it was last ready."""

    count: int = 0
    last_at: dt.datetime | None = None
    is_permanent: bool = False


@dataclasses.dataclass(frozen=True)
class Create:
    """Add a pending replica."""

    model_key: str
    revision_id: str


@dataclasses.dataclass(frozen=True)
class Drive:
    """Take a replica further on its way: place, pull, start, or stop it."""

    replica_id: str


@dataclasses.dataclass(frozen=True)
class Drain:
    """Give a ready replica no new request."""

    replica_id: str
    reason: Reason


@dataclasses.dataclass(frozen=True)
class Stop:
    """Begin to remove a replica."""

    replica_id: str
    reason: Reason


@dataclasses.dataclass(frozen=True)
class Fail:
    """A replica that should run does not."""

    replica_id: str
    reason: Reason
    detail: str = ""


Action = Create | Drive | Drain | Stop | Fail


def plan(
    models: Iterable[DesiredModel],
    replicas: Sequence[ObservedReplica],
    failures: dict[str, Failures],
    *,
    is_off: Reason | None = None,
    now: dt.datetime,
) -> tuple[Action, ...]:
    """The next steps. ``is_off`` (paused or deleted) wants nothing to run; ``failures`` is by model key."""
    actions: list[Action] = []
    leaving: set[str] = set()
    for replica in replicas:
        for action in _care(replica, now):
            actions.append(action)
            if not isinstance(action, Drive) or replica.status == R.STOPPING:
                leaving.add(replica.id)
    staying = [replica for replica in replicas if replica.id not in leaving and replica.status != R.DRAINING]
    if is_off is not None:
        actions += _retire(staying, is_off)
    else:
        wanted = {model.key: model for model in models}
        for model in wanted.values():
            actions += _model_steps(model, staying, failures.get(model.key, Failures()), now)
        actions += _retire([replica for replica in staying if replica.model_key not in wanted], Reason.NEW_REVISION)
    # A replica that is being given up is not driven any further first.
    retired = {action.replica_id for action in actions if isinstance(action, Stop | Drain | Fail)}
    return tuple(action for action in actions if not (isinstance(action, Drive) and action.replica_id in retired))


def retry_at(failures: Failures) -> dt.datetime | None:
    """When a model that has failed is tried again; None: at once (never failed) or not at all (permanent)."""
    if not failures.count or failures.last_at is None or failures.is_permanent:
        return None
    seconds = min(2 ** (failures.count - 1), int(LONGEST_WAIT.total_seconds()))
    return failures.last_at + dt.timedelta(seconds=seconds)


def _care(replica: ObservedReplica, now: dt.datetime) -> Iterable[Action]:
    """What a replica needs whatever is wanted."""
    match replica.status:
        case R.READY | R.DRAINING if replica.container in {"exited", "absent"}:
            yield Fail(replica.id, *_end_of(replica))
        case R.DRAINING:
            waited = now - replica.status_changed_at
            if waited >= DRAIN or (waited >= HEARD and replica.in_flight == 0):
                yield Stop(replica.id, Reason.DRAINED)
        case R.FAILED:
            yield Stop(replica.id, Reason.ENGINE_EXITED)
        case R.PENDING | R.PLACED | R.PULLING | R.STARTING | R.STOPPING if not replica.is_driven:
            yield Drive(replica.id)


def _end_of(replica: ObservedReplica) -> tuple[Reason, str]:
    if replica.is_oom_killed:
        return Reason.OUT_OF_MEMORY, ""
    if replica.container == "absent":
        return Reason.CONTAINER_GONE, ""
    return Reason.ENGINE_EXITED, "" if replica.exit_code is None else f"Exit code {replica.exit_code}."


def _model_steps(
    model: DesiredModel, staying: Sequence[ObservedReplica], failures: Failures, now: dt.datetime
) -> list[Action]:
    mine = [replica for replica in staying if replica.model_key == model.key]
    current = sorted(
        (replica for replica in mine if replica.revision_id == model.revision_id),
        # Keep what is furthest: ready before provisioning, then the oldest.
        key=lambda replica: (replica.status != R.READY, replica.created_at, replica.id),
    )
    old = [replica for replica in mine if replica.revision_id != model.revision_id]
    actions: list[Action] = _retire(current[model.wanted :], Reason.SURPLUS if model.wanted else Reason.IDLE)
    current = current[: model.wanted]
    missing = model.wanted - len(current)
    due = retry_at(failures)
    if missing > 0 and not failures.is_permanent and (due is None or due <= now):
        actions += [Create(model.key, model.revision_id)] * missing
    has_taken_over = any(replica.status == R.READY for replica in current)
    if has_taken_over or model.wanted == 0:
        actions += _retire(old, Reason.NEW_REVISION)
    else:
        # An old replica that is not ready yet serves nobody; a new one that finds no room gets that of an old one.
        actions += _retire([replica for replica in old if replica.status != R.READY], Reason.NEW_REVISION)
        if any(replica.is_refused_room for replica in current):
            actions += _retire([replica for replica in old if replica.status == R.READY][:1], Reason.NEW_REVISION)
    return actions


def _retire(replicas: Iterable[ObservedReplica], reason: Reason) -> list[Action]:
    return [
        Drain(replica.id, reason) if replica.status == R.READY else Stop(replica.id, reason)
        for replica in replicas
        if replica.status == R.READY or replica.status in _PROVISIONING
    ]
