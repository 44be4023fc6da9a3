"""A cursor over the beginning of a hostile file: it asks whether there is enough left before it touches a byte.

It reads from any stream of chunks (a file, an HTTP body), holds at most one chunk and the piece asked for, and never
goes past its limit, so a header costs bounded memory and bounded traffic whatever it claims.
"""

import struct
from collections.abc import Iterator
from typing import BinaryIO

from moorage.artifacts.errors import HeaderRefused

CHUNK_BYTES = 256 * 1024
_U64 = struct.Struct("<Q")


def chunks_of(file: BinaryIO, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """The rest of a file in chunks."""
    while chunk := file.read(chunk_bytes):
        yield chunk


class PrefixCursor:
    """Reads forward through at most `limit_bytes` of a file of `size_bytes`. Raises HeaderRefused past either."""

    def __init__(self, chunks: Iterator[bytes], *, size_bytes: int, limit_bytes: int) -> None:
        self._chunks = chunks
        self._chunk = b""
        self._at = 0  # within the chunk
        self.position = 0  # within the file
        self.size_bytes = size_bytes
        self._end = min(size_bytes, limit_bytes)

    @property
    def remaining(self) -> int:
        """Bytes that may still be read."""
        return self._end - self.position

    def need(self, count: int) -> None:
        """Refuse unless so many bytes are left; call it before believing a count from the file."""
        if count > self.remaining:
            if self._end < self.size_bytes and count <= self.size_bytes - self.position:
                raise HeaderRefused(f"The header is larger than {self._end} bytes. Package the model again.")
            raise HeaderRefused("The file ends inside its header. Package the model again from its source.")

    def take(self, count: int) -> bytes:
        """The next bytes, exactly so many."""
        self.need(count)
        end = self._at + count
        if end <= len(self._chunk):
            piece = self._chunk[self._at : end]
            self._at = end
            self.position += count
            return piece
        pieces = []
        while count:
            if self._at == len(self._chunk):
                self._refill()
            piece = self._chunk[self._at : self._at + count]
            self._at += len(piece)
            self.position += len(piece)
            count -= len(piece)
            pieces.append(piece)
        return b"".join(pieces)

    def skip(self, count: int) -> None:
        """Pass over bytes without keeping them."""
        self.need(count)
        while count:
            if self._at == len(self._chunk):
                self._refill()
            step = min(count, len(self._chunk) - self._at)
            self._at += step
            self.position += step
            count -= step

    def skip_strings(self, count: int, most: int) -> None:
        """Pass over strings, each a u64 length of at most `most` and that many bytes.

        Millions of them are honest (a tokenizer's merges), so this loop stays inside the chunk while it can.
        """
        while count:
            chunk, at, end = self._chunk, self._at, len(self._chunk)
            while count and at + 8 <= end:
                length = _U64.unpack_from(chunk, at)[0]
                if at + 8 + length > end:
                    break
                at += 8 + length
                count -= 1
            self.position += at - self._at
            self._at = at
            self.need(8 if count else 0)
            if count:
                length = self.u64()
                if length > most:
                    raise HeaderRefused(f"A string claims {length} bytes; {most} are the most.")
                self.skip(length)
                count -= 1

    def u32(self) -> int:
        """The next four bytes as a little-endian number."""
        number: int = struct.unpack("<I", self.take(4))[0]
        return number

    def u64(self) -> int:
        """The next eight bytes as a little-endian number."""
        number: int = _U64.unpack(self.take(8))[0]
        return number

    def _refill(self) -> None:
        self._chunk, self._at = next(self._chunks, b""), 0
        if not self._chunk:
            raise HeaderRefused("The file is shorter than its descriptor says. Push the model again.")
