"""Where an instance keeps its state: every path below MOORAGE_HOME, named once.

A Unix socket's path holds 107 bytes. Where the home is too deep for that, sockets go to a directory of this user's
own in the temporary directory, named after the home.
"""

import dataclasses
import hashlib
import os
import stat
import tempfile
from pathlib import Path
from typing import Final

from moorage.config.instance.errors import InstanceError

#: Room that the longest socket name needs below the socket directory: /replicas/rep_(26)-(epoch)/engine.sock
_LONGEST_TAIL: Final = len("/replicas/rep_00000000000000000000000000-000000/engine.sock")
_SOCKET_PATH_BYTES: Final = 107


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Home:
    """The directory of one instance. Two homes are two instances."""

    path: Path
    temporary: Path = Path(tempfile.gettempdir())

    @property
    def instance(self) -> str:
        """A short name that tells this instance's containers and directories from others'."""
        return hashlib.sha256(os.fsencode(self.path)).hexdigest()[:8]

    @property
    def run(self) -> Path:
        """Pid files and the supervisor's own notes; worth nothing once nothing runs."""
        return self.path / "run"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def compiled(self) -> Path:
        """Native code of the gateway, where `./manage.py compile` has made it."""
        return self.path / "compiled"

    @property
    def sockets(self) -> Path:
        """Where sockets are: ``run`` where that is short enough, else a directory in the temporary one."""
        if len(os.fsencode(self.run)) + _LONGEST_TAIL <= _SOCKET_PATH_BYTES:
            return self.run
        return self.temporary / f"moorage-{os.getuid()}-{self.instance}"

    @property
    def replica_sockets(self) -> Path:
        return self.sockets / "replicas"

    @property
    def postgres_socket(self) -> Path:
        """The directory of PostgreSQL's socket."""
        return self.sockets / "postgres"

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def valkey(self) -> Path:
        return self.path / "valkey"

    @property
    def store(self) -> Path:
        return self.path / "store"

    @property
    def journal(self) -> Path:
        return self.path / "journal"

    @property
    def static(self) -> Path:
        """Where collected static files would be; the console serves its own without them."""
        return self.path / "static"

    @property
    def llama_server(self) -> Path:
        """Built llama-servers, one directory a version."""
        return self.path / "llama-server"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets.json"

    @property
    def ports(self) -> Path:
        return self.path / "ports.json"

    @property
    def environment(self) -> Path:
        return self.path / "instance.env"

    @property
    def up(self) -> Path:
        """The addresses and keys, for people and scripts."""
        return self.path / "up.json"

    @property
    def first_secrets(self) -> Path:
        """What the first boot made, until it stands in up.json."""
        return self.path / "first-secrets.json"

    @property
    def unfinished(self) -> Path:
        """There from the beginning of the first boot until the demo has answered."""
        return self.path / "first-boot-unfinished"

    @property
    def ready(self) -> Path:
        """There while everything is started; holds what a person should know about the runtime."""
        return self.run / "ready"

    @property
    def supervisor(self) -> Path:
        """The supervisor's pid file."""
        return self.run / "supervisor.pid"

    @property
    def status(self) -> Path:
        """What the supervisor last saw, for `./manage.py status`."""
        return self.run / "status.json"

    def prepare(self) -> None:
        """Make the directories, closed to other users. Idempotent.

        Where root starts Moorage, PostgreSQL runs as another user and has to pass through: then the home and the
        socket directory may be passed (not read) by everybody.
        """
        passable = 0o711 if os.getuid() == 0 else 0o700
        for directory in (self.path, self.run, self.sockets):
            directory.mkdir(parents=True, exist_ok=True)
            self._refuse_foreign(directory)
            directory.chmod(passable)
        for directory in (self.logs, self.valkey, self.store, self.journal, self.static, self.replica_sockets):
            directory.mkdir(parents=True, exist_ok=True)
            directory.chmod(0o700)

    @staticmethod
    def _refuse_foreign(directory: Path) -> None:
        """Somebody else's directory under a name that can be guessed could hold somebody else's sockets."""
        found = directory.lstat()
        if not stat.S_ISDIR(found.st_mode) and not directory.is_dir():
            raise InstanceError(f"{directory} is not a directory; choose another MOORAGE_HOME.")
        if found.st_uid != os.getuid():
            raise InstanceError(f"{directory} belongs to another user; choose another MOORAGE_HOME.")


def write_private(path: Path, text: str) -> None:
    """Write ``text`` so that only this user can read it (mode 0600) and nobody ever sees half of it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    unfinished.rename(path)
