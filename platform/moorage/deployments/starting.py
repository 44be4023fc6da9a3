"""The engine of one replica: the exact command, its container, and the wait for its first token."""

import datetime as dt
import os
import time
from pathlib import Path
from typing import Final

from django.conf import settings

from moorage.artifacts import services as artifacts
from moorage.deployments.driver import Driver, keep_what_is_written
from moorage.deployments.last_words import explain_end, last_line, note_peak, save_log
from moorage.deployments.models import ReplicaStatus
from moorage.deployments.queries import spec_of
from moorage.deployments.reasons import Reason
from moorage.deployments.tiers import Tier
from moorage.fleet import database_clock, engines, probe, runtime_classes, sockets
from moorage.fleet import errors as fleet_errors
from moorage.fleet import queries as fleet_queries
from moorage.fleet.runtime import Container, ContainerSpec, container_name
from moorage.kernel import fault

R = ReplicaStatus
#: A replica is never restarted after a failure, so it has one container in its life.
EPOCH: Final = 1
#: From start to the first token, unless the Compose file's healthcheck gives more.
START_SECONDS: Final = 600
#: How often a starting engine is looked at: quickly at first, since small models are up in a tenth of a second.
_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.5
_QUICK_SECONDS: Final = 0.5
_MEASURE_SECONDS: Final = 2.0


def start(driver: Driver) -> None:
    """Steps: 1. the exact command, stored; 2. the container; 3. health; 4. one real token.

    One that was stopped and is wanted awake has its container, as it was made, and it runs: 3 and 4.
    """
    replica = driver.replica
    if replica.wake_at is not None:
        _await_token(driver, replica.container_name, started=replica.status_changed_at)
        return
    try:
        spec = container_spec(driver)
        keep_what_is_written()
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
    driver.mark("started")
    driver.record(engine_version=container.image[:80])
    _await_token(driver, spec.name, started=replica.status_changed_at)


def container_spec(driver: Driver) -> ContainerSpec:
    """What the container of the replica is, whole; the command is stored beside it."""
    replica = driver.replica
    pin = driver.pin
    engine = engines.Engine(pin.engine)
    artifact = driver.artifact
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
            device_percent=fleet_queries.share_percent(reservation) if reservation and devices else 0,
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
        container_runtime=runtime_classes.container_runtime(replica.deployment.organization_id),
    )


def _threads(cpu_millis: int) -> int:
    return max(1, min(os.cpu_count() or 1, -(-cpu_millis // 1000) * 2))


def _await_token(driver: Driver, name: str, *, started: dt.datetime) -> None:
    replica, pin = driver.replica, driver.pin
    socket = Path(replica.socket)
    health = spec_of(replica.revision).model(replica.model_key).health
    limit = max(START_SECONDS, (health.start_period_seconds or 0) if health else 0)
    pause, next_look, began = _FIRST_PAUSE, 0.0, time.monotonic()
    # A small model is up before its memory is worth a question.
    next_measure = time.monotonic() + _MEASURE_SECONDS
    last = ""
    while (database_clock.now() - started).total_seconds() < limit:
        driver.keep()
        answer = probe.health(socket)
        if answer.is_ok:
            answer = probe.first_token(socket, pin.served_name, pin.kind)
        if answer.is_ok:
            driver.mark("token")
            # Wanted awake: it was stopped. Otherwise it was made for whoever waits.
            driver.came_from = Tier.STOPPED if replica.wake_at else Tier.ABSENT
            driver.since = driver.since or replica.wake_at or replica.created_at
            fault.point("before_ready")
            driver.serve(Reason.FIRST_TOKEN, _took(driver.since))
            return
        last = answer.detail
        if time.monotonic() >= next_look:
            next_look = time.monotonic() + 0.25
            container = driver.runtime.inspect(name)
            if container is None or container.status == "exited":
                _fail_ended(driver, container)
                return
            if time.monotonic() >= next_measure:
                next_measure = time.monotonic() + _MEASURE_SECONDS
                note_peak(replica, driver.runtime)
        # The pause is short against what an engine needs to load, and nothing tells us the moment it is done.
        time.sleep(pause)
        if time.monotonic() - began > _QUICK_SECONDS:
            pause = min(pause * 1.5, _LONGEST_PAUSE)
    save_log(replica, driver.runtime)
    driver.move(R.FAILED, Reason.START_TIMEOUT, f"{limit} s have passed. {last} {last_line(replica)}".strip())


def _took(since: dt.datetime) -> str:
    seconds = (database_clock.now() - since).total_seconds()
    return f"Ready after {seconds:.1f} s."


def _fail_ended(driver: Driver, container: Container | None) -> None:
    replica = driver.replica
    if container is None:
        driver.move(R.FAILED, Reason.CONTAINER_GONE)
        return
    why = explain_end(replica, container, driver.runtime)
    driver.move(R.FAILED, why.reason, why.detail, exit_code=container.exit_code, is_permanent_failure=why.is_permanent)
