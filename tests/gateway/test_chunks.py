"""Streams whose head is known are read without the parser while their chunks are plain, and say the same as with it."""

import asyncio
import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from moorage.gateway import chunks
from moorage.gateway.chunks import Chunks
from moorage.gateway.receiver import Receiver
from moorage.gateway.upstream_protocol import UpstreamConnection

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"
#: Framing that HTTP allows and that is not the plain form, and framing that it does not allow.
ODD = [
    b"3;name=value\r\nabc\r\n",
    b"00000003\r\nabc\r\n",
    b"3 \r\nabc\r\n",
    b"3\nabc\n",
    b"-3\r\nabc\r\n",
    b"3\r\nabcd\r\n",
    b"x",
]
ENDINGS = [END, b"0\r\nName: value\r\n\r\n", b"00\r\n\r\n", END + b"HTTP/1.1 200 OK\r\n"]


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


class Wire(asyncio.Transport):
    """A transport that remembers whether it was closed."""

    is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Nobody reads it."""

    def abort(self) -> None:
        self.is_closed = True

    def close(self) -> None:
        self.is_closed = True

    def is_closing(self) -> bool:
        return self.is_closed


class Listener(Receiver):
    """What is told of one answer."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.body = b""
        self.bursts = 0

    def answer_began(self, status: int, media_type: bytes) -> None:
        self.told.append((status, media_type))

    def answer_came(self, pieces: list[bytes]) -> None:
        self.body += b"".join(pieces)

    def answer_in_chunks(self, chunks: Chunks) -> None:
        self.bursts += 1
        assert len(chunks.pieces()) == chunks.count
        assert b"".join(map(chunk, chunks.pieces())) == bytes(chunks.framed())
        self.body += b"".join(chunks.pieces())

    def answer_ended(self) -> None:
        self.told.append("ended")

    def engine_lost(self, *, is_unused: bool) -> None:
        self.told.append("lost")


def told(reads: Sequence[bytes], *, after: Sequence[bytes] = ()) -> Listener:
    """What the answer in ``reads`` says on a connection that had one answer before, in the reads of ``after``."""
    connection, wire, listener = UpstreamConnection(), Wire(), Listener()
    connection.connection_made(wire)
    if after:
        connection.send(Listener(), b"")
        for read in after:
            connection.data_received(read)
    connection.send(listener, b"")
    for read in reads:
        if not wire.is_closed and "ended" not in listener.told:
            connection.data_received(read)
    return listener


def cut(whole: bytes, places: Sequence[int]) -> list[bytes]:
    edges = [0, *sorted({place % len(whole) for place in places} - {0}), len(whole)]
    return [whole[start:end] for start, end in itertools.pairwise(edges)]


@given(
    contents=st.lists(st.binary(min_size=1, max_size=300), max_size=30),
    odd=st.sampled_from([b"", *ODD]),
    place=st.integers(min_value=0, max_value=30),
    ending=st.sampled_from(ENDINGS),
    places=st.lists(st.integers(min_value=0, max_value=10_000), max_size=5),
)
def test_a_stream_says_the_same_where_its_head_is_known(
    contents: list[bytes], odd: bytes, place: int, ending: bytes, places: list[int]
) -> None:
    framed = [chunk(content) for content in contents]
    framed.insert(place, odd)
    reads = cut(HEAD + b"".join(framed) + ending, places)

    expected = told(reads)
    known = told(reads, after=[HEAD + chunk(b"a") + END])

    assert (known.told, known.body) == (expected.told, expected.body)


def test_many_chunks_in_one_read_are_not_taken_apart() -> None:
    stream = HEAD + chunk(b"frame") * chunks.MANY + END

    assert told([stream]).bursts == 0
    assert told([stream], after=[stream]).bursts == 1


@pytest.mark.parametrize(
    "head", [HEAD.replace(b"OK\r\n", b"OK\r\nConnection: close\r\n"), HEAD.replace(b"200 OK", b"201 New")]
)
def test_the_head_of_no_usual_stream_is_not_remembered(head: bytes) -> None:
    stream = head + chunk(b"frame") * chunks.MANY + END

    assert told([stream], after=[HEAD + END]).bursts == 0


def test_what_follows_the_end_is_left_to_the_parser() -> None:
    found = chunks.find(chunk(b"a") + END + b"more", 0)

    assert (found.is_plain, found.is_last) == (False, False)
