"""One streamed request over a connection of its own: when it was sent, and when its first token was there."""

import dataclasses
import http.client
import json
import socket
import time
from pathlib import Path
from typing import Final

from tests.benchmarks.programs import BenchFailed

_PROMPT: Final = "The sea"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Asked:
    """Unix seconds."""

    sent: float
    first_token: float

    @property
    def seconds(self) -> float:
        """From the one to the other."""
        return self.first_token - self.sent


class _Unix(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("runner", timeout=60)
        self._path = path

    def connect(self) -> None:
        """To the socket, instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(60)
        self.sock.connect(str(self._path))


def of_gateway(port: int, *, model: str, secret: str) -> Asked:
    """Through the gateway, from the first byte of a new connection. Raises BenchFailed."""
    return _stream(http.client.HTTPConnection("127.0.0.1", port, timeout=60), model, secret)


def of_engine(path: Path, *, model: str) -> Asked:
    """To the engine itself, over its socket. Raises BenchFailed."""
    return _stream(_Unix(path), model, "")


def is_healthy(path: Path) -> bool:
    """Whether an engine says that it has loaded its model."""
    connection = _Unix(path)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()


def _stream(connection: http.client.HTTPConnection, model: str, secret: str) -> Asked:
    body = json.dumps({"model": model, "prompt": _PROMPT, "max_tokens": 4, "stream": True})
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {secret}"}
    try:
        sent = time.time()
        connection.request("POST", "/v1/completions", body=body, headers=headers)
        answer = connection.getresponse()
        if answer.status != 200:
            raise BenchFailed(f"{model}: {answer.status} {answer.read()[:300]!r}")
        while line := answer.readline():
            if line.startswith(b"data: {"):
                seen = time.time()
                if b'"error"' in line:
                    raise BenchFailed(f"{model}: {line[:300]!r}")
                answer.read()
                return Asked(sent=sent, first_token=seen)
        raise BenchFailed(f"{model}: the stream ended without a token")
    finally:
        connection.close()
