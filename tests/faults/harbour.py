"""A whole harbour of real processes, each of which can be killed at any moment and comes back by itself."""

import contextlib
import dataclasses
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg

from moorage.config.instance.postgres import Postgres
from moorage.config.instance.valkey import Valkey
from tests.waiting import wait_until

REPOSITORY = Path(__file__).parents[2]


@dataclasses.dataclass
class Part:
    """One process of the harbour."""

    name: str
    argv: tuple[str, ...]
    environment: Mapping[str, str]
    user: str | None = None
    process: subprocess.Popen[bytes] | None = None
    #: Not started again before this.
    down_until: float = 0.0
    starts: int = 0

    @property
    def is_running(self) -> bool:
        return self.process is not None and self.process.poll() is None


class Harbour:
    """PostgreSQL, Valkey, two engines, two gateways and a shipper below ``root``; a thread brings back what died."""

    #: What a killed PostgreSQL has committed is there without an fsync: only a machine's crash needs one.
    is_durable = True

    def __init__(self, root: Path, *, gateways: int = 2, engines: int = 2, **settings: str) -> None:
        self.root = root
        self.journal_dir = root / "journal"
        self.journal_dir.mkdir()
        logins = {role: f"of the faults' {role}" for role in ("owner", "app", "gateway", "shipper")}
        self._postgres = Postgres(
            directory=root / "postgres",
            socket=root / "s",
            password="of the faults' tests",
            logins=logins,
            is_durable=self.is_durable,
        )
        self._valkey = Valkey(directory=root, port=_free_port(), password="of-the-faults-tests")
        self.ports = [_free_port() for _ in range(gateways)]
        self.database_url = self._postgres.url
        self.parts: dict[str, Part] = {}
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._keeper = threading.Thread(target=self._keep, daemon=True)
        self._environment = {
            **{name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            "PYTHONPATH": f"{REPOSITORY / 'platform'}:{REPOSITORY}",
            "DJANGO_SETTINGS_MODULE": "moorage.config.settings",
            "MOORAGE_HOME": str(root / "home"),
            "MOORAGE_SECRET_KEY": "a key of the faults' tests",
            "MOORAGE_GATEWAY_SECRET": "a secret of the faults' tests, sixteen and more",
            "MOORAGE_RUNTIME": "memory",
            "MOORAGE_JOURNAL_DIR": str(self.journal_dir),
            "MOORAGE_JOURNAL_SEGMENT_BYTES": "200000",
            "DATABASE_URL": self._postgres.url_for("app"),
            "BROKER_URL": self._valkey.url,
            **settings,
        }
        self._add_parts(engines)

    def _add_stores(self) -> None:
        self._postgres.prepare()
        self._valkey.prepare()
        for program in (self._postgres.program(), self._valkey.program()):
            self._add(program.name, *program.argv, environment=program.environment or {}, user=program.user)

    def _add_parts(self, engines: int) -> None:
        self._add_stores()
        for number in range(engines):
            arguments = (str(self.engine_socket(number)), str(self.engine_journal(number)))
            self._add(f"engine-{number}", sys.executable, "-m", "tests.faults.engine", *arguments)
        for number, port in enumerate(self.ports):
            own = {"MOORAGE_GATEWAY_PORT": str(port), "DATABASE_URL": self._postgres.url_for("gateway")}
            self._add(f"gateway-{number}", sys.executable, "-m", "moorage.gateway", environment=own)
        own = {"DATABASE_URL": self._postgres.url_for("shipper")}
        self._add("shipper", sys.executable, "-m", "django", "shipper", environment=own)

    def _add(
        self, name: str, *argv: str, environment: Mapping[str, str] | None = None, user: str | None = None
    ) -> None:
        whole = (
            dict(environment or {}) if name in {"postgres", "valkey"} else {**self._environment, **(environment or {})}
        )
        self.parts[name] = Part(name=name, argv=argv, environment=whole, user=user)

    def engine_socket(self, number: int) -> Path:
        return self.root / f"e{number}.sock"

    def engine_journal(self, number: int) -> Path:
        return self.root / f"engine-{number}.sent"

    # -- life and death

    def start(self) -> dict[str, Any]:
        """The database with its tables, the cast and the routes; then everything. Returns what the seed printed."""
        self._start(self.parts["postgres"])
        wait_until(self._postgres.answers, seconds=60, what="PostgreSQL")
        self._postgres.ensure_database()
        self.python("-m", "django", "migrate", "--verbosity", "0", DATABASE_URL=self._postgres.url_for("owner"))
        seeded = self._seed()
        for part in self.parts.values():
            if not part.is_running and not part.down_until:
                self._start(part)
        self._keeper.start()
        return seeded

    def _seed(self) -> dict[str, Any]:
        routes = [str(self.engine_socket(number)) for number in range(len(self.sent_files()))]
        seeded: dict[str, Any] = json.loads(self.python("-m", "tests.faults.control", "seed", *routes))
        return seeded

    def sent_files(self) -> list[Path]:
        return [self.engine_journal(number) for number in range(sum(name.startswith("engine") for name in self.parts))]

    def kill(self, name: str, *, down_seconds: float = 0.0) -> None:
        """``kill -9`` of a process and of all its children. The keeper starts it again."""
        with self._lock:
            part = self.parts[name]
            assert part.process is not None
            children = _children(part.process.pid)
            part.process.kill()
            for child in children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
            part.process.wait(30)
            part.down_until = time.monotonic() + down_seconds
        wait_until(lambda: not any(_is_there(child) for child in children), seconds=10, what="its children to be gone")

    def hold_down(self, name: str) -> None:
        """Kills it and keeps it dead until :meth:`let_up`."""
        self.kill(name, down_seconds=1e9)

    def let_up(self, name: str) -> None:
        """It may come back."""
        self.parts[name].down_until = 0.0

    def finish_gateways(self) -> None:
        """SIGTERM to all gateways; they drain and do not come back."""
        for name, part in self.parts.items():
            if name.startswith("gateway"):
                part.down_until = 1e9
                if part.process is not None and part.is_running:
                    part.process.send_signal(signal.SIGTERM)
        for name, part in self.parts.items():
            if name.startswith("gateway") and part.process is not None:
                part.process.wait(60)

    def stop(self) -> None:
        """Ends all of it."""
        self._stop.set()
        if self._keeper.is_alive():
            self._keeper.join(10)
        for name, part in self.parts.items():
            if name != "postgres" and part.is_running:
                assert part.process is not None
                part.process.kill()
                part.process.wait(10)
        if self.parts["postgres"].is_running:
            self.kill("postgres")

    def _start(self, part: Part) -> None:
        log = (self.root / f"{part.name}.log").open("ab")
        if part.name.startswith("engine"):
            self.engine_socket(int(part.name.removeprefix("engine-"))).unlink(missing_ok=True)
        groups: dict[str, Any] = {"user": part.user, "group": part.user, "extra_groups": []} if part.user else {}
        cwd = "/" if part.user else REPOSITORY
        part.process = subprocess.Popen(
            part.argv, env=part.environment, cwd=cwd, stdout=log, stderr=subprocess.STDOUT, **groups
        )
        part.starts += 1
        log.close()

    def _keep(self) -> None:
        while not self._stop.wait(0.02):
            for part in self.parts.values():
                with self._lock:
                    if not part.is_running and time.monotonic() >= part.down_until and not self._stop.is_set():
                        self._start(part)

    # -- what it says

    def django(self, *arguments: str) -> str:
        return self.python("-m", "django", *arguments)

    def python(self, *arguments: str, **settings: str) -> str:
        """The output of a Python process in the harbour's environment."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env={**self._environment, **settings},
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        """What PostgreSQL answers; one that was killed is waited for until it is back."""

        def ask() -> list[tuple[Any, ...]] | None:
            try:
                with psycopg.connect(self.database_url) as connection:
                    return connection.execute(query).fetchall()  # type: ignore[arg-type]
            except psycopg.OperationalError:
                return None

        return wait_until(lambda: (found := ask()) is not None and [found], seconds=30, what="PostgreSQL")[0]

    def log(self, name: str) -> str:
        path = self.root / f"{name}.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def sent(self) -> dict[str, tuple[int, str]]:
        """What the engines have made of each request, and the call's name, by the request's id."""
        found: dict[str, tuple[int, str]] = {}
        for path in self.sent_files():
            for line in path.read_text().splitlines() if path.exists() else ():
                request_id, tokens, name = line.split(" ")
                found[request_id] = max(found.get(request_id, (0, name)), (int(tokens), name))
        return found

    def journal_is_empty(self) -> bool:
        return not list(self.journal_dir.iterdir())


@contextlib.contextmanager
def running(
    root: Path, *, ready: Callable[[Harbour], bool] | None = None, **settings: str
) -> Iterator[tuple[Harbour, Any]]:
    """A harbour in which every gateway answers, and what its seed said."""
    harbour = Harbour(root, **settings)
    try:
        seeded = harbour.start()
        wait_until(lambda: all(_answers(port) for port in harbour.ports), seconds=60, what="the gateways")
        yield harbour, seeded
    finally:
        harbour.stop()


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=2) as plug:
            plug.sendall(b"GET /-/readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return plug.recv(100).startswith(b"HTTP/1.1 200 ")
    except OSError:
        return False


def _free_port() -> int:
    with socket.socket() as plug:
        plug.bind(("127.0.0.1", 0))
        return int(plug.getsockname()[1])


def _children(pid: int) -> list[int]:
    try:
        direct = [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []
    return [*direct, *(below for child in direct for below in _children(child))]


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
