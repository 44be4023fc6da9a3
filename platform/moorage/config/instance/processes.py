"""The processes of an instance, as data: what is started, in which order, and how one knows that it is ready.

Pure: nothing is started here. Programs of one wave start together; the next wave waits until they are ready. They are
stopped the other way round, so that the gateway takes no request whose usage nobody would ship, and the database
goes last.
"""

import dataclasses
import signal
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

from moorage.config.instance.ports import Ports

#: The only process that may talk to the container Engine (see "who holds the Docker socket" in the design).
PROVISIONER: Final = "worker-provision"
#: What only that one is given: where the Engine is, and the leave to ask for it (fleet/runtimes.py).
_PROVISIONERS: Final = ("DOCKER_HOST", "MOORAGE_HOLDS_RUNTIME")


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One long-running process."""

    name: str
    argv: tuple[str, ...]
    #: Asked again and again until true; None: ready once it has stayed alive for a moment.
    is_ready: Callable[[], bool] | None = None
    ready_seconds: float = 60
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15
    #: Environment variables that this process must not see.
    withheld: tuple[str, ...] = ()
    #: Environment variables that it sees otherwise than the rest.
    given: Mapping[str, str] = dataclasses.field(default_factory=dict)
    #: Runs as this user; None: as whoever started Moorage.
    user: str | None = None
    #: Kept from the container Engine, where the supervisor is root (confinement.py).
    is_confined: bool = False
    #: Has to find the runners' sockets.
    sees_runners: bool = False
    #: Its whole environment; None: the instance's.
    environment: Mapping[str, str] | None = None


def platform_programs(
    *,
    python: str,
    ports: Ports,
    run_directory: str,
    answers: Callable[[str], bool],
    gateway_scheme: str = "http",
    gateway_workers: int = 1,
    database_urls: Mapping[str, str] = MappingProxyType({}),
) -> tuple[Program, ...]:
    """The programs of Moorage itself, in starting order. ``answers(url)`` says whether an HTTP server answers there.

    Several ``gateway_workers`` share the gateway's port, one for each core that is to serve. ``database_urls`` are
    those of processes with a login of their own, by name (``gateway``, ``shipper``).
    """
    console = f"http://127.0.0.1:{ports.console}/api/v1/healthz"
    gateway = f"{gateway_scheme}://127.0.0.1:{ports.gateway}/-/healthz"
    celery = (python, "-m", "celery", "-A", "moorage.config.celery:app")
    quiet = ("--loglevel", "INFO", "--without-gossip", "--without-mingle", "--without-heartbeat")
    django = (python, "-m", "django")
    logins = {name: {"DATABASE_URL": url} for name, url in database_urls.items()}
    return (
        Program(
            name="shipper",
            argv=(*django, "shipper"),
            withheld=(*_PROVISIONERS, "STRIPE_API_KEY"),
            is_confined=True,
            given=logins.get("shipper", {}),
        ),
        Program(
            name="doorbell",
            argv=(*django, "doorbell"),
            withheld=(*_PROVISIONERS, "STRIPE_API_KEY"),
            is_confined=True,
        ),
        Program(
            name="worker-default",
            argv=(
                *celery,
                "worker",
                "-Q",
                "default",
                "--pool",
                "threads",
                "--concurrency",
                "4",
                "-n",
                "default@%h",
                *quiet,
            ),
            withheld=_PROVISIONERS,
            is_confined=True,
        ),
        Program(
            name=PROVISIONER,
            argv=(
                *celery,
                "worker",
                "-Q",
                "provision",
                "--pool",
                "threads",
                "--concurrency",
                "8",
                "-n",
                "provision@%h",
                *quiet,
            ),
            withheld=("STRIPE_API_KEY",),
            given={"MOORAGE_HOLDS_RUNTIME": "1"},
            stop_seconds=30,
        ),
        Program(
            name="beat",
            argv=(*celery, "beat", "--loglevel", "WARNING", "--pidfile="),
            withheld=(*_PROVISIONERS, "STRIPE_API_KEY"),
            is_confined=True,
        ),
        Program(
            name="web",
            argv=(
                *(python, "-m", "gunicorn", "moorage.config.wsgi:application"),
                *(
                    "--bind",
                    f"127.0.0.1:{ports.console}",
                    "--worker-class",
                    "gthread",
                    "--workers",
                    "2",
                    "--threads",
                    "16",
                ),
                *(
                    "--timeout",
                    "120",
                    "--graceful-timeout",
                    "10",
                    "--worker-tmp-dir",
                    run_directory,
                    "--no-control-socket",
                    "--preload",
                ),
            ),
            is_ready=lambda: answers(console),
            withheld=_PROVISIONERS,
            is_confined=True,
        ),
        *(
            Program(
                name="gateway" if number == 1 else f"gateway-{number}",
                argv=(python, "-m", "moorage.gateway"),
                is_ready=lambda: answers(gateway),
                withheld=(*_PROVISIONERS, "STRIPE_API_KEY", "MOORAGE_SECRET_KEY"),
                is_confined=True,
                sees_runners=True,
                given=logins.get("gateway", {}),
            )
            for number in range(1, gateway_workers + 1)
        ),
    )
