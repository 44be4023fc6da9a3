"""Both ways of being left behind: what runs or lies somewhere without a replica, and room held for no replica.

A look every twenty seconds removes what is older than a creation that is still being written down, so that nothing is
left behind for longer than a minute. Each finding is a row, and an event of the deployment that it belonged to.
"""

import dataclasses
import datetime as dt
import logging
import os
import re
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from django.conf import settings
from django.db import transaction

from moorage.accounts.actor import MOORAGE
from moorage.deployments import states
from moorage.deployments.models import Deployment, DeploymentStatus, Orphan, Replica, ReplicaStatus, Route, Wake
from moorage.fleet import database_clock, sockets
from moorage.fleet import errors as fleet_errors
from moorage.fleet import queries as fleet_queries
from moorage.fleet import services as fleet
from moorage.fleet.runtime import Container, ContainerRuntime

log = logging.getLogger(__name__)

#: A container younger than this may belong to a creation that is still being written down.
YOUNG: Final = dt.timedelta(seconds=20)
_SOCKET_DIRECTORY: Final = re.compile(r"(rep_[0-9a-z]{26})-[0-9]+")
_SENTENCES: Final = {
    "container": "A container without a replica was removed.",
    "reservation": "Room that was held for no replica was released.",
    "socket_directory": "A socket directory without a replica was removed.",
    "network": "A network that no runner uses was removed.",
    "volume": "A volume that no runner uses was removed.",
    "record": "The record of a creation that was broken off was removed.",
    "route": "A route of a deleted deployment was removed.",
    "wake": "A wake of a deleted deployment was removed.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Look:
    """One look at everything: what was removed, how many of each kind were looked through, and what could not be."""

    removed: tuple[str, ...] = ()
    looked_at: dict[str, int] = dataclasses.field(default_factory=dict)
    problem: str = ""


def reap(*, runtime: ContainerRuntime) -> tuple[str, ...]:
    """Removes what this instance has and no replica does, and releases room; returns the names of what was removed.

    Raises RuntimeUnreachable, and has changed nothing then: what cannot be asked is not absent.
    """
    return look(runtime=runtime).removed


def look(*, runtime: ContainerRuntime) -> Look:
    """As :func:`reap`, with how much was looked through. Raises RuntimeUnreachable."""
    containers = runtime.list()
    held = fleet_queries.reserved_replica_ids()
    directories = _socket_directories()
    living = _living({one.replica_id for one in containers} | held | set(directories.values()))
    named = {container.name for container in containers}
    removed: list[str] = []
    problems: list[str] = []
    for container in containers:
        if container.replica_id in living or _is_young(container):
            continue
        try:
            runtime.remove(container.name)
        except fleet_errors.RuntimeUnreachable:
            raise
        except fleet_errors.FleetError as error:
            problems.append(error.message)
            _note("container", container.name, container.replica_id, problem=error.message)
            continue
        _note("container", container.name, container.replica_id)
        removed.append(container.name)
    for replica_id in sorted(held - living):
        fleet.release(replica_id=replica_id)
        _note("reservation", replica_id, replica_id)
    still = {container.replica_id for container in containers if container.name in named - set(removed)}
    for directory, replica_id in directories.items():
        if replica_id not in living | still and _age_seconds(directory) >= YOUNG.total_seconds():
            sockets.discard(directory)
            _note("socket_directory", directory.name, replica_id)
            removed.append(directory.name)
    for leftover in runtime.clear_leftovers(older_than_seconds=YOUNG.total_seconds()):
        _note(leftover.kind, leftover.name, "")
        removed.append(leftover.name)
    removed += _rows_of_deleted()
    # What somebody else has removed meanwhile is gone as well.
    Orphan.objects.filter(kind="container", removed_at=None).exclude(name__in=named - set(removed)).update(
        removed_at=database_clock.now()
    )
    looked_at = {"containers": len(containers), "reservations": len(held), "socket_directories": len(directories)}
    return Look(removed=tuple(removed), looked_at=looked_at, problem=" ".join(problems))


def _living(replica_ids: Iterable[str]) -> frozenset[str]:
    rows = Replica.objects.filter(pk__in=list(replica_ids)).exclude(status=ReplicaStatus.GONE)
    return frozenset(rows.values_list("pk", flat=True))


def _is_young(container: Container) -> bool:
    """One that never ran has no time of its own: whoever made it starts it within a moment, or died."""
    if container.started_at is not None:
        return database_clock.now() - container.started_at < YOUNG
    seen, _ = Orphan.objects.get_or_create(
        kind="container",
        name=container.name,
        removed_at=None,
        defaults={"replica_id": container.replica_id, "problem": "It was made and has not run yet."},
    )
    return database_clock.now() - seen.found_at < YOUNG


def _socket_directories() -> dict[Path, str]:
    """The directories of sockets by whose they are; whatever else lies there is not ours."""
    try:
        entries = list(os.scandir(settings.MOORAGE_SOCKET_DIR))
    except FileNotFoundError:
        return {}
    found = {}
    for entry in entries:
        name = _SOCKET_DIRECTORY.fullmatch(entry.name)
        if name is not None and entry.is_dir(follow_symlinks=False):
            found[Path(entry.path)] = name[1]
    return found


def _age_seconds(directory: Path) -> float:
    """Since something was last made or removed in it; negative where it is gone by now."""
    try:
        return time.time() - directory.stat().st_mtime
    except FileNotFoundError:
        return -1.0


def _rows_of_deleted() -> list[str]:
    """Nothing may route to what is deleted, and nothing may wake it."""
    deleted = Deployment.objects.filter(status=DeploymentStatus.DELETED)
    removed = []
    for kind, rows in (
        ("route", Route.objects.filter(deployment__in=deleted)),
        ("wake", Wake.objects.filter(deployment_id__in=deleted.values("pk"))),
    ):
        for name in rows.values_list("pk", flat=True):
            removed.append(str(name))
            _note(kind, str(name), "")
        rows.delete()
    return removed


@transaction.atomic
def _note(kind: str, name: str, replica_id: str, *, problem: str = "") -> None:
    """A row, and an event where the deployment is known."""
    log.warning("orphan_%s kind=%s name=%s", "stays" if problem else "removed", kind, name)
    now = database_clock.now()
    orphan, _ = Orphan.objects.get_or_create(
        kind=kind, name=name[:200], removed_at=None, defaults={"replica_id": replica_id[:40], "found_at": now}
    )
    orphan.problem = problem
    orphan.removed_at = None if problem else now
    orphan.save(update_fields=["problem", "removed_at"])
    replica = Replica.objects.select_related("deployment").filter(pk=replica_id).first()
    if replica is not None and not problem:
        states.note(replica.deployment, code="orphan_removed", message=f"{_SENTENCES[kind]} {name}", by=MOORAGE)
