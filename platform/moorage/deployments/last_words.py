"""What a runner said last: kept, redacted, when it ends or somebody asks, and read to explain its end."""

import logging
from typing import Final

from django.conf import settings

from moorage.artifacts import services as artifacts
from moorage.deployments import engine_failures
from moorage.deployments.models import Replica, ReplicaLog
from moorage.deployments.pins import Pin
from moorage.deployments.queries import spec_of
from moorage.deployments.reasons import Reason
from moorage.deployments.redaction import redact, secrets_of
from moorage.fleet import errors as fleet_errors
from moorage.fleet.runtime import Container, ContainerRuntime
from moorage.kernel import clock

log = logging.getLogger(__name__)

_LOG_LINES: Final = 200
_TEXT_MOST: Final = 64 * 1024


def secret_values(replica: Replica) -> frozenset[str]:
    """What must not be shown of anything that concerns this replica: the values of its tenant's variables, those that
    the Compose file's ``${…}`` took, the credentials of the organization's registries, and the platform's own key."""
    model = spec_of(replica.revision).model(replica.model_key)
    variables = {str(name): str(value) for name, value in dict(replica.revision.variables).items()}
    credentials = artifacts.credential_secrets(organization_id=replica.deployment.organization_id)
    found = secrets_of(dict(model.environment)) | secrets_of(variables)
    return found | frozenset(credentials) | {settings.SECRET_KEY}


def save_log(replica: Replica, runtime: ContainerRuntime) -> None:
    """Keeps the last lines of a replica's runner; silent where there is no container (any more)."""
    if not replica.container_name:
        return
    try:
        text = runtime.logs(replica.container_name, tail=_LOG_LINES)
    except fleet_errors.ContainerMissing:
        return
    shown = redact(text, secret_values(replica))[-_TEXT_MOST:]
    ReplicaLog.objects.update_or_create(replica=replica, defaults={"text": shown, "fetched_at": clock.now()})


def last_line(replica: Replica) -> str:
    """What the engine said last of what went wrong, quoted."""
    return engine_failures.last_word(_lines(replica))


def explain_end(
    replica: Replica, container: Container | None, runtime: ContainerRuntime
) -> engine_failures.Explanation:
    """Why the engine of ``replica`` ended, from what is left of its container. Raises RuntimeUnreachable."""
    save_log(replica, runtime)
    return engine_failures.explain(
        engine_failures.End(
            lines=_lines(replica),
            exit_code=container.exit_code if container else None,
            is_oom_killed=container.is_oom_killed if container else False,
            peak_memory_bytes=replica.peak_memory_bytes,
            limit_bytes=Pin.from_json(replica.revision.pins[replica.model_key]).memory_bytes,
        )
    )


def particulars(replica: Replica, reason: Reason, detail: str, runtime: ContainerRuntime) -> tuple[Reason, str]:
    """The reason of an end with what its engine says of it, where it ended by itself; as it was where nobody knows."""
    if reason not in {Reason.ENGINE_EXITED, Reason.OUT_OF_MEMORY}:
        return reason, detail
    try:
        why = explain_end(replica, runtime.inspect(replica.container_name), runtime)
    except fleet_errors.FleetError:
        return reason, detail
    return why.reason, why.detail


def note_peak(replica: Replica, runtime: ContainerRuntime) -> None:
    """Remembers the most memory that the container was seen with: once it has ended, nobody can be asked any more."""
    try:
        usage = runtime.usage(replica.container_name)
    except fleet_errors.FleetError:
        return
    seen = max(usage.peak_memory_bytes or 0, usage.memory_bytes or 0)
    if seen > (replica.peak_memory_bytes or 0):
        replica.peak_memory_bytes = seen
        Replica.objects.filter(pk=replica.pk).update(peak_memory_bytes=seen)


def _lines(replica: Replica) -> tuple[str, ...]:
    text = ReplicaLog.objects.filter(replica=replica).values_list("text", flat=True).first() or ""
    return tuple(text.splitlines())
