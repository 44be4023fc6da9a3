"""The row of an update, from the deed that began it to its end; and what a trial wants running and routed meanwhile.

A deployment has at most one open update. Another deed supersedes it: what served stays the baseline, so that a file
sent in the middle of a trial is tried against the revision that serves, not against the one on trial.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Final

from django.db.models import QuerySet

from moorage.accounts.actor import Actor
from moorage.compose.spec import CanarySpec
from moorage.deployments import rollout
from moorage.deployments.models import Deployment, ReplicaStatus, Revision, Update, UpdateState
from moorage.deployments.pins import Pin
from moorage.deployments.planner import Beside, DesiredModel, ObservedReplica
from moorage.deployments.queries import pins_of, spec_of
from moorage.fleet import database_clock

R: Final = ReplicaStatus


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trial:
    """An open trial: which models of the target get which share of the requests."""

    update: Update
    canaries: Mapping[str, CanarySpec]  #: by model key
    pins: Mapping[str, Pin]  #: of the revision that served before

    def weights(self, model_key: str) -> dict[str, int]:
        """By revision id; empty for a model that is not on trial."""
        canary = self.canaries.get(model_key)
        if canary is None or self.update.baseline_id is None:
            return {}
        return {self.update.revision_id: canary.weight, self.update.baseline_id: 100 - canary.weight}


def open_of(deployment: Deployment) -> Update | None:
    """The update that is under way."""
    return _all(deployment).filter(state__in=Update.OPEN).first()


def last_of(deployment: Deployment) -> Update | None:
    """The update that is under way, or the last one that was."""
    return _all(deployment).first()


def _all(deployment: Deployment) -> QuerySet[Update]:
    return deployment.updates.select_related("revision", "baseline").order_by("-created_at")


def begin(deployment: Deployment, revision: Revision, *, is_tried: bool, is_final: bool = False, by: Actor) -> None:
    """``revision`` is about to be the target of ``deployment``, whose ``target`` is still the one before.

    ``is_tried``: a canary that its file asks for is wanted. ``is_final``: there is no way back from it. A first
    revision takes over from nothing, so it is no update. Call it in the transaction of the deed.
    """
    before = deployment.target
    current = open_of(deployment)
    if current is not None:
        if current.baseline is not None and not _has_taken_over(deployment, current):
            before = current.baseline
        close(current, state=UpdateState.SUPERSEDED, why=f"Revision {revision.number} is wanted instead.")
    if before is None:
        return
    if before.pk == revision.pk:
        # Back to what served all the while: the one that was tried is what is left behind.
        before = deployment.target
    is_trial = is_tried and before is not None and bool(_canaries(revision, before))
    Update.objects.create(
        deployment=deployment,
        revision=revision,
        baseline=None if is_final else before,
        state=UpdateState.TRIAL if is_trial else UpdateState.TAKING_OVER,
        by=by.label[:80],
    )


def close(update: Update, *, state: UpdateState, why: str) -> bool:
    """Ends it, if it is still open."""
    return _write(update, state=state, why=why, ended_at=database_clock.now())


def promote(update: Update, *, why: str) -> bool:
    """From the trial to the whole of the requests, if it is still on trial."""
    rows = Update.objects.filter(pk=update.pk, state=UpdateState.TRIAL)
    if not rows.update(state=UpdateState.TAKING_OVER, why=why):
        return False
    update.state, update.why = UpdateState.TAKING_OVER, why
    return True


def made_way(deployment: Deployment) -> None:
    """A replica that served has been drained for the open update: if that fails, there is something to bring back."""
    deployment.updates.filter(state__in=Update.OPEN).update(has_made_way=True)


def _write(update: Update, **values: object) -> bool:
    if not Update.objects.filter(pk=update.pk, state__in=Update.OPEN).update(**values):
        return False
    for name, value in values.items():
        setattr(update, name, value)
    return True


def _has_taken_over(deployment: Deployment, update: Update) -> bool:
    if update.state == UpdateState.TRIAL:
        return False
    return deployment.replicas.filter(revision=update.revision, status=R.READY).exists()


def trial_of(update: Update | None) -> Trial | None:
    """The trial that an update is, if it is one."""
    if update is None or update.state != UpdateState.TRIAL or update.baseline is None:
        return None
    return Trial(
        update=update,
        canaries=_canaries(update.revision, update.baseline),
        pins={pin.model_key: pin for pin in pins_of(update.baseline)},
    )


def _canaries(revision: Revision, baseline: Revision) -> dict[str, CanarySpec]:
    """The models that can be tried: those that were there before, and speak the same with their engine.

    A request is written for one engine before its replica is chosen, so engines and kinds cannot share a route.
    """
    before = {pin.model_key: pin for pin in pins_of(baseline)}
    now = {pin.model_key: pin for pin in pins_of(revision)}
    return {
        model.key: model.update.canary
        for model in spec_of(revision).models
        if model.update.canary is not None and model.key in before and may_share(before[model.key], now[model.key])
    }


def may_share(one: Pin, other: Pin) -> bool:
    """Whether replicas of both may stand in one route."""
    return (one.engine, one.kind, one.served_name) == (other.engine, other.kind, other.served_name)


def _of_other_engines(revision: Revision, replicas: Sequence[ObservedReplica]) -> frozenset[str]:
    """Keys of the models of which a replica of another revision serves, with which these cannot share a route."""
    serving = {one.revision_id for one in replicas if one.status == R.READY} - {revision.pk}
    if not serving:
        return frozenset()
    now = {pin.model_key: pin for pin in pins_of(revision)}
    before = [pin for one in Revision.objects.filter(pk__in=serving) for pin in pins_of(one)]
    return frozenset(pin.model_key for pin in before if not may_share(pin, now.get(pin.model_key, pin)))


def shaped(
    models: Sequence[DesiredModel], trial: Trial | None, revision: Revision, replicas: Sequence[ObservedReplica]
) -> tuple[DesiredModel, ...]:
    """What is wanted of each model, with its strategy and, during a trial, with what stays beside it.

    A model that only the earlier revision has stays until the trial is over.
    """
    spec = spec_of(revision)
    others = _of_other_engines(revision, replicas)
    found = []
    for model in models:
        strategy = spec.model(model.key).update.strategy
        shaped_one = dataclasses.replace(model, strategy=strategy, is_whole=model.key in others)
        if trial is not None and model.key in trial.canaries and trial.update.baseline_id is not None:
            shaped_one = dataclasses.replace(
                shaped_one,
                wanted=rollout.canary_count(model.wanted, trial.canaries[model.key].weight),
                beside=Beside(revision_id=trial.update.baseline_id, wanted=model.wanted),
            )
        found.append(shaped_one)
    if trial is not None and trial.update.baseline_id is not None:
        keys = {model.key for model in models}
        for key in sorted(trial.pins.keys() - keys):
            serving = sum(one.model_key == key and one.status == R.READY for one in replicas)
            found.append(DesiredModel(key=key, revision_id=trial.update.baseline_id, wanted=max(1, serving)))
    return tuple(found)
