"""Docker's answer about one container (``GET /containers/{id}/json``), read into our words. Pure."""

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from moorage.fleet.runner_output import Usage
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


def usage(stats: Mapping[str, Any]) -> Usage:
    """``GET /containers/{id}/stats``. What the kernel could drop at any time, files it has read, is not in use."""
    memory = stats.get("memory_stats") or {}
    details = memory.get("stats") or {}
    used = memory.get("usage")
    # cgroup v1 says total_inactive_file, v2 inactive_file.
    idle = details.get("total_inactive_file", details.get("inactive_file", 0))
    nanoseconds = ((stats.get("cpu_stats") or {}).get("cpu_usage") or {}).get("total_usage")
    return Usage(
        memory_bytes=None if used is None else max(0, used - idle),
        peak_memory_bytes=memory.get("max_usage"),
        cpu_seconds=None if nanoseconds is None else nanoseconds / 1e9,
    )


def age_mark(text: str) -> float:
    """When a network or a volume was made, as Unix seconds: RFC 3339 with nanoseconds, in any zone."""
    whole = text.partition(".")[0].rstrip("Z")
    zone = "+00:00"
    if len(text) > 6 and text[-6] in "+-" and text[-3] == ":":
        whole, zone = whole.removesuffix(text[-6:]), text[-6:]
    return dt.datetime.fromisoformat(f"{whole}{zone}").timestamp()


def _moment(text: str | None) -> dt.datetime | None:
    """Docker writes nanoseconds, and the year 1 for "never"."""
    if not text or text.startswith("0001-"):
        return None
    whole, _, fraction = text.rstrip("Z").partition(".")
    return dt.datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}+00:00")
