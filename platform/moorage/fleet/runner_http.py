"""One HTTP request to a runner over its Unix socket. Of the standard library alone: one that reads certificates first
takes longer than a small engine takes to start."""

import dataclasses
import http.client
import json
import socket
from pathlib import Path
from typing import Any, Final

from moorage.fleet import sockets

#: An engine that listens accepts at once.
CONNECT_SECONDS: Final = 2.0
#: Nothing that is asked here has a longer answer.
_MOST_BYTES: Final = 1024 * 1024


class NobodyListens(Exception):
    """There is no socket, or nobody behind it."""


class NoAnswer(Exception):
    """The connection broke, or nothing came in time."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What came back."""

    status: int
    content: bytes

    def json(self) -> Any:
        """The content read as JSON. Raises ValueError."""
        return json.loads(self.content)


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path, *, seconds: float) -> None:
        super().__init__("runner", timeout=seconds)
        self._path = path

    def connect(self) -> None:
        """To the socket, instead of a port."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(CONNECT_SECONDS)
        with sockets.opened(self._path) as path:
            self.sock.connect(path)
        self.sock.settimeout(self.timeout)


def ask(path: Path, method: str, target: str, *, body: dict[str, Any] | None = None, seconds: float) -> Answer:
    """The answer to one request, ``seconds`` at most for each of its pieces. Raises NobodyListens, NoAnswer."""
    connection = _Connection(path, seconds=seconds)
    try:
        try:
            connection.connect()
        except OSError as error:
            raise NobodyListens(str(error)) from error
        content = None if body is None else json.dumps(body).encode()
        headers = {} if content is None else {"Content-Type": "application/json"}
        connection.request(method, target, body=content, headers=headers)
        answer = connection.getresponse()
        return Answer(status=answer.status, content=answer.read(_MOST_BYTES))
    except (http.client.HTTPException, OSError) as error:
        raise NoAnswer(f"{type(error).__name__}: {error}") from error
    finally:
        connection.close()
