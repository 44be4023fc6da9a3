"""One connection that asks without end: it has its turns like every other, and no more memory than its share."""

import contextlib
import select
import socket
from pathlib import Path

from tests.gateway.gateway_process import GatewayProcess

PROBE = b"GET /-/healthz HTTP/1.1\r\nHost: x\r\n\r\n"
ANSWER = b"HTTP/1.1 200 "
FLOOD = 1_500


def test_a_pipeline_of_requests_lets_others_in_between(gateway: GatewayProcess) -> None:
    with contextlib.closing(gateway.connect()) as flood, contextlib.closing(gateway.connect()) as other:
        # Both are known to the gateway before it begins.
        for plug in (flood, other):
            plug.sendall(PROBE)
            assert plug.recv(65536).startswith(ANSWER)

        flood.sendall(PROBE * FLOOD)
        other.sendall(PROBE)
        assert other.recv(65536).startswith(ANSWER)
        received = b""
        flood.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while piece := flood.recv(1 << 20):
                received += piece
        answered_by_then = received.count(ANSWER)
        flood.settimeout(20)
        while received.count(ANSWER) < FLOOD or not received.endswith(b"ok\n"):
            received += flood.recv(1 << 20)

    assert answered_by_then < FLOOD / 2
    assert received.count(ANSWER) == FLOOD


def test_answers_that_nobody_reads_are_not_made(gateway: GatewayProcess, alices_key: str) -> None:
    request = f"GET /v1/models HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alices_key}\r\n\r\n".encode()
    most = 32 << 20
    before = resident_bytes(gateway)

    with socket.socket() as greedy:
        # Or the kernel would take some tens of megabytes of answers for it.
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.connect(("127.0.0.1", gateway.port))
        greedy.setblocking(False)
        sent = 0
        while sent < most and select.select([], [greedy], [], 3)[1]:
            sent += greedy.send(request * 1000)
        grown = resident_bytes(gateway) - before

    # What was taken before the gateway stopped reading is in the kernel's buffers.
    assert sent < most
    assert grown < 16 << 20


def resident_bytes(gateway: GatewayProcess) -> int:
    pages = int(Path(f"/proc/{gateway.process.pid}/statm").read_text().split()[1])
    return pages * 4096
