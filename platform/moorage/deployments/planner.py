"""From what is wanted and what is there to the steps that are missing. Pure, level-triggered, idempotent.

The same input gives the same steps; performing them and asking again gives fewer, until there are none. Nothing here
trusts that a step was performed: only what is observed counts.
"""

import dataclasses
import datetime as dt
from collections.abc import Collection, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final, Literal

from moorage.compose.spec import Strategy
from moorage.deployments import rollout, tiers
from moorage.deployments.actions import Action, Create, Drain, Drive, Fail, Stop
from moorage.deployments.models import ReplicaStatus
from moorage.deployments.reasons import Reason
from moorage.deployments.setbacks import SERVED_A_WHILE, Failures, retry_at

#: A draining replica gets this long to finish its requests, where somebody waits for its end.
DRAIN: Final = dt.timedelta(seconds=30)
#: And this long where nobody does: longer than a gateway lets any request run.
PATIENT_DRAIN: Final = dt.timedelta(hours=1, minutes=1)
#: The route is withdrawn before draining begins; gateways need a moment to hear of it.
HEARD: Final = dt.timedelta(seconds=1)
#: What the runtime says of a replica's container; unknown means it could not be asked.
ContainerState = Literal["running", "paused", "exited", "absent", "unknown"]

R = ReplicaStatus
_PROVISIONING: Final = frozenset({R.PENDING, R.PLACED, R.PULLING, R.STARTING})
_ASLEEP: Final = frozenset({R.FROZEN, R.STOPPED})


@dataclasses.dataclass(frozen=True, kw_only=True)
class Beside:
    """The revision that serves while another is on trial, and how many replicas it keeps."""

    revision_id: str
    wanted: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class DesiredModel:
    """One model of the target revision, and how it takes over. ``beside``: it is on trial, and shares the requests."""

    key: str
    revision_id: str
    wanted: int
    strategy: Strategy = "surge"
    is_whole: bool = False  #: it cannot share a route with what it replaces: none of that goes before all are there
    beside: Beside | None = None


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
    is_room_held: bool = False  #: its weights are here, and what it replaces has the room that it needs
    is_patient: bool = False  #: nobody waits for the end of its drain
    is_driven: bool = False  #: somebody holds its lease
    is_drowsy: bool = False  #: it drains because nobody calls
    is_waking: bool = False  #: asleep, and wanted awake
    is_stuck: bool = False  #: it answers that it is well and produces no token (vitality.py)
    stuck_why: str = ""
    holds_room: bool = True
    node_is_draining: bool = False  #: it is to be brought up elsewhere


def plan(
    models: Iterable[DesiredModel],
    replicas: Sequence[ObservedReplica],
    failures: dict[str, Failures],
    *,
    is_off: Reason | None = None,
    beds: Mapping[str, tiers.Bed] = MappingProxyType({}),
    now: dt.datetime,
) -> tuple[Action, ...]:
    """The next steps. ``is_off`` (paused or deleted) wants nothing to run; ``failures`` is by model key, and so are
    ``beds``: how replicas sleep that nobody calls."""
    models = tuple(models)
    # What is on a node that is being drained counts as of an older revision: it serves until another one is ready.
    on_drained = {replica.id for replica in replicas if replica.node_is_draining}
    replicas = [
        dataclasses.replace(one, revision_id=_elsewhere(one.revision_id)) if one.id in on_drained else one
        for one in replicas
    ]
    targets = {model.revision_id for model in models} if is_off is None else set()
    if is_off is None:
        targets |= {model.beside.revision_id for model in models if model.beside is not None}
    actions: list[Action] = []
    leaving: set[str] = set()
    for replica in replicas:
        for action in _care(replica, now, sleeps=_sleeps(replica, targets), is_off=is_off is not None):
            actions.append(action)
            if not isinstance(action, Drive) or replica.status == R.STOPPING:
                leaving.add(replica.id)
    staying = [
        replica
        for replica in replicas
        if replica.id not in leaving and (replica.status != R.DRAINING or _sleeps(replica, targets))
    ]
    if is_off is not None:
        actions += _retire(staying, is_off)
    else:
        wanted = {model.key: model for model in models}
        for model in wanted.values():
            bed = beds.get(model.key, tiers.NO_BED)
            own = {model.revision_id, model.beside.revision_id if model.beside else model.revision_id}
            gone = sum(one.model_key == model.key and one.revision_id not in own for one in replicas) - sum(
                one.model_key == model.key and one.revision_id not in own for one in staying
            )
            problems = _with_new(failures.get(model.key, Failures()), model, replicas, actions, now)
            actions += _model_steps(model, staying, problems, bed, leaving=gone, now=now)
        actions += _retire([replica for replica in staying if replica.model_key not in wanted], Reason.NEW_REVISION)
    # A replica that is being given up is not driven any further first.
    retired = {action.replica_id for action in actions if not isinstance(action, Create | Drive)}
    return tuple(
        _leaving_node(action) if not isinstance(action, Create) and action.replica_id in on_drained else action
        for action in actions
        if not (isinstance(action, Drive) and action.replica_id in retired)
    )


def _elsewhere(revision_id: str) -> str:
    """What a revision is called where it must not stay."""
    return f"{revision_id} on a drained node"


def _leaving_node(action: Action) -> Action:
    """The same step, with the reason that is true of a replica on a drained node."""
    if isinstance(action, Drain | Stop) and action.reason is Reason.NEW_REVISION:
        return dataclasses.replace(action, reason=Reason.NODE_DRAINED)
    return action


def _with_new(
    known: Failures,
    model: DesiredModel,
    replicas: Sequence[ObservedReplica],
    actions: Sequence[Action],
    now: dt.datetime,
) -> Failures:
    """The failures of a model with one that is found just now.

    The first that dies while it serves is replaced at once; one that dies soon, after others have, waits its turn.
    """
    found = {action.replica_id for action in actions if isinstance(action, Fail)}
    mine = [one for one in replicas if one.id in found and one.model_key == model.key]
    short = [
        one for one in mine if one.revision_id == model.revision_id and now - one.status_changed_at <= SERVED_A_WHILE
    ]
    if not short or not known.count:
        return known
    return Failures(count=known.count + 1, last_at=now, is_permanent=known.is_permanent)


def _sleeps(replica: ObservedReplica, targets: Collection[str]) -> bool:
    """It is asleep or about to be, and may be called again: its model's bed decides."""
    is_resting = replica.status in _ASLEEP or (replica.status == R.DRAINING and replica.is_drowsy)
    return is_resting and replica.revision_id in targets


def _care(replica: ObservedReplica, now: dt.datetime, *, sleeps: bool, is_off: bool) -> Iterable[Action]:
    """What a replica needs whatever is wanted."""
    match replica.status:
        case R.READY | R.DRAINING if replica.container in {"exited", "absent"}:
            yield Fail(replica.id, *_end_of(replica))
        case R.READY | R.DRAINING if replica.container == "paused" and not replica.is_driven:
            yield Drive(replica.id)
        case R.READY if replica.is_stuck and replica.container == "running":
            yield Fail(replica.id, Reason.NO_TOKENS, replica.stuck_why)
        case R.FROZEN if replica.container in {"exited", "absent"}:
            yield Stop(replica.id, Reason.ENDED_ASLEEP)
        case R.STOPPED if replica.container == "absent":
            yield Stop(replica.id, Reason.ENDED_ASLEEP)
        case R.FROZEN if not replica.is_driven and (replica.is_waking or replica.container == "running"):
            yield Drive(replica.id)
        case R.STOPPED if not replica.is_driven and (replica.is_waking or _is_half_stopped(replica)):
            yield Drive(replica.id)
        case R.DRAINING if not sleeps:
            waited = now - replica.status_changed_at
            most = PATIENT_DRAIN if replica.is_patient and not is_off else DRAIN
            if waited >= most or (waited >= HEARD and replica.in_flight == 0):
                yield Stop(replica.id, Reason.DRAINED)
        case R.FAILED:
            yield Stop(replica.id, Reason.ENGINE_EXITED)
        case R.PENDING | R.PLACED | R.PULLING | R.STARTING | R.STOPPING if not replica.is_driven:
            yield Drive(replica.id)


def _is_half_stopped(replica: ObservedReplica) -> bool:
    """Its driver died on the way."""
    return replica.container in {"running", "paused"} or replica.holds_room


def _end_of(replica: ObservedReplica) -> tuple[Reason, str]:
    if replica.is_oom_killed:
        return Reason.OUT_OF_MEMORY, ""
    if replica.container == "absent":
        return Reason.CONTAINER_GONE, ""
    return Reason.ENGINE_EXITED, "" if replica.exit_code is None else f"Exit code {replica.exit_code}."


def _model_steps(
    model: DesiredModel,
    staying: Sequence[ObservedReplica],
    failures: Failures,
    bed: tiers.Bed,
    *,
    leaving: int,
    now: dt.datetime,
) -> list[Action]:
    """The steps of one model; ``leaving``: how many replicas of other revisions are on their way out."""
    serving = model
    if model.beside is not None:
        serving = DesiredModel(key=model.key, revision_id=model.beside.revision_id, wanted=model.beside.wanted)
    own = {model.revision_id, serving.revision_id}
    mine = [replica for replica in staying if replica.model_key == model.key]
    old = [replica for replica in mine if replica.revision_id not in own]
    current = _kept(serving, mine)
    # Where only the node is another, nobody has to wait, whatever an update would do.
    is_move = bool(old) and all(one.revision_id == _elsewhere(serving.revision_id) for one in old)
    strategy = "surge" if is_move else serving.strategy
    turn = rollout.turn(strategy, wanted=serving.wanted, new=current, old=old, leaving=leaving, is_whole=model.is_whole)
    known = failures if serving is model else Failures()
    actions = _own_steps(serving, mine, known, bed, may_create=turn.may_create, now=now)
    if serving is not model:
        actions += _own_steps(model, mine, failures, bed, may_create=True, now=now)
    return actions + _retire([replica for replica in old if replica.id in turn.retire], turn.reason)


def _kept(model: DesiredModel, mine: Sequence[ObservedReplica]) -> list[ObservedReplica]:
    """Its revision's replicas that are awake and wanted: what is furthest, ready before provisioning, the oldest."""
    awake = (one for one in mine if one.revision_id == model.revision_id and not _sleeps(one, {model.revision_id}))
    return sorted(awake, key=lambda one: (one.status != R.READY, one.created_at, one.id))[: model.wanted]


def _own_steps(
    model: DesiredModel,
    mine: Sequence[ObservedReplica],
    failures: Failures,
    bed: tiers.Bed,
    *,
    may_create: bool,
    now: dt.datetime,
) -> list[Action]:
    """What the replicas of the model's own revision need to be as many as are wanted."""
    own = [replica for replica in mine if replica.revision_id == model.revision_id]
    asleep = [replica for replica in own if _sleeps(replica, {model.revision_id})]
    current = _kept(model, own)
    surplus = [replica for replica in own if replica not in asleep and replica not in current]
    actions: list[Action] = _retire(surplus, Reason.SURPLUS if model.wanted else Reason.IDLE)
    missing = model.wanted - len(current)
    night = tiers.steps(asleep, missing=missing, bed=bed, now=now)
    actions += [
        Stop(step.replica_id, step.reason, step.detail) if isinstance(step, tiers.End) else step for step in night
    ]
    missing -= tiers.coming(asleep, night)
    due = retry_at(failures)
    if may_create and missing > 0 and not failures.is_permanent and (due is None or due <= now):
        actions += [Create(model.key, model.revision_id)] * missing
    return actions


def _retire(replicas: Iterable[ObservedReplica], reason: Reason) -> list[Action]:
    return [
        Drain(replica.id, reason) if replica.status == R.READY else Stop(replica.id, reason)
        for replica in replicas
        if replica.status == R.READY or replica.status in _PROVISIONING or replica.status in _ASLEEP
    ]
