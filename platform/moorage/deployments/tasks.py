"""Celery's side: an id comes in, one call is made. Losing every message changes nothing but latency."""

import datetime as dt

from celery import shared_task

from moorage.accounts.actor import Actor
from moorage.deployments import (
    last_words,
    life,
    orphans,
    planner,
    reconcile,
    remains,
    replica_time,
    scale_history,
    vital_signs,
    warm_nodes,
)
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.fleet import database_clock, runtimes
from moorage.fleet import errors as fleet_errors


@shared_task
def reconcile_deployment(deployment_id: str) -> None:
    """One look at one deployment; what has to be driven is."""
    for replica_id in reconcile.reconcile(deployment_id, runtime=runtimes.configured()):
        drive_replica.delay(replica_id)
    fresh = database_clock.now() - planner.HEARD
    draining = Replica.objects.filter(deployment_id=deployment_id, status=ReplicaStatus.DRAINING)
    if draining.filter(status_changed_at__gt=fresh).exists():
        # Whoever waits for its room should not wait for the sweep. Only a fresh drain asks: looks do not multiply.
        reconcile_deployment.apply_async((deployment_id,), countdown=planner.HEARD.total_seconds() + 0.2)


@shared_task
def drive_replica(replica_id: str) -> None:
    """Takes one replica on, then looks at its deployment at once: a ready replica wants its route."""
    if life.drive(replica_id, runtime=runtimes.configured()) is None:
        return
    deployment_id = Replica.objects.values_list("deployment_id", flat=True).get(pk=replica_id)
    reconcile_deployment.run(deployment_id)


@shared_task
def sweep() -> None:
    """Finds all work that is due, whatever messages were lost."""
    for deployment_id in reconcile.due():
        reconcile_deployment.delay(deployment_id)
    for replica_id in reconcile.undriven():
        if Replica.objects.filter(
            pk=replica_id, status_changed_at__lt=database_clock.now() - dt.timedelta(seconds=5)
        ).exists():
            drive_replica.delay(replica_id)


@shared_task
def reap_orphans() -> None:
    """Removes what was left behind."""
    try:
        orphans.reap(runtime=runtimes.configured())
    except fleet_errors.RuntimeUnreachable:
        return


@shared_task
def meter_replicas() -> None:
    """Writes down the replica seconds since the last time."""
    replica_time.record_all(now=database_clock.now())


@shared_task
def forget_history() -> None:
    """Removes old decisions of the autoscaler, statuses that are metered, and what is not so any more of weights."""
    now = database_clock.now()
    scale_history.forget(now=now)
    replica_time.forget(now=now)
    warm_nodes.forget(now=now)


@shared_task
def report_remains() -> None:
    """Writes the night's report of what was left behind, if it is due."""
    remains.report_if_due(runtime=runtimes.configured())


@shared_task
def look_for_remains(actor_id: str, actor_label: str) -> None:
    """An administrator wants to know now."""
    remains.report(runtime=runtimes.configured(), by=Actor(id=actor_id, label=actor_label))


@shared_task
def check_vitality() -> None:
    """Asks ready replicas that may be stuck, or have been idle for long, for a token."""
    for replica_id in vital_signs.check(runtime=runtimes.configured()):
        deployment_id = Replica.objects.values_list("deployment_id", flat=True).get(pk=replica_id)
        reconcile_deployment.delay(deployment_id)


@shared_task
def fetch_log(replica_id: str) -> None:
    """Fetches a runner's last lines for somebody who asked."""
    replica = Replica.objects.exclude(status=ReplicaStatus.GONE).filter(pk=replica_id).first()
    if replica is None:
        return
    try:
        last_words.save_log(replica, runtimes.configured())
    except fleet_errors.FleetError:
        return
