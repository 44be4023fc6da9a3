"""The same strictness behind a good key: how a body is framed, and a connection on which a head is known already."""

import contextlib
import json

import pytest

from tests.gateway.conftest import MODEL
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_strict_door import statuses

CONTENT = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Moor us"}]}).encode()
#: What must never be taken for a request of its own.
SMUGGLED = b"GET /-/healthz HTTP/1.1\r\nHost: gateway\r\n\r\n"


def head(key: str, *lines: bytes) -> bytes:
    """The head of a chat request with ``lines`` besides."""
    return (
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n"
        + f"Authorization: Bearer {key}\r\n".encode()
        + b"".join(line + b"\r\n" for line in lines)
        + b"\r\n"
    )


def chunks(*pieces: bytes, end: bytes = b"0\r\n\r\n") -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + end


CHUNKED = b"Transfer-Encoding: chunked"
MALFORMED: dict[str, bytes] = {
    "no number": b"zz\r\n{}\r\n0\r\n\r\n",
    "beyond all numbers": b"fffffffffffffffff\r\n{}\r\n0\r\n\r\n",
    "negative": b"-2\r\n{}\r\n0\r\n\r\n",
    "with 0x": b"0x2\r\n{}\r\n0\r\n\r\n",
    "longer than it says": b"2\r\n{}}\r\n0\r\n\r\n",
    "ended by bare line feeds": b"2\n{}\n0\n\n",
    "without an end of its line": b"2\r{}\r\n0\r\n\r\n",
    "with a length among its trailers": b"2\r\n{}\r\n0\r\nContent-Length: 5\r\n\r\n",
}


@pytest.mark.parametrize("case", MALFORMED)
def test_malformed_chunks_are_refused_and_the_connection_ends(
    gateway: GatewayProcess, alices_key: str, engine: FakeEngine, case: str
) -> None:
    answer = gateway.exchange(head(alices_key, CHUNKED) + MALFORMED[case] + SMUGGLED)

    assert statuses(answer) == [400], answer
    assert engine.seen == []


@pytest.mark.parametrize(
    "body",
    [
        chunks(CONTENT),
        chunks(*(CONTENT[at : at + 7] for at in range(0, len(CONTENT), 7))),
        chunks(CONTENT, end=b"0\r\nX-Trailer: a\r\nAuthorization: Bearer other\r\nHost: other\r\n\r\n"),
    ],
)
def test_a_well_formed_chunked_body_is_one_body_whatever_its_trailers_say(
    gateway: GatewayProcess, alices_key: str, engine: FakeEngine, body: bytes
) -> None:
    answer = gateway.exchange(head(alices_key, CHUNKED) + body)

    assert statuses(answer) == [200], answer
    assert [seen.body["messages"] for seen in engine.seen] == [json.loads(CONTENT)["messages"]]


def test_a_body_is_asked_for_before_it_is_sent(gateway: GatewayProcess, alices_key: str) -> None:
    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(head(alices_key, b"Expect: 100-continue", b"Content-Length: %d" % len(CONTENT)))
        asked = plug.recv(65536)
        plug.sendall(CONTENT)
        answer = plug.recv(65536)

    assert asked == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert statuses(answer) == [200]


def test_a_body_over_the_limit_is_refused_before_it_is_read(gateway: GatewayProcess, alices_key: str) -> None:
    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(head(alices_key, b"Content-Length: 1073741824"))
        answer = plug.recv(65536)

    assert statuses(answer) == [413]
    assert b"Connection: close" in answer


def test_a_request_inside_a_body_is_not_served(gateway: GatewayProcess, alices_key: str, engine: FakeEngine) -> None:
    hidden = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": SMUGGLED.decode()}]}).encode()
    request = head(alices_key, b"Content-Length: %d" % len(hidden)) + hidden

    answer = gateway.exchange(request * 3)

    assert statuses(answer) == [200, 200, 200]
    assert len(engine.seen) == 3


#: Lines of a second head that differs from the first in how it says its length.
CHANGED: dict[str, tuple[bytes, ...]] = {
    "a sign": (b"Content-Length: +%d",),
    "hexadecimal": (b"Content-Length: 0x%x",),
    "a list": (b"Content-Length: %d, 1",),
    "a second length": (b"Content-Length: %d", b"Content-Length: 1"),
    "chunks besides": (b"Content-Length: %d", CHUNKED),
    "nothing": (b"Content-Length: ",),
    "a bare line feed": (b"Content-Length: %d\nX-Other: 1",),
}


@pytest.mark.parametrize("case", CHANGED)
def test_a_connection_whose_head_is_known_is_not_trusted_more(
    gateway: GatewayProcess, alices_key: str, engine: FakeEngine, case: str
) -> None:
    good = head(alices_key, b"Content-Length: %d" % len(CONTENT)) + CONTENT
    lines = tuple(line % len(CONTENT) if b"%" in line else line for line in CHANGED[case])

    answer = gateway.exchange(good + good + head(alices_key, *lines) + CONTENT + SMUGGLED)

    assert statuses(answer) == [200, 200, 400], answer
    assert len(engine.seen) == 2


def test_a_known_head_with_another_length_has_its_own_body(
    gateway: GatewayProcess, alices_key: str, engine: FakeEngine
) -> None:
    contents = [CONTENT.replace(b"Moor us", b"Moor us" + b"!" * number) for number in (0, 200, 5)]

    answer = gateway.exchange(b"".join(head(alices_key, b"Content-Length: %d" % len(each)) + each for each in contents))

    assert statuses(answer) == [200, 200, 200]
    assert [seen.body["messages"] for seen in engine.seen] == [json.loads(each)["messages"] for each in contents]


def test_a_known_head_of_a_revoked_key_is_refused(gateway: GatewayProcess, alices_key: str) -> None:
    good = head(alices_key, b"Content-Length: %d" % len(CONTENT)) + CONTENT
    other = good.replace(alices_key.encode(), b"mk_live_" + b"a" * 39)

    answer = gateway.exchange(good + other)

    assert statuses(answer) == [200, 401]
