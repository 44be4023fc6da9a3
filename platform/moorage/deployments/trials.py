"""Updates on their way: a trial is judged by its summed figures, what fails is rolled back, what is done is closed.

Called at every look. Whatever is decided is stored with its why and its figures, and said in the timeline.
"""

import dataclasses
import datetime as dt
from collections.abc import Mapping, Sequence
from typing import Any, Final

from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import MOORAGE, Actor
from moorage.deployments import canary, states, targets, updates
from moorage.deployments.models import (
    Deployment,
    DeploymentStatus,
    ReplicaStatus,
    RouteActivity,
    Update,
    UpdateState,
)
from moorage.deployments.observed import Seen
from moorage.deployments.planner import DesiredModel
from moorage.deployments.routes import route_id
from moorage.deployments.setbacks import FAILURES_BEFORE_FAILED
from moorage.fleet import database_clock

R: Final = ReplicaStatus
#: A canary that finds no room beside what serves is given up after this.
ROOM_PATIENCE: Final = dt.timedelta(seconds=60)
#: And one that is simply never ready after this.
READY_PATIENCE: Final = dt.timedelta(hours=1)


def follow(deployment: Deployment, seen: Seen, models: Sequence[DesiredModel], *, now: dt.datetime) -> bool:
    """Decides what can be decided now. True: the target is another one, so this look is of no use any more.

    ``models`` as :func:`moorage.deployments.updates.shaped` gives them. Do not ask about a deployment that is paused or
    being deleted: nothing of it runs, so nothing can be said of it.
    """
    update = updates.open_of(deployment)
    if update is None or update.revision_id != deployment.target_id:
        return False
    trial = updates.trial_of(update)
    if trial is not None:
        return _follow_trial(deployment, trial, seen, models, now)
    why = _has_failed(update, seen, models)
    if why is not None and update.baseline is not None:
        return roll_back(update, why=why, by=MOORAGE, code="update_rolled_back")
    if _is_done(seen, models):
        with transaction.atomic():
            if updates.close(update, state=UpdateState.DONE, why=update.why or "It has taken over."):
                message = f"Revision {update.revision.number} has taken over."
                states.note(deployment, code="update_done", message=message, by=MOORAGE)
    return False


@transaction.atomic
def promote(update: Update, *, why: str, by: Actor) -> bool:
    """The revision on trial gets all requests. False: it is no longer on trial."""
    Deployment.objects.select_for_update().get(pk=update.deployment_id)
    if not updates.promote(update, why=why):
        return False
    message = f"Revision {update.revision.number} is promoted. {why}"
    states.note(update.deployment, code="canary_promoted", message=message, by=by)
    _audit(update, "deployment.canary_promoted", by)
    Deployment.objects.filter(pk=update.deployment_id).update(reconcile_at=database_clock.now())
    return True


@transaction.atomic
def roll_back(update: Update, *, why: str, by: Actor, code: str = "canary_rolled_back") -> bool:
    """What served before is wanted again, and there is no way back from that. False: it is decided already."""
    deployment = Deployment.objects.select_for_update().get(pk=update.deployment_id)
    gone = {DeploymentStatus.DELETING, DeploymentStatus.DELETED}
    if update.baseline is None or deployment.target_id != update.revision_id or deployment.status in gone:
        return False
    if not updates.close(update, state=UpdateState.ROLLED_BACK, why=why):
        return False
    deployment.target = update.revision
    message = f"Revision {update.revision.number} is rolled back to {update.baseline.number}. {why}"
    targets.aim(deployment, update.baseline, by=by, code=code, message=message, is_final=True)
    _audit(update, f"deployment.{code}", by)
    return True


def _audit(update: Update, action: str, by: Actor) -> None:
    audit.record(
        organization=update.deployment.organization,
        by=by,
        action=action,
        subject=update.deployment_id,
        detail={"name": update.deployment.name, "revision": update.revision.number, "why": update.why[:500]},
    )


def _follow_trial(
    deployment: Deployment, trial: updates.Trial, seen: Seen, models: Sequence[DesiredModel], now: dt.datetime
) -> bool:
    update = trial.update
    awake = [model for model in models if model.key in trial.canaries and model.wanted]
    for model in awake:
        why = _never_ready(update, model, seen, now)
        if why is not None:
            return roll_back(update, why=why, by=MOORAGE)
    ready = {one.model_key for one in seen.replicas if one.status == R.READY and one.revision_id == update.revision_id}
    if update.trial_since is None:
        if awake and all(model.key in ready for model in awake):
            Update.objects.filter(pk=update.pk).update(trial_since=now)
            share = ", ".join(f"{canary.weight} %" for canary in trial.canaries.values())
            message = f"Revision {update.revision.number} is on trial with {share} of the requests."
            states.note(deployment, code="canary_began", message=message, by=MOORAGE)
        return False
    if not awake:
        return False
    return _judge(trial, now)


def _judge(trial: updates.Trial, now: dt.datetime) -> bool:
    update = trial.update
    assert update.trial_since is not None and update.baseline_id is not None
    said: dict[str, Any] = {}
    judgements = []
    for key, policy in trial.canaries.items():
        sums = figures_of(update, key)
        before, tried = (sums.get(each, canary.Figures()) for each in (update.baseline_id, update.revision_id))
        judgement = canary.judge(before, tried, policy, since=update.trial_since, now=now)
        judgements.append((key, judgement))
        said[key] = {
            "baseline": before.to_json(),
            "canary": tried.to_json(),
            "verdict": judgement.verdict,
            "why": judgement.why,
        }
    Update.objects.filter(pk=update.pk).update(figures=said, judged_at=now)
    several = len(judgements) > 1
    for key, judgement in judgements:
        if judgement.verdict == "roll back":
            return roll_back(update, why=f"{key}: {judgement.why}" if several else judgement.why, by=MOORAGE)
    if all(judgement.verdict == "promote" for _, judgement in judgements):
        promote(update, why=" ".join(judgement.why for _, judgement in judgements), by=MOORAGE)
    return False


def _never_ready(update: Update, model: DesiredModel, seen: Seen, now: dt.datetime) -> str | None:
    """Why a canary is given up that does not come up; None: it is up, or may still come."""
    trouble = seen.troubles.get(model.key)
    if trouble is not None and (trouble.failures.is_permanent or trouble.failures.count >= FAILURES_BEFORE_FAILED):
        return f"It does not stay up. {trouble.reason.explain(trouble.detail)}"
    if update.trial_since is not None:
        return None
    mine = [one for one in seen.replicas if one.model_key == model.key and one.revision_id == model.revision_id]
    waited = now - update.created_at
    if any(one.is_refused_room for one in mine) and waited >= ROOM_PATIENCE:
        return "There is no room for it beside what serves. Send the file without canary: then one makes way for it."
    if waited >= READY_PATIENCE and not any(one.status == R.READY for one in mine):
        return "It was not ready within an hour."
    return None


def _has_failed(update: Update, seen: Seen, models: Sequence[DesiredModel]) -> str | None:
    """Why an update is given up for which a replica that served has made way, or was about to."""
    for model in models:
        trouble = seen.troubles.get(model.key)
        if trouble is None or not trouble.failures.count:
            continue
        # Nobody serves meanwhile: the first failure is enough. Beside one that serves it may try three times.
        if model.strategy == "hold" or update.has_made_way:
            return f"It does not come up. {trouble.reason.explain(trouble.detail)}"
    return None


def _is_done(seen: Seen, models: Sequence[DesiredModel]) -> bool:
    wanted = {model.key: model for model in models}
    for one in seen.replicas:
        model = wanted.get(one.model_key)
        is_old = model is None or one.revision_id != model.revision_id
        if is_old and one.status == R.READY:
            return False
    ready: dict[str, int] = {}
    for one in seen.replicas:
        if one.status == R.READY:
            ready[one.model_key] = ready.get(one.model_key, 0) + 1
    return all(ready.get(model.key, 0) >= model.wanted for model in models)


def figures_of(update: Update, model_key: str) -> Mapping[str, canary.Figures]:
    """What the gateways have counted of a trial for one model, by revision id."""
    sums: dict[str, canary.Figures] = {}
    rows = RouteActivity.objects.filter(route_id=route_id(update.deployment_id, model_key))
    for document in rows.values_list("figures", flat=True):
        if document.get("trial") == update.pk:
            for revision_id, told in document.get("revisions", {}).items():
                sums[revision_id] = _plus(sums.get(revision_id, canary.Figures()), told)
    return sums


def _plus(one: canary.Figures, told: Mapping[str, Any]) -> canary.Figures:
    first_token = dict(one.first_token)
    for bucket, count in told.get("first_token", {}).items():
        first_token[int(bucket)] = first_token.get(int(bucket), 0) + int(count)
    return dataclasses.replace(
        one,
        requests=one.requests + int(told.get("requests", 0)),
        errors=one.errors + int(told.get("errors", 0)) + int(told.get("refused", 0)),
        streams=one.streams + int(told.get("streams", 0)),
        first_token=first_token,
        stream_tokens=one.stream_tokens + int(told.get("stream_tokens", 0)),
        stream_seconds=one.stream_seconds + int(told.get("stream_us", 0)) / 1e6,
        whole_answers=one.whole_answers + int(told.get("whole_answers", 0)),
        whole_tokens=one.whole_tokens + int(told.get("whole_tokens", 0)),
        whole_seconds=one.whole_seconds + int(told.get("whole_us", 0)) / 1e6,
    )
