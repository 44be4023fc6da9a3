"""How far a replica is on its way to its first token, and when it should be there. Pure: figures and time come in.

What is left is the rest of the pull, at the speed it has had so far, and then as long as the last start of the model
took. Nothing is said where nothing is known: an estimate that is overdue is none.
"""

import collections
import dataclasses
import datetime as dt
from collections.abc import Sequence
from typing import Final

from moorage.deployments.models import ReplicaStatus

R: Final = ReplicaStatus
#: The speed of a pull is that of its last seconds.
_WINDOW_SECONDS: Final = 10.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Progress:
    """What a caller that waits can be told. ``stage`` is a replica's status."""

    stage: str = ""
    percent: int | None = None
    expected_at: dt.datetime | None = None


NO_PROGRESS: Final = Progress()


@dataclasses.dataclass(frozen=True, kw_only=True)
class File:
    """One file of a model. ``here_bytes`` of it were on the node before the pull began."""

    name: str
    size_bytes: int
    here_bytes: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pull:
    """How a pull goes. Of what was on the node already nothing is said of its speed."""

    here_bytes: int = 0  #: that were there before it began
    files: int = 0
    files_done: int = 0
    file: str = ""  #: the one that is on its way
    bytes_per_second: int | None = None
    seconds_left: int | None = None

    def to_json(self) -> dict[str, int | str | None]:
        """For the replica's row."""
        return dataclasses.asdict(self)


class PullMeter:
    """The speed of one pull over the last seconds. Files come one after another, in their order; ``now`` is any clock
    that only goes forward, in seconds."""

    def __init__(self, files: Sequence[File], *, now: float) -> None:
        self._files = tuple(files)
        self._wanted = sum(max(0, file.size_bytes - file.here_bytes) for file in self._files)
        self._samples: collections.deque[tuple[float, int]] = collections.deque([(now, 0)])

    def saw(self, done: int, *, now: float) -> Pull:
        """So many bytes of all files are on the node, those that were there before among them."""
        brought, finished, name, before = 0, 0, "", 0
        for file in self._files:
            there = min(max(0, done - before), file.size_bytes)
            brought += max(0, there - file.here_bytes)
            if there == file.size_bytes:
                finished += 1
            elif not name:
                name = file.name
            before += file.size_bytes
        self._samples.append((now, brought))
        while len(self._samples) > 2 and now - self._samples[0][0] > _WINDOW_SECONDS:
            self._samples.popleft()
        began, first = self._samples[0]
        speed = int((brought - first) / (now - began)) if now > began else 0
        return Pull(
            here_bytes=sum(file.here_bytes for file in self._files),
            files=len(self._files),
            files_done=finished,
            file=name,
            bytes_per_second=speed or None,
            seconds_left=-(-(self._wanted - brought) // speed) if speed else None,
        )


def of_replica(
    status: ReplicaStatus,
    *,
    since: dt.datetime,
    pulled_bytes: int,
    total_bytes: int,
    start_took: dt.timedelta | None,
    now: dt.datetime,
    pull_seconds: int | None = None,
) -> Progress:
    """The progress of a replica that has its status ``since``. ``start_took``: the last start of its model, if any;
    ``pull_seconds``: what is left of its pull, if its speed is known."""
    percent, expected = None, None
    match status:
        case R.STARTING if start_took is not None:
            expected = since + start_took
        case R.PULLING if total_bytes:
            percent = min(100 * pulled_bytes // total_bytes, 100)
            if pull_seconds is not None:
                expected = now + dt.timedelta(seconds=pull_seconds) + (start_took or dt.timedelta())
            elif pulled_bytes and now > since:
                left = (now - since) * ((total_bytes - pulled_bytes) / pulled_bytes)
                expected = now + left + (start_took or dt.timedelta())
        case R.PLACED | R.PULLING if start_took is not None:
            # The weights are on the node already, or the pull has not said anything yet.
            expected = since + start_took
    return Progress(stage=status.value, percent=percent, expected_at=expected)
