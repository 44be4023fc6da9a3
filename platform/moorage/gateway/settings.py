"""What the gateway process is told by its environment; nothing else in the room reads the environment."""

import dataclasses
import pathlib
import resource
from collections.abc import Callable, Mapping
from typing import Self, TypeVar

_Number = TypeVar("_Number", int, float)


class SettingsError(Exception):
    """A setting is missing or cannot be used; the message says which and what to write."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits are seconds and bytes. The defaults are the production ones."""

    database_url: str
    journal_dir: pathlib.Path
    host: str = "127.0.0.1"
    port: int = 8080
    #: Several workers on one port, one per core.
    reuse_port: bool = False

    max_body_bytes: int = 10 * 1024 * 1024
    max_head_bytes: int = 16 * 1024
    max_headers: int = 100
    max_connections: int = 10_000
    head_seconds: float = 5.0
    body_seconds: float = 30.0
    idle_seconds: float = 75.0
    #: A client that takes nothing for this long is cut.
    stall_seconds: float = 60.0

    hold_seconds: float = 60.0
    hold_seconds_max: float = 600.0
    hold_requests_max: int = 500
    #: A held stream gets its head and a comment after the first, then a comment after each of the second.
    hold_first_comment_seconds: float = 5.0
    hold_comment_seconds: float = 10.0

    connect_seconds: float = 2.0
    engine_silence_seconds: float = 600.0
    #: Below the five seconds after which uvicorn and llama-server close an idle connection.
    pool_idle_seconds: float = 4.0
    max_answer_bytes: int = 64 * 1024 * 1024

    drain_seconds: float = 20.0
    reload_seconds: float = 30.0
    activity_seconds: float = 2.0
    segment_bytes: int = 16 * 1024 * 1024

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Settings from environment variables. Raises SettingsError with a hint."""
        read = _Reader(environment)
        return cls(
            database_url=read.required("DATABASE_URL", "postgresql://user@host/database"),
            journal_dir=pathlib.Path(read.required("MOORAGE_JOURNAL_DIR", "a directory on a local disk")),
            host=environment.get("MOORAGE_GATEWAY_HOST", cls.host),
            port=read.number("MOORAGE_GATEWAY_PORT", cls.port, int),
            reuse_port=environment.get("MOORAGE_GATEWAY_REUSE_PORT", "") == "1",
            max_body_bytes=read.number("MOORAGE_GATEWAY_MAX_BODY_BYTES", cls.max_body_bytes, int),
            max_connections=read.number("MOORAGE_GATEWAY_MAX_CONNECTIONS", _connections_allowed(), int),
            head_seconds=read.number("MOORAGE_GATEWAY_HEAD_SECONDS", cls.head_seconds, float),
            body_seconds=read.number("MOORAGE_GATEWAY_BODY_SECONDS", cls.body_seconds, float),
            idle_seconds=read.number("MOORAGE_GATEWAY_IDLE_SECONDS", cls.idle_seconds, float),
            stall_seconds=read.number("MOORAGE_GATEWAY_STALL_SECONDS", cls.stall_seconds, float),
            hold_seconds=read.number("MOORAGE_GATEWAY_HOLD_SECONDS", cls.hold_seconds, float),
            hold_requests_max=read.number("MOORAGE_GATEWAY_HOLD_REQUESTS", cls.hold_requests_max, int),
            hold_first_comment_seconds=read.number(
                "MOORAGE_GATEWAY_HOLD_COMMENT_SECONDS", cls.hold_first_comment_seconds, float
            ),
            engine_silence_seconds=read.number(
                "MOORAGE_GATEWAY_ENGINE_SILENCE_SECONDS", cls.engine_silence_seconds, float
            ),
            drain_seconds=read.number("MOORAGE_GATEWAY_DRAIN_SECONDS", cls.drain_seconds, float),
            segment_bytes=read.number("MOORAGE_JOURNAL_SEGMENT_BYTES", cls.segment_bytes, int),
        )


@dataclasses.dataclass(frozen=True)
class _Reader:
    environment: Mapping[str, str]

    def required(self, name: str, hint: str) -> str:
        value = self.environment.get(name, "")
        if not value:
            raise SettingsError(f"{name} is not set; it must be {hint}")
        return value

    def number(self, name: str, default: _Number, kind: Callable[[str], _Number]) -> _Number:
        text = self.environment.get(name, "")
        if not text:
            return default
        try:
            value = kind(text)
        except ValueError as error:
            raise SettingsError(f"{name} must be a number, not {text!r}") from error
        if not 0 <= value < 2**53:
            raise SettingsError(f"{name} must be zero or more, not {text!r}")
        return value


def _connections_allowed() -> int:
    """Half of the open files: each request may need a second one to its engine."""
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return Settings.max_connections
    return max(16, (soft - 64) // 2)
