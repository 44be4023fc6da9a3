"""Celery's side: an id comes in, one call is made. Losing every message changes nothing but latency."""

import datetime as dt

from celery import shared_task

from moorage.deployments import life, orphans, reconcile, replica_time
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.fleet import errors as fleet_errors
from moorage.fleet import runtimes
from moorage.kernel import clock


@shared_task
def reconcile_deployment(deployment_id: str) -> None:
    """One look at one deployment; what has to be driven is."""
    for replica_id in reconcile.reconcile(deployment_id, runtime=runtimes.configured()):
        drive_replica.delay(replica_id)


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
        if Replica.objects.filter(pk=replica_id, status_changed_at__lt=clock.now() - dt.timedelta(seconds=5)).exists():
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
    replica_time.record_all(now=clock.now())


@shared_task
def fetch_log(replica_id: str) -> None:
    """Fetches a runner's last lines for somebody who asked."""
    replica = Replica.objects.exclude(status=ReplicaStatus.GONE).filter(pk=replica_id).first()
    if replica is None:
        return
    try:
        life.save_log(replica, runtimes.configured())
    except fleet_errors.FleetError:
        return
