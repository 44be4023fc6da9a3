"""The life of one replica: placed, pulled, started, ready; and at its end stopped and gone.

Whoever calls :func:`drive` holds the replica's lease while it works and may die at any instruction: everything it has
done is in the row or in the runtime, and the next caller goes on from there. Nothing here runs inside a transaction.
"""

import dataclasses
import datetime as dt
import logging
import os
import time
from pathlib import Path
from typing import Any, Final

from django.conf import settings

from moorage.artifacts import services as artifacts
from moorage.artifacts.models import Artifact
from moorage.deployments import leases, states
from moorage.deployments.models import Replica, ReplicaLog, ReplicaStatus
from moorage.deployments.pins import Pin
from moorage.deployments.queries import spec_of
from moorage.deployments.reasons import Reason
from moorage.fleet import engines, probe, sockets
from moorage.fleet import errors as fleet_errors
from moorage.fleet import queries as fleet_queries
from moorage.fleet import services as fleet
from moorage.fleet.placement import Demand
from moorage.fleet.runtime import Container, ContainerRuntime, ContainerSpec, container_name
from moorage.kernel import clock
from moorage.kernel.errors import PlatformError

log = logging.getLogger(__name__)

R = ReplicaStatus
#: A replica is never restarted, so it has one container in its life.
EPOCH: Final = 1
#: From start to the first token, unless the Compose file's healthcheck gives more.
START_SECONDS: Final = 600
_RENEW_SECONDS: Final = 10
_PROGRESS_SECONDS: Final = 0.5
#: How often a starting engine is looked at: quickly at first, since small models are up in a tenth of a second.
_FIRST_PAUSE: Final = 0.01
_LONGEST_PAUSE: Final = 0.5
_LOG_LINES: Final = 200


class LeaseLost(Exception):
    """Somebody else drives this replica now, or it is wanted no more."""


@dataclasses.dataclass(kw_only=True)
class Driver:
    """One drive of one replica under one lease."""

    replica: Replica
    epoch: int
    runtime: ContainerRuntime
    renewed_at: float = dataclasses.field(default_factory=time.monotonic)

    def move(self, to: ReplicaStatus, reason: Reason, detail: str = "", **fields: Any) -> None:
        """A guarded move; LeaseLost if the row is not as this driver knows it."""
        if not states.move_replica(self.replica, to=to, reason=reason, detail=detail, epoch=self.epoch, **fields):
            raise LeaseLost

    def record(self, **fields: object) -> None:
        """A guarded write without a move."""
        rows = Replica.objects.filter(pk=self.replica.pk, epoch=self.epoch, status=self.replica.status)
        if not rows.update(**fields):
            raise LeaseLost
        for name, value in fields.items():
            setattr(self.replica, name, value)

    def keep(self) -> None:
        """Renews the lease when it is time, and notices that the replica is wanted no more."""
        if time.monotonic() - self.renewed_at < _RENEW_SECONDS:
            return
        self.renewed_at = time.monotonic()
        if not leases.renew(Replica, self.replica.pk, self.epoch):
            raise LeaseLost
        if Replica.objects.values_list("status", flat=True).get(pk=self.replica.pk) != self.replica.status:
            raise LeaseLost


def drive(replica_id: str, *, runtime: ContainerRuntime) -> ReplicaStatus | None:
    """Takes a replica as far as it goes now. Returns where it stands, or None if somebody else is at it."""
    epoch = leases.claim(Replica, replica_id)
    if epoch is None:
        return None
    replica = Replica.objects.select_related("revision", "deployment").get(pk=replica_id)
    driver = Driver(replica=replica, epoch=epoch, runtime=runtime)
    try:
        _steps(driver)
    except LeaseLost:
        log.info("replica_lease_lost replica=%s", replica_id)
        return None
    except fleet_errors.RuntimeUnreachable as error:
        # Nothing is known, so nothing is changed; a sweep comes back to it.
        log.warning("runtime_unreachable replica=%s error=%s", replica_id, error)
    finally:
        leases.give_back(Replica, replica_id, epoch)
    return ReplicaStatus(driver.replica.status)


def _steps(driver: Driver) -> None:
    while True:
        before = driver.replica.status
        match ReplicaStatus(before):
            case R.PENDING:
                _place(driver)
            case R.PLACED:
                driver.move(R.PULLING, Reason.PULLING)
            case R.PULLING:
                _pull(driver)
            case R.STARTING:
                _start(driver)
            case R.STOPPING:
                _stop(driver)
            case _:
                return
        if driver.replica.status == before:
            return


def _pin(replica: Replica) -> Pin:
    return Pin.from_json(replica.revision.pins[replica.model_key])


def _place(driver: Driver) -> None:
    replica = driver.replica
    pin = _pin(replica)
    demand = Demand(memory_bytes=pin.memory_bytes, cpu_millis=pin.cpu_millis, gpus=pin.gpus)
    try:
        reservation = fleet.reserve(
            replica_id=replica.pk, organization_id=replica.deployment.organization_id, demand=demand
        )
    except fleet_errors.NoCapacity as error:
        driver.move(R.PENDING, Reason.NO_CAPACITY, error.message)
        return
    driver.move(R.PLACED, Reason.PLACED, reservation.why, node_id=reservation.node_id, engine=pin.engine)


def _pull(driver: Driver) -> None:
    replica = driver.replica
    artifact = Artifact.objects.select_related("organization").get(pk=_pin(replica).artifact_id)
    reported_at = 0.0

    def progress(done: int, total: int) -> None:
        nonlocal reported_at
        driver.keep()
        if time.monotonic() - reported_at >= _PROGRESS_SECONDS or done == total:
            reported_at = time.monotonic()
            driver.record(pulled_bytes=done, total_bytes=total)

    try:
        artifacts.pull(artifact=artifact, progress=progress)
    except PlatformError as error:
        is_refused = error.code in {"digest_mismatch", "header_refused", "unsupported_artifact"}
        reason = Reason.ARTIFACT_REFUSED if is_refused else Reason.PULL_FAILED
        driver.move(R.FAILED, reason, error.message, is_permanent_failure=error.permanent and error.status_code < 500)
        return
    driver.move(R.STARTING, Reason.STARTING)


def _start(driver: Driver) -> None:
    """Steps: 1. the exact command, stored; 2. the container; 3. health; 4. one real token."""
    replica = driver.replica
    try:
        spec = _container_spec(driver)
        container = driver.runtime.ensure(spec)
    except fleet_errors.RuntimeUnreachable:
        raise
    except fleet_errors.ImageMissing as error:
        driver.move(R.FAILED, Reason.IMAGE_MISSING, error.message)
        return
    except fleet_errors.FlagRefused as error:
        driver.move(R.FAILED, Reason.FLAG_REFUSED, error.message, is_permanent_failure=True)
        return
    except fleet_errors.FleetError as error:
        driver.move(R.FAILED, Reason.START_REFUSED, error.message)
        return
    driver.record(engine_version=container.image[:80])
    _await_token(driver, spec, started=replica.status_changed_at)


def _container_spec(driver: Driver) -> ContainerSpec:
    replica = driver.replica
    pin = _pin(replica)
    engine = engines.Engine(pin.engine)
    artifact = Artifact.objects.select_related("organization").get(pk=pin.artifact_id)
    model_dir = artifacts.pull(artifact=artifact)
    socket_dir = sockets.directory(Path(settings.MOORAGE_SOCKET_DIR), replica_id=replica.pk, epoch=EPOCH)
    paths = driver.runtime.runner_paths(model_dir=model_dir, socket_dir=socket_dir, engine=engine)
    reservation = fleet_queries.reservation_of(replica_id=replica.pk)
    devices = fleet_queries.device_vendor_ids(reservation) if reservation else ()
    model = spec_of(replica.revision).model(replica.model_key)
    command = engines.command(
        engine,
        paths=paths,
        settings=engines.EngineSettings(
            served_name=pin.served_name,
            context_size=pin.context_size,
            parallel=pin.slots,
            cpu_threads=_threads(pin.cpu_millis),
            memory_bytes=pin.memory_bytes,
            flags=tuple((flag.name, flag.value) for flag in model.flags),
            devices=devices,
            kind=pin.kind,
            has_chat_template=bool(artifact.model_facts.chat_template_digest),
        ),
    )
    # The platform's own variables win: a tenant's may add, never replace.
    environment = {**dict(model.environment), **dict(command.environment)}
    name = container_name(instance=settings.MOORAGE_INSTANCE, replica_id=replica.pk, epoch=EPOCH)
    driver.record(
        container_name=name,
        argv=list(command.argv),
        environment=environment,
        socket=str(sockets.path(socket_dir)),
        runtime=driver.runtime.name,
    )
    return ContainerSpec(
        name=name,
        replica_id=replica.pk,
        organization_id=replica.deployment.organization_id,
        epoch=EPOCH,
        engine=engine,
        argv=command.argv,
        environment=tuple(sorted(environment.items())),
        model_dir=model_dir,
        socket_dir=socket_dir,
        memory_bytes=pin.memory_bytes,
        # A lone replica may use idle processors; the reservation is what it is promised.
        cpu_millis=max(pin.cpu_millis, 1000 * _threads(pin.cpu_millis)),
        device_ids=devices,
        labels=model.labels,
    )


def _threads(cpu_millis: int) -> int:
    return max(1, min(os.cpu_count() or 1, -(-cpu_millis // 1000) * 2))


def _await_token(driver: Driver, spec: ContainerSpec, *, started: dt.datetime) -> None:
    replica, pin = driver.replica, _pin(driver.replica)
    socket = Path(replica.socket)
    health = spec_of(replica.revision).model(replica.model_key).health
    limit = max(START_SECONDS, (health.start_period_seconds or 0) if health else 0)
    pause, next_look = _FIRST_PAUSE, 0.0
    last = ""
    while (clock.now() - started).total_seconds() < limit:
        driver.keep()
        answer = probe.health(socket)
        if answer.is_ok:
            answer = probe.first_token(socket, pin.served_name, pin.kind)
        if answer.is_ok:
            driver.move(R.READY, Reason.FIRST_TOKEN, _took(replica))
            return
        last = answer.detail
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + 0.25
            container = driver.runtime.inspect(spec.name)
            if container is None or container.status == "exited":
                _fail_ended(driver, container)
                return
        # The pause is short against what an engine needs to load, and nothing tells us the moment it is done.
        time.sleep(pause)
        pause = min(pause * 1.5, _LONGEST_PAUSE)
    save_log(replica, driver.runtime)
    driver.move(R.FAILED, Reason.START_TIMEOUT, f"{limit} s have passed. {last} {_last_line(replica)}".strip())


def _took(replica: Replica) -> str:
    seconds = (clock.now() - replica.created_at).total_seconds()
    return f"Ready after {seconds:.1f} s."


def _fail_ended(driver: Driver, container: Container | None) -> None:
    replica = driver.replica
    if container is None:
        driver.move(R.FAILED, Reason.CONTAINER_GONE)
        return
    save_log(replica, driver.runtime)
    if container.is_oom_killed:
        driver.move(R.FAILED, Reason.OUT_OF_MEMORY, _last_line(replica), exit_code=container.exit_code)
        return
    code = "" if container.exit_code is None else f"Exit code {container.exit_code}. "
    driver.move(R.FAILED, Reason.ENGINE_EXITED, f"{code}{_last_line(replica)}".strip(), exit_code=container.exit_code)


def _stop(driver: Driver) -> None:
    """Steps: 1. keep the last lines; 2. the container goes; 3. only then its room."""
    replica = driver.replica
    if replica.container_name:
        save_log(replica, driver.runtime)
        driver.runtime.remove(replica.container_name)
    fleet.release(replica_id=replica.pk)
    driver.move(R.GONE, Reason.REMOVED)


def save_log(replica: Replica, runtime: ContainerRuntime) -> None:
    """Keeps the last lines of a replica's runner; silent where there is no container (any more)."""
    if not replica.container_name:
        return
    try:
        text = runtime.logs(replica.container_name, tail=_LOG_LINES)
    except fleet_errors.ContainerMissing:
        return
    ReplicaLog.objects.update_or_create(
        replica=replica, defaults={"text": text[-64 * 1024 :].replace("\0", ""), "fetched_at": clock.now()}
    )


def _last_line(replica: Replica) -> str:
    """What the engine said last, quoted: the best there is to explain its end."""
    found = ReplicaLog.objects.filter(replica=replica).values_list("text", flat=True).first() or ""
    lines = [line.strip() for line in found.splitlines() if line.strip()]
    errors = [line for line in lines if "error" in line.lower() or "fail" in line.lower()]
    chosen = (errors or lines)[-1:] or [""]
    return f"The engine's last word: {chosen[0][:300]}" if chosen[0] else ""
