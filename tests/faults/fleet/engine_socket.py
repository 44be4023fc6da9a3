"""A socket between the workers and the Docker Engine: it notes every call, can hang, and can lose a reply."""

import contextlib
import dataclasses
import re
import socket
import threading
import time
from pathlib import Path
from typing import Final

_REQUEST: Final = re.compile(rb"^(GET|POST|PUT|DELETE|HEAD) (\S+) HTTP/1\.1\r\n")


@dataclasses.dataclass(frozen=True)
class Call:
    """One call that reached the Engine."""

    at: float  #: time.monotonic()
    method: str
    path: str

    @property
    def is_create(self) -> bool:
        """Whether it asks for a new container."""
        return self.method == "POST" and "/containers/create" in self.path

    @property
    def changes_containers(self) -> bool:
        """Whether anything is different after it."""
        return self.method in {"POST", "PUT", "DELETE"}


class EngineSocket:
    """Listens at ``path`` and speaks for the Engine at ``target``."""

    def __init__(self, path: Path, target: Path) -> None:
        self.path = path
        self.url = f"unix://{path}"
        self.calls: list[Call] = []
        self.lost: list[Call] = []
        self._target = target
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._lose: re.Pattern[str] | None = None
        self._lock = threading.Lock()
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(128)
        self._open: set[socket.socket] = set()
        threading.Thread(target=self._accept, daemon=True).start()

    def freeze(self) -> None:
        """Everybody may call; nobody is answered and nothing reaches the Engine, until :meth:`thaw`."""
        self._goes_on.clear()

    def thaw(self) -> None:
        """What was held goes on, unless its caller has hung up."""
        self._goes_on.set()

    def lose_reply(self, pattern: str) -> None:
        """The next call whose ``METHOD path`` matches is made, and its caller hears nothing of what came of it."""
        with self._lock:
            self._lose = re.compile(pattern)

    def creates_since(self, moment: float) -> list[Call]:
        """The calls for a new container after ``moment`` (time.monotonic())."""
        return [call for call in tuple(self.calls) if call.is_create and call.at > moment]

    def close(self) -> None:
        """Hangs up on everybody."""
        self.thaw()
        for plug in [self._listener, *self._open]:
            _hang_up(plug)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        engine = socket.socket(socket.AF_UNIX)
        self._goes_on.wait()
        try:
            engine.connect(str(self._target))
        except OSError:
            # Nobody is there: the caller finds a closed connection, as at a daemon that has just died.
            _hang_up(client)
            return
        self._open |= {client, engine}
        is_lost = threading.Event()
        threading.Thread(target=self._downward, args=(engine, client, is_lost), daemon=True).start()
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                self._goes_on.wait()
                self._note(data, is_lost)
                engine.sendall(data)
        _hang_up(engine)
        self._open -= {client, engine}

    def _note(self, data: bytes, is_lost: threading.Event) -> None:
        found = _REQUEST.match(data)
        if found is None:
            return
        call = Call(at=time.monotonic(), method=found[1].decode(), path=found[2].decode())
        self.calls.append(call)
        with self._lock:
            if self._lose is not None and self._lose.search(f"{call.method} {call.path}"):
                self._lose = None
                self.lost.append(call)
                is_lost.set()

    def _downward(self, engine: socket.socket, client: socket.socket, is_lost: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := engine.recv(1 << 16):
                self._goes_on.wait()
                if is_lost.is_set():
                    break
                client.sendall(data)
        _hang_up(client)
        _hang_up(engine)


def _hang_up(plug: socket.socket) -> None:
    with contextlib.suppress(OSError):
        plug.shutdown(socket.SHUT_RDWR)
    plug.close()
