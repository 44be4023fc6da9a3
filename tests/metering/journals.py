"""Writes journals as a gateway does: segments of preallocated zeros, and a lock that a live boot holds."""

import dataclasses
import fcntl
import os
import zlib
from pathlib import Path

import msgspec

from moorage.wire import journal
from moorage.wire.records import UsageEvent


def opened(closed: UsageEvent) -> journal.Open:
    """The open record that a gateway writes before ``closed``."""
    zero = msgspec.structs.replace(
        closed,
        outcome="gateway_lost",
        status=0,
        input_tokens=0,
        cached_tokens=0,
        output_tokens=0,
        source="none",
        first_token_at_us=None,
        ended_at_us=0,
    )
    return journal.Open(event=zero)


def progress(closed: UsageEvent, output_tokens: int, *, source: str = "engine_running") -> journal.Progress:
    """How far the stream of ``closed`` was half a second after its start."""
    return journal.Progress(
        request_id=closed.request_id,
        input_tokens=closed.input_tokens,
        cached_tokens=closed.cached_tokens,
        output_tokens=output_tokens,
        source=source,
        at_us=closed.started_at_us + 500_000,
    )


def checkpoint(*streams: journal.Progress) -> journal.Checkpoint:
    """One checkpoint."""
    return journal.Checkpoint(streams=streams)


@dataclasses.dataclass(kw_only=True)
class Boot:
    """One boot of one gateway."""

    directory: Path
    id: str = "boot1"
    lock: int | None = None
    number: int = 0

    def start(self) -> "Boot":
        """Takes the lock, as the gateway does before its first segment."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.lock = os.open(self.directory / f"{self.id}.lock", os.O_RDWR | os.O_CREAT)
        fcntl.flock(self.lock, fcntl.LOCK_EX)
        return self

    def die(self) -> None:
        """The kernel drops the lock."""
        assert self.lock is not None
        os.close(self.lock)
        self.lock = None

    @property
    def path(self) -> Path:
        """The newest segment."""
        return self.directory / f"{self.id}-{self.number:06d}.journal"

    def rotate(self, *records: journal.Record, size: int = 1 << 16, magic: bytes = journal.MAGIC) -> Path:
        """A new segment with ``records``, and zeros behind them."""
        self.number += 1
        content = magic + b"".join(journal.encode(record) for record in records)
        self.path.write_bytes(content.ljust(size, b"\0"))
        self._end = len(content)
        return self.path

    def append(self, *records: journal.Record) -> None:
        """Writes ``records`` behind the others of the newest segment."""
        self.append_bytes(b"".join(journal.encode(record) for record in records))

    def append_payload(self, kind: int, payload: bytes) -> None:
        """Writes a record with whatever payload, and the right checksum."""
        checksum = zlib.crc32(payload, zlib.crc32(bytes((kind,))))
        self.append_bytes(journal.HEAD.pack(len(payload), checksum, kind) + payload)

    def append_bytes(self, content: bytes) -> None:
        """Writes ``content`` behind the records of the newest segment."""
        with self.path.open("r+b") as file:
            file.seek(self._end)
            file.write(content)
        self._end += len(content)

    def truncate(self) -> None:
        """Gives back the space that was not used, as a gateway does when it leaves a segment."""
        os.truncate(self.path, self._end)
