"""The weights of one replica, brought to its node."""

import time
from typing import Final

from moorage.artifacts import services as artifacts
from moorage.deployments.driver import Driver
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.deployments.progress import File, PullMeter
from moorage.deployments.reasons import Reason
from moorage.fleet import services as fleet
from moorage.kernel.errors import PlatformError

R = ReplicaStatus
_PROGRESS_SECONDS: Final = 0.5


def pull(driver: Driver) -> None:
    """Pulling: brings what is missing, and goes on."""
    if bring(driver):
        fleet.note_weights(replica_id=driver.replica.pk, digest=driver.pin.digest)
        driver.move(R.STARTING, Reason.STARTING, _how_much(driver.replica))


def _how_much(replica: Replica) -> str:
    """What had to be brought, for the timeline."""
    if not replica.total_bytes:
        return "The weights were on the node already."
    size, here = replica.total_bytes / 1e6, int(replica.pull.get("here_bytes", 0)) / 1e6
    kept = f", {here:.1f} MB of them were there already" if here >= 0.1 else ""
    return f"The weights are {size:.1f} MB{kept}."


def bring(driver: Driver) -> bool:
    """The replica's weights are on its node, or it has failed: False. Says how far it is."""
    artifact = driver.artifact
    reported_at = 0.0
    files = [File(name=name, size_bytes=size, here_bytes=here) for name, size, here in artifacts.files_here(artifact)]
    meter = PullMeter(files, now=time.monotonic())

    def progress(done: int, total: int) -> None:
        nonlocal reported_at
        driver.keep()
        now = time.monotonic()
        if now - reported_at >= _PROGRESS_SECONDS or done == total:
            reported_at = now
            driver.record(pulled_bytes=done, total_bytes=total, pull=meter.saw(done, now=now).to_json())

    try:
        artifacts.pull(artifact=artifact, progress=progress)
    except PlatformError as error:
        is_refused = error.code in {"digest_mismatch", "header_refused", "unsupported_artifact"}
        reason = Reason.ARTIFACT_REFUSED if is_refused else Reason.PULL_FAILED
        driver.move(R.FAILED, reason, error.message, is_permanent_failure=error.permanent and error.status_code < 500)
        return False
    return True
