"""A real gateway process, and what it left in its journal."""

import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

from moorage.wire import journal
from moorage.wire.records import UsageEvent
from tests.waiting import wait_until


class GatewayProcess:
    """``python -m moorage.gateway`` on a port of its own choice."""

    def __init__(self, *, database_url: str, directory: Path, **settings: str) -> None:
        self.journal_dir = directory / "journal"
        self.log_path = directory / "gateway.log"
        environment = _environment(database_url, self.journal_dir, settings)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "moorage.gateway"],
            cwd=Path(__file__).parents[2],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._pump = threading.Thread(target=self._copy_log, daemon=True)
        self._pump.start()
        started = ""
        while not started.startswith("gateway_started"):
            try:
                started = self._lines.get(timeout=30)
            except queue.Empty:
                self.kill()
                raise
        words = dict(word.split("=", 1) for word in started.split()[1:])
        assert int(words["native"]) >= int(os.environ.get("MOORAGE_GATEWAY_IS_NATIVE", "0"))
        self.port = int(words["port"])
        self.boot = words["boot"]
        self.url = f"http://127.0.0.1:{self.port}"

    @staticmethod
    def refused(*, database_url: str, directory: Path, **settings: str) -> str:
        """What a gateway says that does not start."""
        done = subprocess.run(
            [sys.executable, "-m", "moorage.gateway"],
            cwd=Path(__file__).parents[2],
            env=_environment(database_url, directory / "journal", settings),
            capture_output=True,
            text=True,
            timeout=30,
        )
        assert done.returncode == 1, done.stderr
        return done.stderr

    def _copy_log(self) -> None:
        assert self.process.stdout is not None
        with self.log_path.open("wb") as log:
            for line in self.process.stdout:
                self._lines.put(line.decode())
                log.write(line)
                log.flush()

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def stop(self) -> int:
        """SIGTERM, then its exit status."""
        self.process.send_signal(signal.SIGTERM)
        return self.finish()

    def kill(self) -> None:
        self.process.kill()
        self.finish()

    def finish(self) -> int:
        status = self.process.wait(40)
        self._pump.join(10)
        assert self.process.stdout is not None
        self.process.stdout.close()
        return status

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def exchange(self, request: bytes) -> bytes:
        """Sends raw bytes; returns what comes until the gateway closes or is quiet after an answer."""
        with self.connect() as plug:
            plug.sendall(request)
            received = b""
            try:
                while piece := plug.recv(65536):
                    received += piece
                    plug.settimeout(0.3)
            except (TimeoutError, ConnectionResetError):
                pass
            return received

    def records(self) -> list[journal.Record]:
        return journal_records(self.journal_dir)

    def events(self) -> list[UsageEvent]:
        return [record.event for record in self.records() if isinstance(record, journal.Close)]

    def event(self, request_id: str) -> UsageEvent:
        """The one usage event of a request, once it is there."""
        found = wait_until(lambda: [each for each in self.events() if each.request_id == request_id], seconds=10)
        assert len(found) == 1
        return found[0]

    def only_event(self) -> UsageEvent:
        """The usage event of the only billable request there was."""
        found = wait_until(self.events, seconds=10, what="a usage event")
        assert len(found) == 1
        return found[0]


def _environment(database_url: str, journal_dir: Path, settings: dict[str, str]) -> dict[str, str]:
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": "platform",
        "DATABASE_URL": database_url,
        "MOORAGE_JOURNAL_DIR": str(journal_dir),
        "MOORAGE_GATEWAY_PORT": "0",
        "MOORAGE_GATEWAY_SECRET": "a secret of the tests alone",
        "MOORAGE_GATEWAY_COMPILED": os.environ.get("MOORAGE_GATEWAY_COMPILED", ""),
        **settings,
    }


def journal_records(directory: Path) -> list[journal.Record]:
    """All records in all segments, in order."""
    found: list[journal.Record] = []
    for path in sorted(directory.glob("*.journal")):
        content = path.read_bytes()
        if content.startswith(journal.MAGIC):
            found.extend(record for record, _ in journal.read(content, len(journal.MAGIC)))
    return found
