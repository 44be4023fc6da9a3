"""Docker's answer about one container (``GET /containers/{id}/json``), read into our words. Pure."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from moorage.fleet.runtime import EPOCH_LABEL, REPLICA_LABEL, SPEC_LABEL, Container, Status

_STATUSES: Final[Mapping[str, Status]] = {
    "created": "created",
    "running": "running",
    "restarting": "running",
    "paused": "paused",
    "exited": "exited",
    "dead": "exited",
    "removing": "exited",
}


def status(inspected: Mapping[str, Any]) -> Status:
    """Docker's seven statuses as our four."""
    return _STATUSES[inspected["State"]["Status"]]


def container(inspected: Mapping[str, Any]) -> Container:
    """The container that this answer describes."""
    labels = inspected["Config"]["Labels"] or {}
    state = inspected["State"]
    has_ended = status(inspected) == "exited"
    return Container(
        name=inspected["Name"].lstrip("/"),
        replica_id=labels.get(REPLICA_LABEL, ""),
        epoch=int(labels.get(EPOCH_LABEL, "0")),
        spec_hash=labels.get(SPEC_LABEL, ""),
        status=status(inspected),
        exit_code=state["ExitCode"] if has_ended else None,
        is_oom_killed=bool(state.get("OOMKilled")),
        started_at=_moment(state.get("StartedAt")),
        finished_at=_moment(state.get("FinishedAt")) if has_ended else None,
        labels=tuple(sorted((key, value) for key, value in labels.items() if key.startswith("moorage."))),
        image=inspected["Image"],
    )


def _moment(text: str | None) -> dt.datetime | None:
    """Docker writes nanoseconds, and the year 1 for "never"."""
    if not text or text.startswith("0001-"):
        return None
    whole, _, fraction = text.rstrip("Z").partition(".")
    return dt.datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}+00:00")
