"""The run of failures of one model, and when it is tried again: later and later while it keeps failing. Pure."""

import dataclasses
import datetime as dt
from typing import Final

#: Waits between tries of a model that keeps failing: 1, 2, 4 … 300 s.
LONGEST_WAIT: Final = dt.timedelta(seconds=300)
#: One that has been ready for longer begins a new run of failures.
SERVED_A_WHILE: Final = dt.timedelta(minutes=1)
#: From this many failures in a row on, the deployment is called failed.
FAILURES_BEFORE_FAILED: Final = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class Failures:
    """The run of failures of one model of the target revision since it was last ready."""

    count: int = 0
    last_at: dt.datetime | None = None
    is_permanent: bool = False


def retry_at(failures: Failures) -> dt.datetime | None:
    """When a model that has failed is tried again; None: at once (never failed) or not at all (permanent)."""
    if not failures.count or failures.last_at is None or failures.is_permanent:
        return None
    seconds = min(2 ** (failures.count - 1), int(LONGEST_WAIT.total_seconds()))
    return failures.last_at + dt.timedelta(seconds=seconds)
