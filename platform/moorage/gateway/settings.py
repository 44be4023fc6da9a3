"""What the gateway process is told by its environment; nothing else in the room reads the environment."""

import dataclasses
import pathlib
import resource
from collections.abc import Callable, Mapping
from typing import Final, Self, TypeVar

_Number = TypeVar("_Number", int, float)


#: Characters of a secret that nobody guesses.
_SHORTEST_SECRET: Final = 16


class SettingsError(Exception):
    """A setting is missing or cannot be used; the message says which and what to write."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """Limits are seconds and bytes. The defaults are the production ones."""

    database_url: str
    journal_dir: pathlib.Path
    #: Where people are sent who have to change a budget; empty: it is not said.
    console_url: str = ""
    host: str = "127.0.0.1"
    port: int = 8080
    #: Several workers on one port, one per core.
    reuse_port: bool = False

    max_body_bytes: int = 10 * 1024 * 1024
    #: Of the bodies that are kept at one time: of one organization at most half of it.
    large_bodies_bytes: int = 256 * 1024 * 1024
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
    #: From a request's arrival to the end of its answer, waiting for a replica included.
    total_seconds: float = 3600.0
    reload_seconds: float = 30.0
    activity_seconds: float = 2.0
    segment_bytes: int = 16 * 1024 * 1024

    #: PEM files, read again when they change; without them plain HTTP is spoken.
    tls_certificate: pathlib.Path | None = None
    tls_key: pathlib.Path | None = None
    #: Organizations are also told by ``<slug>.<domain>``; empty: by their keys alone.
    domain: str = ""
    #: Keys the hashes of Idempotency-Keys; the same for all workers and after a restart. Empty: the header is refused.
    secret: bytes = b""
    #: Host and first port of a listener for operators. None: metrics are on the port for clients, for loopback alone.
    metrics_address: tuple[str, int] | None = None
    #: An OTLP collector's base URL, and the share of requests that are traced where no client decides it.
    otlp_endpoint: str = ""
    trace_ratio: float = 1.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """Settings from environment variables. Raises SettingsError with a hint."""
        read = _Reader(environment)
        return cls(
            database_url=read.required("DATABASE_URL", "postgresql://user@host/database"),
            journal_dir=pathlib.Path(read.required("MOORAGE_JOURNAL_DIR", "a directory on a local disk")),
            console_url=environment.get("MOORAGE_CONSOLE_URL", cls.console_url),
            host=environment.get("MOORAGE_GATEWAY_HOST", cls.host),
            port=read.number("MOORAGE_GATEWAY_PORT", cls.port, int),
            reuse_port=environment.get("MOORAGE_GATEWAY_REUSE_PORT", "") == "1",
            max_body_bytes=read.number("MOORAGE_GATEWAY_MAX_BODY_BYTES", cls.max_body_bytes, int),
            large_bodies_bytes=read.number("MOORAGE_GATEWAY_LARGE_BODIES_BYTES", cls.large_bodies_bytes, int),
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
            reload_seconds=read.number("MOORAGE_GATEWAY_RELOAD_SECONDS", cls.reload_seconds, float),
            drain_seconds=read.number("MOORAGE_GATEWAY_DRAIN_SECONDS", cls.drain_seconds, float),
            total_seconds=read.number("MOORAGE_GATEWAY_TOTAL_SECONDS", cls.total_seconds, float),
            segment_bytes=read.number("MOORAGE_JOURNAL_SEGMENT_BYTES", cls.segment_bytes, int),
            tls_certificate=read.one_of_two("MOORAGE_GATEWAY_TLS_CERTIFICATE", "MOORAGE_GATEWAY_TLS_KEY"),
            tls_key=read.one_of_two("MOORAGE_GATEWAY_TLS_KEY", "MOORAGE_GATEWAY_TLS_CERTIFICATE"),
            domain=environment.get("MOORAGE_GATEWAY_DOMAIN", cls.domain),
            secret=read.secret("MOORAGE_GATEWAY_SECRET"),
            metrics_address=read.address("MOORAGE_GATEWAY_METRICS"),
            otlp_endpoint=read.otlp_endpoint(),
            trace_ratio=min(1.0, read.number("OTEL_TRACES_SAMPLER_ARG", cls.trace_ratio, float)),
        )


@dataclasses.dataclass(frozen=True)
class _Reader:
    environment: Mapping[str, str]

    def required(self, name: str, hint: str) -> str:
        value = self.environment.get(name, "")
        if not value:
            raise SettingsError(f"{name} is not set; it must be {hint}")
        return value

    def one_of_two(self, name: str, other: str) -> pathlib.Path | None:
        value = self.environment.get(name, "")
        if not value and self.environment.get(other, ""):
            raise SettingsError(f"{name} is not set; it goes with {other}")
        return pathlib.Path(value) if value else None

    def secret(self, name: str) -> bytes:
        value = self.environment.get(name, "")
        if 0 < len(value) < _SHORTEST_SECRET:
            raise SettingsError(f"{name} must have at least {_SHORTEST_SECRET} characters, random ones")
        return value.encode()

    def address(self, name: str) -> tuple[str, int] | None:
        value = self.environment.get(name, "")
        if not value:
            return None
        host, _, port = value.rpartition(":")
        if not (host and port.isascii() and port.isdigit() and int(port) < 2**16):
            raise SettingsError(f"{name} must be host:port, not {value!r}")
        return host.removeprefix("[").removesuffix("]"), int(port)

    def otlp_endpoint(self) -> str:
        endpoint = self.environment.get("OTEL_EXPORTER_OTLP_ENDPOINT", "")
        protocol = self.environment.get("OTEL_EXPORTER_OTLP_PROTOCOL", "") or "http/protobuf"
        if endpoint and protocol != "http/protobuf":
            raise SettingsError(f"OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf, not {protocol!r}")
        if endpoint and not endpoint.startswith(("http://", "https://")):
            raise SettingsError(f"OTEL_EXPORTER_OTLP_ENDPOINT must begin with http:// or https://, not {endpoint!r}")
        return endpoint

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
