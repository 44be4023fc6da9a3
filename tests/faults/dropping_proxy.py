"""A socket between a client and PostgreSQL that can keep the reply to a COMMIT to itself."""

import contextlib
import socket
import threading
from pathlib import Path

import psycopg.conninfo

#: CommandComplete, its length, and its tag.
_COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"


class DroppingProxy:
    """Listens in ``directory`` as PostgreSQL does. While ``is_dropping`` is set, whoever commits hears nothing."""

    def __init__(self, directory: Path, database_url: str) -> None:
        self._target = psycopg.conninfo.conninfo_to_dict(database_url)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(directory / ".s.PGSQL.5432"))
        self._listener.listen()
        user, name = self._target.get("user", "postgres"), self._target["dbname"]
        self.url = f"postgresql://{user}@/{name}?host={directory}"
        if password := self._target.get("password"):
            self.url = f"postgresql://{user}:{password}@/{name}?host={directory}"
        self.is_dropping = threading.Event()
        #: A reply was kept back and its client still waits for it.
        self.has_dropped = threading.Event()
        self.must_hang_up = True
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for plug in [self._listener, *self._open]:
            with contextlib.suppress(OSError):
                plug.shutdown(socket.SHUT_RDWR)
            plug.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = self._connect()
                self._open += [client, server]
                threading.Thread(target=self._upward, args=(client, server), daemon=True).start()
                threading.Thread(target=self._downward, args=(server, client), daemon=True).start()

    def _connect(self) -> socket.socket:
        host, port = str(self._target.get("host") or "127.0.0.1"), int(self._target.get("port") or 5432)
        if host.startswith("/"):
            plug = socket.socket(socket.AF_UNIX)
            plug.connect(f"{host}/.s.PGSQL.{port}")
            return plug
        return socket.create_connection((host, port))

    def _upward(self, client: socket.socket, server: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := client.recv(1 << 16):
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _downward(self, server: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := server.recv(1 << 16):
                if _COMMITTED in data and self.is_dropping.is_set():
                    self.has_dropped.set()
                    if self.must_hang_up:
                        client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
