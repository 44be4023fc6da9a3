"""Looks after ready replicas: gathers what is known of them, asks the suspects, and marks those that are stuck.

The mark is all that is done here: reconcile sees it and replaces the replica (planner.py). Only the provisioning worker
calls this, because it alone reaches a runner's socket besides the gateways.
"""

import dataclasses
import datetime as dt
import logging
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from django.db import connections
from django.db.models import F

from moorage.deployments import services, vitality
from moorage.deployments.last_words import note_peak
from moorage.deployments.models import Replica, ReplicaStatus, RouteActivity, Vitality
from moorage.deployments.pins import Pin
from moorage.deployments.vitality import POLICY, Policy, Record, Signs, Work
from moorage.fleet import database_clock, engine_counters, probe
from moorage.fleet import errors as fleet_errors
from moorage.fleet.runtime import ContainerRuntime

log = logging.getLogger(__name__)

#: A gateway that has said nothing for so long has no say.
SILENT: Final = dt.timedelta(seconds=15)
_AT_ONCE: Final = 4
#: One round at a time in a process: a probe may take as long as the rounds are apart.
_round = threading.Lock()


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Suspect:
    replica: Replica
    row: Vitality
    record: Record
    signs: Signs


def check(*, runtime: ContainerRuntime, policy: Policy = POLICY) -> tuple[str, ...]:
    """Asks whoever is due; returns the replicas that were found stuck. Empty while another round is going on."""
    if not _round.acquire(blocking=False):
        return ()
    try:
        suspects = _due(policy)
        if not suspects:
            return ()
        with ThreadPoolExecutor(max_workers=_AT_ONCE) as pool:
            found = tuple(pool.map(lambda one: _ask(one, runtime, policy), suspects))
        return tuple(replica_id for replica_id in found if replica_id)
    finally:
        _round.release()


def _due(policy: Policy) -> list[_Suspect]:
    now = database_clock.now()
    replicas = Replica.objects.filter(status=ReplicaStatus.READY).exclude(socket="").select_related("revision")
    rows = {row.replica_id: row for row in Vitality.objects.filter(replica__status=ReplicaStatus.READY)}
    signs = _signs(now)
    due = []
    for replica in replicas:
        row = rows.get(replica.pk) or Vitality(replica=replica)
        told = signs.get(replica.pk, Signs())
        # It may have slept: idle time counts from when it was last ready.
        since = max(replica.ready_at or replica.created_at, replica.status_changed_at)
        record = Record(since=since, **{field: getattr(row, field) for field in _FIELDS})
        record = vitality.saw(record, told)
        if row.stuck_at is None and vitality.is_due(record, told, now=now, policy=policy):
            due.append(_Suspect(replica=replica, row=row, record=record, signs=told))
    return due


_FIELDS: Final = tuple(field.name for field in dataclasses.fields(Record) if field.name != "since")


def _signs(now: dt.datetime) -> Mapping[str, Signs]:
    found: dict[str, Signs] = {}
    for activity in RouteActivity.objects.filter(reported_at__gt=now - SILENT):
        for replica_id in activity.signs.keys() | activity.replicas.keys():
            sign = activity.signs.get(replica_id, {})
            before = found.get(replica_id, Signs())
            in_flight = int(activity.replicas.get(replica_id, 0))
            heard = activity.reported_at - dt.timedelta(seconds=float(sign["silent"])) if "silent" in sign else None
            found[replica_id] = Signs(
                in_flight=before.in_flight + in_flight,
                heard_at=_later(before.heard_at, heard),
                is_broken=before.is_broken or bool(sign.get("broken")),
            )
    return found


def _ask(suspect: _Suspect, runtime: ContainerRuntime, policy: Policy) -> str:
    """One question, and the record after it. Returns the replica's id if it is stuck."""
    try:
        return _asked(suspect, runtime, policy)
    except fleet_errors.FleetError as error:
        # Whoever cannot see the container says nothing of what is in it.
        log.warning("vitality_unknown replica=%s error=%s", suspect.replica.pk, error)
        return ""
    finally:
        connections.close_all()


def _asked(suspect: _Suspect, runtime: ContainerRuntime, policy: Policy) -> str:
    replica = suspect.replica
    container = runtime.inspect(replica.container_name)
    is_running = container is not None and container.status == "running"
    if not is_running:
        # Reconcile looks after containers that have ended, and sleepers are no business of ours.
        return ""
    pin = Pin.from_json(replica.revision.pins[replica.model_key])
    socket = Path(replica.socket)
    told = probe.first_token(socket, pin.served_name, pin.kind, timeout_seconds=policy.answer_within.total_seconds())
    now = database_clock.now()
    note_peak(replica, runtime)
    counted = engine_counters.read(socket)
    work = Work(
        cpu_seconds=runtime.usage(replica.container_name).cpu_seconds,
        counted_tokens=counted.input_tokens + counted.output_tokens if counted else None,
    )
    # A request may have come in meanwhile, and its tokens too.
    signs = _signs(now).get(replica.pk, Signs())
    record = vitality.saw(suspect.record, signs)
    record = vitality.asked(record, _answer(told), work, signs, now=now, policy=policy)
    why = vitality.why_stuck(record, signs, is_running=is_running, now=now, policy=policy)
    if why and _has_lost_another(replica, now - policy.spacing):
        why = ""
    detail = why or ("" if told.is_ok else told.detail)
    values = {field: getattr(record, field) for field in _FIELDS} | {"detail": detail[:500]}
    if why:
        values["stuck_at"] = now
        log.warning("replica_stuck replica=%s why=%s", replica.pk, why)
    Vitality.objects.update_or_create(replica_id=replica.pk, defaults=values)
    Vitality.objects.filter(pk=replica.pk).update(probes=F("probes") + 1)
    if not why:
        return ""
    services.ring(replica.deployment_id)
    return replica.pk


def _answer(told: probe.ProbeResult) -> vitality.Answer:
    """A refusal of the question itself (4xx) takes a living engine; silence and failures do not."""
    if told.is_ok or (told.reason == "engine_error" and " answered 4" in told.detail):
        return "token"
    return "unseen" if told.reason == "no_socket" else "silence"


def _has_lost_another(replica: Replica, since: dt.datetime) -> bool:
    return (
        Vitality.objects.filter(
            replica__deployment_id=replica.deployment_id, replica__model_key=replica.model_key, stuck_at__gt=since
        )
        .exclude(pk=replica.pk)
        .exists()
    )


def _later(*moments: dt.datetime | None) -> dt.datetime | None:
    return max(filter(None, moments), default=None)
