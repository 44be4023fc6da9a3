"""A stream whose end came in the same read as its beginning goes out in one write, once its usage is on disk."""

import json
import socket
from types import SimpleNamespace
from typing import Any, cast

import pytest

from moorage.gateway.answering import Answering
from moorage.gateway.chunks import Chunks
from moorage.gateway.errors import EngineFailed
from tests.gateway.conftest import MODEL, script
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess

WORDS = 40


class Sent:
    """A transport that remembers what each write held."""

    def __init__(self) -> None:
        self.writes: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.writes.append(bytes(data))

    def writelines(self, parts: list[bytes]) -> None:
        self.writes.append(b"".join(parts))


class Connection(Answering):
    """The half that speaks, on its own."""

    def __init__(self, sent: Sent, *, is_chunked: bool = True) -> None:
        metrics = SimpleNamespace(answers=lambda path, status: None)
        super().__init__(cast(Any, SimpleNamespace(metrics=metrics)))
        self._transport = cast(Any, sent)
        self._is_chunked = is_chunked

    def _answered(self) -> None:
        self._request_id = ""


@pytest.fixture
def sent() -> Sent:
    return Sent()


def burst() -> Chunks:
    data = b"3\r\nabc\r\n3\r\ndef\r\n"
    return Chunks(data, 0, len(data), 2, is_last=True)


def test_what_comes_with_the_end_goes_out_with_it(sent: Sent) -> None:
    connection = Connection(sent)

    connection.ends_soon()
    connection.begin_stream()
    connection.send_chunks(burst())
    connection.send_stream(b"ghi")
    written_before_the_end = list(sent.writes)
    connection.end_stream(b"last")

    assert written_before_the_end == []
    (write,) = sent.writes
    assert write.endswith(b"\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n3\r\nghi\r\n4\r\nlast\r\n0\r\n\r\n")


def test_what_the_engine_goes_on_with_later_is_not_kept(sent: Sent) -> None:
    connection = Connection(sent)

    connection.begin_stream()
    connection.send_chunks(burst())
    connection.send_stream(b"ghi")

    assert [write[-8:] for write in sent.writes] == [b"3\r\ndef\r\n", b"3\r\nghi\r\n"]


@pytest.mark.parametrize("ends", ["a stream", "an error"])
def test_the_next_answer_on_the_connection_is_not_kept(sent: Sent, ends: str) -> None:
    connection = Connection(sent)
    connection.ends_soon()
    if ends == "a stream":
        connection.begin_stream()
        connection.end_stream(b"last")
    else:
        connection.answer_error(EngineFailed())
    sent.writes.clear()

    connection.begin_stream()
    connection.send_stream(b"abc")

    assert len(sent.writes) == 1


def test_a_client_that_knows_no_chunks_gets_the_same(sent: Sent) -> None:
    connection = Connection(sent, is_chunked=False)

    connection.ends_soon()
    connection.begin_stream()
    connection.send_chunks(burst())
    connection.end_stream(b"last")

    (write,) = sent.writes
    assert write.endswith(b"\r\n\r\nabcdeflast")


def test_a_stream_that_came_at_once_arrives_at_once(
    gateway: GatewayProcess, engine: FakeEngine, alices_key: str
) -> None:
    plug = gateway.connect()
    try:
        # The head of the first one is not known to the connection yet.
        answers = [ask(plug, alices_key) for _ in range(11)][1:]
    finally:
        plug.close()

    assert [len(reads) for reads in answers] == [1] * 10
    assert [answer.count(b'"content":') for (answer,) in answers] == [WORDS + 1] * 10
    assert engine.connections == 1
    assert [event.output_tokens for event in gateway.events()] == [WORDS] * 11


def ask(plug: socket.socket, key: str) -> list[bytes]:
    """What came in each read of one stream."""
    messages = [{"role": "user", "content": script(say=[" w"] * WORDS, at_once=True)}]
    body = json.dumps({"model": MODEL, "stream": True, "messages": messages}).encode()
    plug.sendall(
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\n"
        b"Authorization: Bearer %b\r\nContent-Length: %d\r\n\r\n%b" % (key.encode(), len(body), body)
    )
    reads: list[bytes] = []
    while not b"".join(reads).endswith(b"0\r\n\r\n"):
        reads.append(plug.recv(1 << 18))
        assert reads[-1]
    return reads
