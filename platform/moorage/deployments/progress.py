"""How far a replica is on its way to its first token, and when it should be there. Pure: figures and time come in.

What is left is the rest of the pull, at the speed it has had so far, and then as long as the last start of the model
took. Nothing is said where nothing is known: an estimate that is overdue is none.
"""

import dataclasses
import datetime as dt
from typing import Final

from moorage.deployments.models import ReplicaStatus

R: Final = ReplicaStatus


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """What a caller that waits can be told. ``stage`` is a replica's status."""

    stage: str = ""
    percent: int | None = None
    expected_at: dt.datetime | None = None


NO_PROGRESS: Final = Progress()


def of_replica(
    status: ReplicaStatus,
    *,
    since: dt.datetime,
    pulled_bytes: int,
    total_bytes: int,
    start_took: dt.timedelta | None,
    now: dt.datetime,
) -> Progress:
    """The progress of a replica that has its status ``since``. ``start_took``: the last start of its model, if any."""
    percent, expected = None, None
    match status:
        case R.STARTING if start_took is not None:
            expected = since + start_took
        case R.PULLING if total_bytes:
            percent = min(100 * pulled_bytes // total_bytes, 100)
            if pulled_bytes and now > since:
                left = (now - since) * ((total_bytes - pulled_bytes) / pulled_bytes)
                expected = now + left + (start_took or dt.timedelta())
        case R.PLACED | R.PULLING if start_took is not None:
            # The weights are on the node already, or the pull has not said anything yet.
            expected = since + start_took
    return Progress(stage=status.value, percent=percent, expected_at=expected)
