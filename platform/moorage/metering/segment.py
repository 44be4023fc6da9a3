"""One journal segment on disk as the shipper sees it: its name, whose it is, and the records behind an offset.

A segment is ``<boot id>-<number>.journal``; its gateway takes the space in advance, so that what was not written yet
is zeros. A gateway holds ``flock`` on ``<boot id>.lock`` as long as it lives. See wire/journal.py for the records.
"""

import dataclasses
import fcntl
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Self

import msgspec

from moorage.wire import journal

SUFFIX: Final = ".journal"
LOCK_SUFFIX: Final = ".lock"
#: What is set aside because it could not be read keeps its name and gains this.
DAMAGED_SUFFIX: Final = ".damaged"
#: Read at once: more than the longest record, little enough for one transaction.
CHUNK_BYTES: Final = 8 << 20


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
    """Some bytes of a segment, from a record's beginning on."""

    data: bytes
    #: Where in the file they begin.
    offset: int
    #: Nothing more can be read now.
    is_end: bool
    version: int = journal.VERSION

    def records(self) -> Iterator[tuple[int, bytes, int]]:
        """Kind, payload (as the newest version writes it) and the file offset behind it of the whole records."""
        found = journal.scan(self.data, base=self.offset)
        if self.version == journal.VERSION:
            return found
        return ((kind, _upgraded(kind, payload), end) for kind, payload, end in found)


def _upgraded(kind: int, payload: bytes) -> bytes:
    try:
        return journal.upgraded(kind, payload)
    except msgspec.DecodeError:
        return b""  # no record of any version; whoever decodes it says so


class DamagedSegment(Exception):
    """The file does not begin like a segment."""


def version(path: Path) -> int | None:
    """The version of the format that the file is written in; None: it is shorter than the magic, or nothing was
    written to it yet. Raises DamagedSegment when it does not begin like a segment, OSError as files do."""
    with path.open("rb") as file:
        head = file.read(len(journal.MAGIC))
    found = journal.version_of(head)
    if found is None and any(head) and not (len(head) < len(journal.MAGIC) and journal.MAGIC.startswith(head)):
        raise DamagedSegment(path.name)
    return found


def read_chunk(path: Path, offset: int, *, version: int = journal.VERSION) -> Chunk:
    """The bytes of ``path``, which is written in ``version``, from the file offset on: at most about eight MiB."""
    offset = max(offset, len(journal.MAGIC))
    with path.open("rb") as file:
        # Asked five times a second of a file that is mostly zeros: look at one head before reading megabytes.
        head = os.pread(file.fileno(), journal.HEAD.size, offset)
        if len(head) < journal.HEAD.size or head[-1] == 0:
            return Chunk(data=b"", offset=offset, is_end=True)
        data = os.pread(file.fileno(), CHUNK_BYTES, offset)
    return Chunk(data=data, offset=offset, is_end=len(data) < CHUNK_BYTES, version=version)


def is_torn_tail(path: Path, offset: int) -> bool:
    """Whether what lies behind ``offset`` is no more than a write that a crash cut short: nothing, zeros, the beginning
    of a record that is longer than the file, or one that ends in zeros with nothing but zeros behind it. Anything else
    is damage worth a person's look."""
    with path.open("rb") as file:
        file.seek(offset)
        head = file.read(journal.HEAD.size)
        begin = offset + journal.HEAD.size - 1  # the kind, which is written last of the head
        if len(head) == journal.HEAD.size and head[-1] != 0:
            length = int.from_bytes(head[:4], "little")
            begin = offset + len(head) + length - 1  # the record's last byte
            if length <= journal.MAX_PAYLOAD and begin >= path.stat().st_size:
                return True
        file.seek(begin)
        return len(head) < journal.HEAD.size or not any(any(block) for block in iter(lambda: file.read(1 << 20), b""))


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


def boots(directory: Path) -> set[str]:
    """The boots that have a segment or a lock file in ``directory``."""
    paths = list(directory.iterdir())
    locks = {path.name.removesuffix(LOCK_SUFFIX) for path in paths if path.name.endswith(LOCK_SUFFIX)}
    return locks | {segment.boot_id for segment in segments(paths)}


def segments(paths: Iterable[Path]) -> list[Segment]:
    """The segments among ``paths``, by boot and number."""
    named = (Segment.named(path) for path in paths if path.name.endswith(SUFFIX))
    return sorted(segment for segment in named if segment is not None)
