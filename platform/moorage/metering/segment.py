"""One journal segment on disk as the shipper sees it: its name, whose it is, and the records behind an offset.

A segment is ``<boot id>-<number>.journal``; its gateway takes the space in advance, so that what was not written yet
is zeros. A gateway holds ``flock`` on ``<boot id>.lock`` as long as it lives. See wire/journal.py for the records.
"""

import dataclasses
import fcntl
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final, Self

from moorage.wire import journal

SUFFIX: Final = ".journal"
LOCK_SUFFIX: Final = ".lock"
#: What is set aside because it could not be read keeps its name and gains this.
DAMAGED_SUFFIX: Final = ".damaged"
#: Read at once: more than the longest record, little enough for one transaction.
CHUNK_BYTES: Final = 8 << 20
#: Length, checksum and kind of a record.
_HEAD_BYTES: Final = 9


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True, order=True)
class Segment:
    """A file of the journal directory whose name is right; nothing is known of its content."""

    boot_id: str
    number: int
    path: Path

    @classmethod
    def named(cls, path: Path) -> Self | None:
        """The segment at ``path``, or None when the name is not a segment's."""
        boot_id, separator, number = path.name.removesuffix(SUFFIX).rpartition("-")
        if not separator or not boot_id or not number.isdecimal() or not number.isascii() or len(number) > 12:
            return None
        return cls(boot_id=boot_id, number=int(number), path=path)

    @property
    def name(self) -> str:
        """The file's name: the key of its JournalSegment row."""
        return self.path.name


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Chunk:
    """Whole records behind an offset, each with the file offset behind it."""

    records: tuple[tuple[journal.Record, int], ...]
    #: Where the next read starts.
    offset: int
    #: Nothing more can be read now.
    is_end: bool


class DamagedSegment(Exception):
    """The file does not begin like a segment."""


def begins_right(path: Path) -> bool | None:
    """Whether the file begins with the magic; None: it is shorter, or nothing was written to it yet."""
    with path.open("rb") as file:
        head = file.read(len(journal.MAGIC))
    if head == journal.MAGIC:
        return True
    return None if not any(head) or (len(head) < len(journal.MAGIC) and journal.MAGIC.startswith(head)) else False


def read_chunk(path: Path, offset: int) -> Chunk:
    """Whole records of ``path`` from the file offset on, at most about eight MiB of them.

    Raises DamagedSegment when the file does not begin with the magic, OSError as files do.
    """
    if offset < len(journal.MAGIC):
        right = begins_right(path)
        if right is None:
            return Chunk(records=(), offset=0, is_end=True)
        if not right:
            raise DamagedSegment(path.name)
        offset = len(journal.MAGIC)
    with path.open("rb") as file:
        # Asked five times a second of a file that is mostly zeros: look at one head before reading megabytes.
        head = os.pread(file.fileno(), _HEAD_BYTES, offset)
        if len(head) < _HEAD_BYTES or head[-1] == 0:
            return Chunk(records=(), offset=offset, is_end=True)
        data = os.pread(file.fileno(), CHUNK_BYTES, offset)
    records = tuple((record, offset + end) for record, end in journal.read(data))
    reached = records[-1][1] if records else offset
    return Chunk(records=records, offset=reached, is_end=not records or len(data) < CHUNK_BYTES)


def is_torn_tail(path: Path, offset: int) -> bool:
    """Whether what lies behind ``offset`` is no more than a write that a crash cut short: nothing, zeros, or the
    beginning of a record that is longer than the file. Anything else is damage worth a person's look."""
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(_HEAD_BYTES)
        if len(head) == _HEAD_BYTES and offset + _HEAD_BYTES + int.from_bytes(head[:4], "little") > path.stat().st_size:
            return True
        file.seek(offset)
        return len(head) < _HEAD_BYTES or not any(any(block) for block in iter(lambda: file.read(1 << 20), b""))


def is_alive(directory: Path, boot_id: str) -> bool:
    """Whether the gateway of this boot still holds its lock. A missing lock file means that it does not: the file
    is there, locked, before the first segment is."""
    try:
        descriptor = os.open(directory / f"{boot_id}{LOCK_SUFFIX}", os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def segments(paths: Iterable[Path]) -> list[Segment]:
    """The segments among ``paths``, by boot and number."""
    named = (Segment.named(path) for path in paths if path.name.endswith(SUFFIX))
    return sorted(segment for segment in named if segment is not None)
