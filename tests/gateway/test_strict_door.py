"""Every row of the table of ambiguous requests, byte for byte, on a raw socket."""

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.kernel import ids
from tests.gateway.gateway_process import GatewayProcess

HOST = b"Host: gateway\r\n"
CHAT = b"POST /v1/chat/completions HTTP/1.1\r\n" + HOST
JSON = b"Content-Type: application/json\r\n"
KEY = b"Authorization: Bearer mk_live_" + b"a" * 39 + b"\r\n"
GET = b"GET /-/healthz HTTP/1.1\r\n"


@pytest.fixture(scope="module")
def door(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that never saw its database: whatever passes the door meets 503."""
    directory: Path = tmp_path_factory.mktemp("door")
    gateway = GatewayProcess(
        database_url=f"postgresql://nobody@/none?host={directory}",
        directory=directory,
        MOORAGE_GATEWAY_HEAD_SECONDS="0.6",
        MOORAGE_GATEWAY_BODY_SECONDS="0.6",
        MOORAGE_GATEWAY_IDLE_SECONDS="1.2",
        MOORAGE_GATEWAY_MAX_BODY_BYTES="100000",
    )
    yield gateway
    gateway.kill()


def statuses(answer: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", answer)]


REFUSED: dict[str, tuple[bytes, int]] = {
    "content-length and transfer-encoding": (
        CHAT + JSON + KEY + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + GET + HOST + b"\r\n",
        400,
    ),
    "transfer-encoding and content-length": (
        CHAT + JSON + KEY + b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n" + GET + HOST + b"\r\n",
        400,
    ),
    "transfer-encoding twice": (
        CHAT + JSON + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n",
        400,
    ),
    "transfer-encoding gzip": (CHAT + JSON + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 400),
    "transfer-encoding identity": (CHAT + JSON + b"Transfer-Encoding: identity\r\n\r\n", 400),
    "transfer-encoding chunked, chunked": (CHAT + JSON + b"Transfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", 400),
    "transfer-encoding behind a vertical tab": (
        CHAT + JSON + b"Transfer-Encoding: \x0bchunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "transfer-encoding xchunked": (CHAT + JSON + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", 400),
    "a space before the colon of transfer-encoding": (
        CHAT + JSON + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "content-length twice, the same": (CHAT + JSON + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\n{}", 400),
    "content-length with a sign": (CHAT + JSON + b"Content-Length: +2\r\n\r\n{}", 400),
    "content-length in hexadecimal": (CHAT + JSON + b"Content-Length: 0x2\r\n\r\n{}", 400),
    "content-length as a list": (CHAT + JSON + b"Content-Length: 2, 2\r\n\r\n{}", 400),
    "content-length with a space in it": (CHAT + JSON + b"Content-Length: 1 0\r\n\r\n{}", 400),
    "content-length without a number": (CHAT + JSON + b"Content-Length: \r\n\r\n{}", 400),
    "content-length beyond all numbers": (CHAT + JSON + b"Content-Length: " + b"9" * 30 + b"\r\n\r\n{}", 400),
    "content-length of full-width digits": (CHAT + JSON + "Content-Length: ２\r\n\r\n{}".encode(), 400),
    "bare line feeds": ((GET + HOST + b"\r\n").replace(b"\r\n", b"\n"), 400),
    "one bare line feed": (GET + b"Host: gateway\nX-Other: b\r\n\r\n", 400),
    "an unfinished head with a bare line feed": (GET + b"Host: gateway\n", 400),
    "a folded header": (GET + HOST + b"X-Long: a\r\n b\r\n\r\n", 400),
    "a space before the colon": (GET + b"Host : gateway\r\n\r\n", 400),
    "a folded first header": (GET + b" " + HOST + b"\r\n", 400),
    "a carriage return in a header": (GET + HOST + b"X-Other: a\rb\r\n\r\n", 400),
    "a header without a name": (GET + HOST + b": a\r\n\r\n", 400),
    "a header without a colon": (GET + HOST + b"X-Other\r\n\r\n", 400),
    "a space in a header's name": (GET + HOST + b"X Other: a\r\n\r\n", 400),
    "host twice": (GET + HOST + HOST + b"\r\n", 400),
    "no host": (GET + b"\r\n", 400),
    "HTTP/1.0 with transfer-encoding": (
        b"POST /v1/chat/completions HTTP/1.0\r\n" + HOST + JSON + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "a malformed chunk": (CHAT + JSON + KEY + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 503),
    "HTTP/0.9": (b"GET /-/healthz HTTP/0.9\r\n\r\n", 400),
    "HTTP/1.2": (b"GET /-/healthz HTTP/1.2\r\n" + HOST + b"\r\n", 400),
    "HTTP/1.1 and more": (b"GET /-/healthz HTTP/1.1 x\r\n" + HOST + b"\r\n", 400),
    "two spaces in the request line": (b"GET  /-/healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a tab in the request line": (b"GET\t/-/healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a method in small letters": (b"get /-/healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
    "no HTTP at all": (b"\x16\x03\x01\x02\x00\x01\x00\x01\r\n\r\n", 400),
    "nothing but empty lines": (b"\r\n\r\n", 400),
    "a header of 200 KB": (GET + HOST + b"X-Long: " + b"a" * 200_000 + b"\r\n\r\n", 431),
    "2,000 headers": (GET + HOST + b"".join(b"X-%d: 1\r\n" % n for n in range(900)) + b"\r\n", 431),
    "a header with an underscore": (GET + HOST + b"X_Tenant: other\r\nX-Tenant: mine\r\n\r\n", 400),
    "authorization twice": (b"GET /v1/models HTTP/1.1\r\n" + HOST + KEY + KEY + b"\r\n", 400),
    "content-type twice": (CHAT + JSON + JSON + b"Content-Length: 2\r\n\r\n{}", 400),
    "idempotency-key twice": (CHAT + JSON + 2 * b"Idempotency-Key: a\r\n" + b"Content-Length: 2\r\n\r\n{}", 400),
    "names that differ in case": (GET + HOST + b"hOST: other\r\n\r\n", 400),
    "upgrade to h2c": (GET + HOST + b"Connection: Upgrade\r\nUpgrade: h2c\r\n\r\n", 400),
    "websocket": (
        GET + HOST + b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n\r\n",
        400,
    ),
    "connect": (b"CONNECT example.com:443 HTTP/1.1\r\nHost: example.com\r\n\r\n", 400),
    "content-encoding": (CHAT + JSON + b"Content-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}", 400),
    "connection names content-length": (GET + HOST + b"Connection: content-length\r\n\r\n", 400),
    "method override": (GET + HOST + b"X-HTTP-Method-Override: DELETE\r\n\r\n", 400),
    "an absolute target": (b"GET http://gateway/-/healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an absolute target of another host": (b"GET http://other/-/healthz HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "an authority as the target": (b"GET gateway:80 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a star as the target": (b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a fragment": (b"GET /-/healthz#x HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "letters beyond ASCII in the target": (b"GET /-/health\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "encoded dots and slashes": (b"GET /v1/..%2f..%2fadmin HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "encoded dots in a model": (b"GET /v1/models/%2e%2e%2fadmin HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "dots": (b"GET /v1/../-/metrics HTTP/1.1\r\n" + HOST + b"\r\n", 400),
    "a NUL in a header": (GET + b"Host: a\x00b\r\n\r\n", 400),
    "a body on a GET": (GET + HOST + b"Content-Length: 2\r\n\r\n{}", 400),
    "another expectation": (CHAT + JSON + KEY + b"Expect: 200-ok\r\nContent-Length: 2\r\n\r\n{}", 503),
    "an unknown path": (b"GET /v1/files HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "another method": (b"DELETE /v1/models HTTP/1.1\r\n" + HOST + b"\r\n", 404),
    "preflight": (b"OPTIONS /v1/models HTTP/1.1\r\n" + HOST + b"Origin: https://evil\r\n\r\n", 404),
    "no key": (b"GET /v1/models HTTP/1.1\r\n" + HOST + b"\r\n", 401),
    "a key with two spaces": (
        b"GET /v1/models HTTP/1.1\r\n" + HOST + b"Authorization: Bearer  mk_live_" + b"a" * 39 + b"\r\n\r\n",
        401,
    ),
    "a key behind a tab": (b"GET /v1/models HTTP/1.1\r\n" + HOST + KEY.replace(b"Bearer ", b"Bearer\t") + b"\r\n", 401),
    "a key behind a no-break space": (
        b"GET /v1/models HTTP/1.1\r\n" + HOST + KEY.replace(b"Bearer ", b"Bearer\xc2\xa0") + b"\r\n",
        401,
    ),
    "a key without a scheme": (b"GET /v1/models HTTP/1.1\r\n" + HOST + KEY.replace(b"Bearer ", b"") + b"\r\n", 401),
    "a key of full-width letters": (
        b"GET /v1/models HTTP/1.1\r\n" + HOST + "Authorization: Bearer mk_live_ａ".encode() + b"\r\n\r\n",
        401,
    ),
    "a key in the query": (b"GET /v1/models?api_key=mk_live_x HTTP/1.1\r\n" + HOST + b"\r\n", 401),
    "a key in a cookie": (b"GET /v1/models HTTP/1.1\r\n" + HOST + b"Cookie: api_key=mk_live_x\r\n\r\n", 401),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_two_readers_could_read_differently_is_refused_once_and_for_all(door: GatewayProcess, case: str) -> None:
    request, status = REFUSED[case]

    answer = door.exchange(request)

    assert statuses(answer) == [status], answer[:300]
    head, _, body = answer.partition(b"\r\n\r\n")
    error = json.loads(body)["error"]
    assert set(error) == {"message", "type", "code", "param", "request_id"}
    assert ids.is_id(error["request_id"], "req")
    assert f"X-Request-Id: {error['request_id']}".encode() in head
    assert b"access-control" not in head.lower()


@pytest.mark.parametrize(
    "header",
    [
        b"X-Forwarded-For: 10.0.0.1, 10.0.0.2, unknown\r\nX-Forwarded-Host: other\r\n",
        b"Range: bytes=0-1\r\n",
        b"Cookie: a=b\r\nCookie: c=d\r\n",
        b"Traceparent: 00-0-0-0\r\nTraceparent: x\r\n",
    ],
)
def test_headers_that_mean_nothing_here_change_nothing(door: GatewayProcess, header: bytes) -> None:
    answer = door.exchange(GET + HOST + header + b"\r\n")

    assert statuses(answer) == [200]
    assert answer.endswith(b"\r\n\r\nok\n")


def test_a_body_that_is_too_large_is_refused_before_it_is_read(door: GatewayProcess) -> None:
    with contextlib.closing(door.connect()) as plug:
        plug.sendall(CHAT + JSON + KEY + b"Content-Length: 1073741824\r\n\r\n")
        answer = plug.recv(65536)

    # Without a good key nobody learns the limit.
    assert statuses(answer) == [503]
    assert b"Connection: close" in answer


def test_pipelined_requests_are_answered_in_order(door: GatewayProcess) -> None:
    with contextlib.closing(door.connect()) as plug:
        plug.sendall((GET + HOST + b"\r\n") * 1000)
        received = b""
        while received.count(b"ok\n") < 1000:
            piece = plug.recv(65536)
            assert piece
            received += piece

    assert statuses(received) == [200] * 1000


def test_a_refused_request_with_a_small_body_keeps_the_connection(door: GatewayProcess) -> None:
    request = CHAT + JSON + KEY + b"Content-Length: 2\r\n\r\n{}"

    answer = door.exchange(request + GET + HOST + b"\r\n")

    assert statuses(answer) == [503, 200]


def test_what_follows_a_chunked_body_in_one_write_is_not_served(door: GatewayProcess) -> None:
    request = CHAT + JSON + KEY + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"

    answer = door.exchange(request + GET + HOST + b"\r\n")

    assert statuses(answer) == [503]


def test_connections_end_when_the_client_says_so(door: GatewayProcess) -> None:
    answer = door.exchange(GET + HOST + b"Connection: close\r\n\r\n" + GET + HOST + b"\r\n")

    assert statuses(answer) == [200]
    assert b"Connection: close" in answer


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        (GET + b"Host: gate", [408]),
        (CHAT + JSON + KEY + b"Content-Length: 10\r\n\r\n{", [408]),
        (b"", []),
    ],
)
def test_what_does_not_come_in_time_is_given_up(door: GatewayProcess, sent: bytes, answered: list[int]) -> None:
    with contextlib.closing(door.connect()) as plug:
        plug.sendall(sent)
        received = b""
        while piece := plug.recv(65536):
            received += piece

    assert statuses(received) == answered


def test_idle_and_slow_connections_do_not_keep_others_waiting(door: GatewayProcess) -> None:
    with contextlib.ExitStack() as stack:
        for number in range(300):
            plug = stack.enter_context(contextlib.closing(door.connect()))
            if number % 2:
                plug.sendall(GET)

        answer = door.exchange(GET + HOST + b"\r\n")

    assert statuses(answer) == [200]


def test_a_gateway_without_its_state_is_alive_and_not_ready(door: GatewayProcess) -> None:
    alive = door.exchange(GET + HOST + b"\r\n")
    ready = door.exchange(b"GET /-/readyz HTTP/1.1\r\n" + HOST + b"\r\n")
    metrics = door.exchange(b"GET /-/metrics HTTP/1.1\r\n" + HOST + b"\r\n")

    assert (statuses(alive), statuses(ready), statuses(metrics)) == ([200], [503], [200])
    assert b"moorage_gateway_database_connected 0.0" in metrics
