"""The revision that is wanted: who points at it, and how many replicas are wanted of it at first."""

from moorage.accounts.actor import Actor
from moorage.deployments import scale_history, states, updates
from moorage.deployments.models import Deployment, Revision, Scale
from moorage.fleet import database_clock


def aim(
    deployment: Deployment,
    revision: Revision,
    *,
    by: Actor,
    code: str,
    message: str,
    is_tried: bool = False,
    is_final: bool = False,
) -> None:
    """Makes ``revision`` the target, and begins the update to it. Call it in the transaction of the deed, which holds
    the deployment's row. For ``is_tried`` and ``is_final`` see :func:`moorage.deployments.updates.begin`."""
    updates.begin(deployment, revision, is_tried=is_tried, is_final=is_final, by=by)
    deployment.target = revision
    want_again(deployment)
    states.begin_provisioning(deployment, code=code, message=message, by=by)


def want_again(deployment: Deployment) -> None:
    """Whoever applies, rolls back or resumes wants to see it run: idle time starts anew with at least one replica.

    As many as there were before, within the new bounds: an update under load must not begin with one.
    """
    assert deployment.target is not None
    now = database_clock.now()
    spec_models = {model["key"]: model for model in deployment.target.spec["models"]}
    before = dict(Scale.objects.filter(deployment=deployment).values_list("model_key", "wanted"))
    for key, model in spec_models.items():
        least = max(model["scale"]["min"], 1)
        wanted = max(least, min(before.get(key, 0), model["scale"]["max"]))
        Scale.objects.update_or_create(
            deployment=deployment,
            model_key=key,
            defaults={
                "wanted": wanted,
                "why": "applied",
                "decided_at": now,
                "active_at": now,
                "surplus_since": None,
            },
        )
        if wanted != before.get(key, 0):
            why = "Applied or resumed: it runs until nobody calls."
            scale_history.note(
                deployment, model_key=key, before=before.get(key, 0), wanted=wanted, why=why, signals={}, at=now
            )
    Scale.objects.filter(deployment=deployment).exclude(model_key__in=spec_models).delete()
