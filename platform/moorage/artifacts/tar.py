"""Walks a tar of strangers as a stream: regular files with plain names, bounded, and nothing else.

Python's tarfile is not used: its features (links, devices, absolute names, renaming extensions) are what a hostile
archive is made of. Here anything that is not a regular file or a directory refuses the whole archive, and nothing is
written by this module: the caller gets a name, a size and the bytes.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from moorage.artifacts import neighbours
from moorage.artifacts.cursor import CHUNK_BYTES, PrefixCursor
from moorage.artifacts.errors import HeaderRefused

BLOCK = 512
MAX_MEMBERS = 512
MAX_EXTENSION_BYTES = 64 * 1024

_REGULAR = (b"0", b"\0")
_DIRECTORY = b"5"
_EXTENDED = b"x"
_EXTENDED_GLOBAL = b"g"


@dataclass(frozen=True, kw_only=True)
class Member:
    """One regular file. Its `chunks` must be read, or left, before the next member is asked for."""

    path: str
    size_bytes: int
    chunks: Iterator[bytes]


def members(chunks: Iterator[bytes], *, size_bytes: int) -> Iterator[Member]:
    """The regular files of a tar of `size_bytes`, in order. Raises HeaderRefused at the first thing it dislikes."""
    cursor = PrefixCursor(chunks, size_bytes=size_bytes, limit_bytes=size_bytes)
    paths: list[str] = []
    renamed: str | None = None
    count = 0
    while cursor.remaining >= BLOCK:
        header = cursor.take(BLOCK)
        if not any(header):
            break
        count += 1
        if count > 2 * MAX_MEMBERS:
            raise HeaderRefused(f"The tar has more than {MAX_MEMBERS} files.")
        _check_sum(header)
        size, kind = _octal(header[124:136]), header[156:157]
        if kind in (_EXTENDED, _EXTENDED_GLOBAL):
            renamed = _renamed(cursor, size, renamed if kind == _EXTENDED_GLOBAL else None)
            continue
        path, renamed = renamed or _name(header), None
        if kind == _DIRECTORY and size == 0:
            _check_directory(path)
            continue
        if kind not in _REGULAR:
            raise HeaderRefused(f"The tar contains {ascii(path)[:120]}, which is no regular file.")
        cursor.need(size)
        path = neighbours.check_path(path.removeprefix("./"))
        paths.append(path)
        neighbours.check_collisions(paths)
        yield from _member(cursor, path, size)


def _member(cursor: PrefixCursor, path: str, size: int) -> Iterator[Member]:
    start = cursor.position

    def body() -> Iterator[bytes]:
        while (left := start + size - cursor.position) > 0:
            yield cursor.take(min(left, CHUNK_BYTES))

    yield Member(path=path, size_bytes=size, chunks=body())
    cursor.skip(start + size - cursor.position)
    cursor.skip(min(-size % BLOCK, cursor.remaining))


def _check_sum(header: bytes) -> None:
    """The sum of the header's bytes, its own field counted as spaces; some writers summed signed bytes."""
    stored = _octal(header[148:156])
    blank = header[:148] + b" " * 8 + header[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in blank)
    if stored not in (sum(blank), signed):
        raise HeaderRefused("The tar has a broken header.")


def _octal(field: bytes) -> int:
    digits = field.strip(b" \0")
    if not digits:
        return 0
    if not all(0x30 <= byte <= 0x37 for byte in digits):
        raise HeaderRefused("The tar has a number that is not octal.")
    return int(digits, 8)


def _text(field: bytes) -> str:
    raw = field.split(b"\0", 1)[0]
    if not raw.isascii():
        raise HeaderRefused("The tar has a file name that is not ASCII.")
    return raw.decode("ascii")


def _name(header: bytes) -> str:
    name = _text(header[:100])
    prefix = _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _check_directory(path: str) -> None:
    inner = path.strip("/")
    if inner in (".", "") and not path.startswith("/"):
        return
    # A folder has no suffix to judge, so it is checked as the parent of a harmless file.
    neighbours.check_path(path.rstrip("/").removeprefix("./") + "/LICENSE")


def _renamed(cursor: PrefixCursor, size: int, before: str | None) -> str | None:
    """Read a PAX record list; only times, owners and a path are understood. Returns the path, if one is given."""
    if size > MAX_EXTENSION_BYTES:
        raise HeaderRefused("The tar has an extended header that is too long.")
    text = cursor.take(size)
    cursor.skip(min(-size % BLOCK, cursor.remaining))
    path = before
    while text:
        length, space, _ = text.partition(b" ")
        if not space or not length.isdigit() or len(length) > 6 or not len(length) + 2 < int(length) <= len(text):
            raise HeaderRefused("The tar has a broken extended header.")
        key, _, value = text[len(length) + 1 : int(length) - 1].partition(b"=")
        if key == b"path":
            path = _text(value)
        elif key in (b"size", b"linkpath", b"charset", b"hdrcharset") or key.startswith(b"GNU.sparse"):
            raise HeaderRefused(f"The tar uses the extension {key.decode('ascii', 'replace')!a}.")
        text = text[int(length) :]
    return path
