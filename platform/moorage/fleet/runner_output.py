"""What a runner prints, line by line: Docker's frames and the process runtime's log read into the same lines.

A line has a stream and the time at which the runtime got it. Lines come in order of their streams; two lines may have
the same time, so that whoever goes on from a time counts those that it has already.
"""

import collections
import dataclasses
import datetime as dt
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, Literal, cast

Stream = Literal["stdout", "stderr"]

#: More than this of one line is not kept: what follows up to its end is dropped.
LINE_BYTES: Final = 64 * 1024
_CHUNK: Final = 64 * 1024
_PART: Final = 16 * 1024
_STREAMS: Final[dict[int, Stream]] = {1: "stdout", 2: "stderr"}
#: ``o1763800000.123456 text``: how the process runtime writes a line down.
_STAMPED: Final = re.compile(rb"([oe])([0-9]{10})\.([0-9]{6}) ")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line without its end. ``at``: when the runtime got it, to the microsecond."""

    stream: Stream
    at: dt.datetime
    text: str


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What a container's processes take. None: the runtime cannot say."""

    memory_bytes: int | None = None
    peak_memory_bytes: int | None = None
    cpu_seconds: float | None = None  #: since the container started


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Leftover:
    """Something of an instance that is no container and should not be there."""

    kind: Literal["network", "volume", "record"]
    name: str


class DockerFrames:
    """Docker's multiplexed log stream with time stamps, as it arrives in pieces of any size.

    A frame is one byte of stream, three zeros, four bytes of length, and ``2026-11-22T10:00:00.123456789Z text``.
    A line of more than 16 KiB comes in several frames of one time; the last is shorter, or ends with a line feed.
    https://docs.docker.com/reference/api/engine/version/v1.41/#tag/Container/operation/ContainerAttach
    """

    def __init__(self) -> None:
        self._buffer = b""
        self._begun: dict[Stream, tuple[dt.datetime, bytes]] = {}
        #: The time of the last line, and how many lines had exactly that time: where another stream goes on.
        self.last: tuple[dt.datetime | None, int] = (None, 0)

    def feed(self, piece: bytes) -> Iterator[LogLine]:
        """The lines that end in ``piece``."""
        buffer = self._buffer + piece
        at = 0
        while len(buffer) - at >= 8:
            length = int.from_bytes(buffer[at + 4 : at + 8])
            if len(buffer) - at - 8 < length:
                break
            stream = _STREAMS.get(buffer[at], "stdout")
            yield from self._lines(stream, buffer[at + 8 : at + 8 + length])
            at += 8 + length
        self._buffer = buffer[at:]

    def end(self) -> Iterator[LogLine]:
        """Lines that the container's end has left without theirs."""
        for stream, (when, begun) in self._begun.items():
            yield self._whole(stream, when, begun)
        self._begun.clear()

    def _lines(self, stream: Stream, payload: bytes) -> Iterator[LogLine]:
        stamp, _, text = payload.partition(b" ")
        when = _moment(stamp)
        begun = self._begun.pop(stream, None)
        if begun is not None and begun[0] != when:
            yield self._whole(stream, *begun)
            begun = None
        whole = ((begun[1] if begun else b"") + text)[:LINE_BYTES]
        if text.endswith(b"\n") or len(text) < _PART:
            yield self._whole(stream, when, whole)
        else:
            self._begun[stream] = (when, whole)

    def _whole(self, stream: Stream, when: dt.datetime, text: bytes) -> LogLine:
        self.last = (when, self.last[1] + 1 if when == self.last[0] else 1)
        return LogLine(stream=stream, at=when, text=text.rstrip(b"\n").decode(errors="replace"))


def follow_files(
    directory: Path, *, since: dt.datetime | None, tail: int | None, is_over: Callable[[], bool]
) -> Iterator[LogLine | None]:
    """The lines of ``log.1`` and then of ``log``, which grows and is turned; None where there is no more at the moment.

    Of those that are there already the last ``tail``. Ends when ``is_over`` and everything is read. Raises OSError.
    """
    past: collections.deque[LogLine] = collections.deque(maxlen=tail)
    for old in _opened(directory / "log.1"):
        with old:
            for raw in old:
                past.extend(_wanted(raw, since))
    current: BinaryIO | None = next(iter(_opened(directory / "log")), None)
    rest = b""
    is_past = True
    try:
        while True:
            # Asked before reading: what was written before the end is read after it.
            has_ended = is_over()
            piece = current.read(_CHUNK) if current is not None else b""
            if piece:
                *lines, rest = (rest + piece).split(b"\n")
                rest = rest[: LINE_BYTES + 1]
                for raw in lines:
                    if is_past:
                        past.extend(_wanted(raw, since))
                    else:
                        yield from _wanted(raw, since)
                continue
            if is_past:
                is_past = False
                yield from past
                past.clear()
            newer = next(iter(_opened(directory / "log")), None)
            if newer is not None and (current is None or not _is_same(newer, current)):
                if current is not None:
                    current.close()
                current, rest = newer, b""
                continue
            if newer is not None:
                newer.close()
            if has_ended:
                return
            yield None
    finally:
        if current is not None:
            current.close()


def unstamped(raw: bytes) -> str:
    """The text of a line of the process runtime's log; one of an older version has no stamp."""
    found = _STAMPED.match(raw)
    return raw[found.end() if found else 0 :].rstrip(b"\n").decode(errors="replace")


def new_since(lines: Iterable[LogLine | None], *, at: dt.datetime | None, seen: int) -> Iterator[LogLine | None]:
    """``lines`` without those before ``at`` and the first ``seen`` ones of exactly that time: they are known."""
    for line in lines:
        if line is not None and at is not None:
            if line.at < at:
                continue
            if line.at == at and seen > 0:
                seen -= 1
                continue
        yield line


def _wanted(raw: bytes, since: dt.datetime | None) -> Iterator[LogLine]:
    found = _STAMPED.match(raw)
    if found is None:
        return
    when = dt.datetime.fromtimestamp(int(found[2]), tz=dt.UTC).replace(microsecond=int(found[3]))
    if since is None or when >= since:
        stream: Stream = "stderr" if found[1] == b"e" else "stdout"
        text = raw[found.end() :].rstrip(b"\n")
        yield LogLine(stream=stream, at=when, text=text[:LINE_BYTES].decode(errors="replace"))


def _opened(file: Path) -> tuple[BinaryIO, ...]:
    """The file, or nothing. Without a buffer: it grows while it is read."""
    try:
        return (cast(BinaryIO, file.open("rb", buffering=0)),)
    except FileNotFoundError:
        return ()


def _is_same(one: BinaryIO, other: BinaryIO) -> bool:
    return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))


def _moment(stamp: bytes) -> dt.datetime:
    """Docker writes as many digits of a second as are not zero."""
    whole, _, fraction = stamp.decode(errors="replace").rstrip("Z").partition(".")
    return dt.datetime.fromisoformat(f"{whole}.{(fraction + '000000')[:6]}+00:00")
