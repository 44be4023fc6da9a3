"""All processes of an instance with a Docker Engine of their own, each of which can be killed and comes back."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import httpx
import psycopg
from openai import APIError, OpenAI

from moorage.config.instance.ports import Ports
from moorage.config.instance.processes import PROVISIONER, platform_programs
from tests.faults.fleet.dockerd import Dockerd
from tests.faults.fleet.engine_socket import EngineSocket
from tests.faults.fleet.watch import Watch
from tests.faults.harbour import Harbour, _answers, _free_port
from tests.waiting import wait_until

INSTANCE: Final = "faults"
MIB: Final = 1024**2
#: What is promised within a minute is, on a machine that has nothing else to do; elsewhere a test may wait longer.
MINUTE: Final = 60 * float(os.environ.get("MOORAGE_FAULT_PATIENCE") or 1)
#: Room for this many replicas of the demo model; each is given 256 MiB.
BERTHS: Final = 4
#: A second provisioning worker, down until a test lets it up.
SECOND: Final = "worker-provision-2"

COMPOSE: Final = """
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: {context}
    x-moorage:
      scale: {{min: {least}, max: 1, idle: {idle}, sleep: {{frozen: {frozen}, stopped: {stopped}}}}}
"""


def compose(
    *, context: int = 256, least: int = 1, idle: str = "10m", frozen: str = "never", stopped: str = "never"
) -> str:
    """A Compose file with one model. Another ``context`` is another revision."""
    return COMPOSE.format(context=context, least=least, idle=idle, frozen=frozen, stopped=stopped)


class Quay(Harbour):
    """The processes below ``root``; workers speak to ``dockerd`` through a socket that can hang and lose replies."""

    is_durable = False

    def __init__(self, root: Path, *, dockerd: Dockerd, image: str, **settings: str) -> None:
        root.chmod(0o755)
        self.dockerd = dockerd
        self.engine = EngineSocket(root / "d.sock", dockerd.socket)
        self.charges = root / "charges"
        self.charges.mkdir()
        (root / "home" / "run").mkdir(parents=True)
        self._console = _free_port()
        super().__init__(
            root,
            gateways=1,
            engines=0,
            MOORAGE_INSTANCE=INSTANCE,
            MOORAGE_RUNTIME="docker",
            DOCKER_HOST=self.engine.url,
            MOORAGE_LLAMACPP_IMAGE=image,
            MOORAGE_SOCKET_DIR=str(root / "r"),
            MOORAGE_STORE=str(root / "store"),
            MOORAGE_NODE_MEMORY_BYTES=str((BERTHS * 256 + 128) * MIB),
            MOORAGE_CONSOLE_URL=f"http://127.0.0.1:{self._console}",
            MOORAGE_FAULT_DIRECTORY=str(self.charges),
            **settings,
        )
        self.key = ""
        self.image = image

    def _add_parts(self, engines: int) -> None:
        self._add_stores()
        ports = Ports(console=self._console, gateway=self.ports[0])
        self._environment["MOORAGE_GATEWAY_URL"] = f"http://127.0.0.1:{ports.gateway}"
        self._environment["MOORAGE_GATEWAY_PORT"] = str(ports.gateway)
        table = platform_programs(
            python=sys.executable,
            ports=ports,
            run_directory=str(self.root / "home" / "run"),
            answers=lambda url: True,
            database_urls={role: self._postgres.url_for(role) for role in ("gateway", "shipper")},
        )
        for program in table:
            argv = list(program.argv)
            if program.name == PROVISIONER:
                argv[1:3] = ["-m", "tests.faults.fleet.armed_worker"]
            self._add(program.name, *argv, environment=program.given)
            part = self.parts[program.name]
            part.environment = {name: text for name, text in part.environment.items() if name not in program.withheld}
        first = self.parts[PROVISIONER]
        argv = tuple("provision2@%h" if word == "provision@%h" else word for word in first.argv)
        self._add(SECOND, *argv)
        self.parts[SECOND].environment = first.environment
        self.parts[SECOND].down_until = 1e9

    def _seed(self) -> dict[str, Any]:
        seeded: dict[str, Any] = json.loads(self.python("-m", "tests.faults.fleet.control"))
        self.key = seeded["key"]
        return seeded

    @property
    def ours(self) -> tuple[str, ...]:
        """The names of Moorage's own processes that should run."""
        stores = {"postgres", "valkey"}
        return tuple(name for name, part in self.parts.items() if name not in stores and part.down_until < 1e9)

    @property
    def broker_url(self) -> str:
        """Of the broker."""
        return self._valkey.url

    def outfit(self, name: str, **variables: str | None) -> None:
        """Gives a process other variables for its next life; None takes one away."""
        changed = {**self.parts[name].environment, **variables}
        self.parts[name].environment = {key: text for key, text in changed.items() if text is not None}

    def dress(self, name: str, **variables: str | None) -> None:
        """Starts a process anew with other variables."""
        self.outfit(name, **variables)
        self.kill(name)

    def freeze(self, name: str) -> None:
        """SIGSTOP of a process."""
        self._signal(name, signal.SIGSTOP)

    def thaw(self, name: str) -> None:
        """SIGCONT of a process."""
        self._signal(name, signal.SIGCONT)

    def _signal(self, name: str, number: signal.Signals) -> None:
        process = self.parts[name].process
        assert process is not None
        process.send_signal(number)

    def let_second_up(self) -> None:
        """A second provisioning worker, at work when this returns."""
        mark = self.log(SECOND).count("ready.")
        self.let_up(SECOND)
        wait_until(lambda: self.log(SECOND).count("ready.") > mark, seconds=90, what="a second worker")

    def age_leases(self) -> None:
        """Half a minute goes by for every lease: what was held by a dead worker may be taken over."""
        with psycopg.connect(self.database_url, autocommit=True) as connection:
            for table in ("deployment", "replica"):
                connection.execute(f"UPDATE {table} SET lease_until = lease_until - interval '30 s'")  # type: ignore[arg-type]

    def kill_pid(self, pid: int) -> None:
        """``kill -9`` of an engine's own process."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def charge(self, point: str) -> Path:
        """Whichever worker comes to the fault point next dies there. The file is there until then."""
        path = self.charges / point
        path.touch()
        return path

    def take_up_charges(self) -> None:
        """Nobody dies at a fault point any more."""
        for charge in self.charges.iterdir():
            charge.unlink(missing_ok=True)

    # -- as a customer

    @property
    def gateway_url(self) -> str:
        """Where applications call."""
        return f"http://127.0.0.1:{self.ports[0]}"

    def openai(self, *, seconds: float = 60) -> OpenAI:
        """The official client."""
        return OpenAI(base_url=f"{self.gateway_url}/v1", api_key=self.key, max_retries=0, timeout=seconds)

    def answers(self, model: str, *, seconds: float = 30) -> bool:
        """Whether a token comes back."""
        try:
            with self.openai(seconds=seconds) as client:
                client.completions.create(model=model, prompt="The sea", max_tokens=1)
        except APIError:
            return False
        return True

    def call(self, method: str, path: str, *, content: str | None = None, seconds: float = MINUTE) -> httpx.Response:
        """A call of REST, made again while nobody answers it: every one used here may be repeated."""
        headers = {"Authorization": f"Bearer {self.key}"}
        if content is not None:
            headers["Content-Type"] = "application/yaml"

        def answered() -> httpx.Response | None:
            try:
                answer = httpx.request(
                    method,
                    f"http://127.0.0.1:{self._console}/api/v1{path}",
                    headers=headers,
                    content=content,
                    timeout=20,
                    trust_env=False,
                )
            except httpx.HTTPError:
                return None
            return answer if answer.status_code < 500 else None

        return wait_until(answered, seconds=seconds, what=f"{method} {path}")  # type: ignore[return-value]

    def apply(self, name: str, text: str) -> None:
        """PUTs a Compose file."""
        answer = self.call("PUT", f"/deployments/{name}", content=text)
        assert answer.status_code in {200, 202}, answer.text

    def delete(self, *names: str) -> None:
        """Deletes deployments and waits until they are gone."""
        for name in names:
            assert self.call("DELETE", f"/deployments/{name}").status_code in {202, 204, 404, 409}
        for name in names:
            wait_until(lambda name=name: self.status(name) == "", seconds=MINUTE, what=f"the end of {name}")

    def settle(self) -> None:
        """Deletes every deployment, and fails unless nothing is left of them after a minute."""
        self.delete(*(str(row[0]) for row in self.rows("SELECT name FROM deployment WHERE status <> 'deleted'")))
        wait_until(
            lambda: not self.remains(), seconds=MINUTE, what=lambda: f"nothing to be left; there is {self.remains()}"
        )

    def status(self, name: str) -> str:
        """A deployment's status; empty where there is none."""
        answer = self.call("GET", f"/deployments/{name}")
        return str(answer.json()["status"]) if answer.status_code == 200 else ""

    def ready(self, name: str, *, seconds: float = MINUTE) -> str:
        """Waits until the deployment is ready and answers a token; returns the id of its one ready replica."""
        wait_until(lambda: self.status(name) == "ready", seconds=seconds, what=f"{name} to be ready")
        wait_until(lambda: self.answers(f"{name}/llm"), seconds=seconds, what=f"an answer of {name}")
        return str(self.replicas(name, status="ready")[0]["id"])

    def replicas(self, name: str, *, status: str | None = None) -> list[dict[str, Any]]:
        """A deployment's replicas that are not gone, as the database has them."""
        columns = ["id", "status", "reason_code", "reason", "container_name", "exit_code", "epoch", "created_at"]
        rows = self.rows(
            f"SELECT {', '.join(f'r.{column}' for column in columns)} FROM replica r JOIN deployment d"
            f" ON d.id = r.deployment_id WHERE d.name = '{name}' AND r.status <> 'gone' ORDER BY r.created_at"
        )
        found = [dict(zip(columns, row, strict=True)) for row in rows]
        return [one for one in found if status in {None, one["status"]}]

    def pid_of(self, replica_id: str) -> int:
        """The process id of a replica's container."""
        container = next(one for one in self.replicas_everywhere() if one["id"] == replica_id)
        with self.dockerd.client() as client:
            return int(client.inspect_container(container["container_name"])["State"]["Pid"])

    def replicas_everywhere(self) -> list[dict[str, Any]]:
        """Every replica that is not gone: id and container."""
        rows = self.rows("SELECT id, container_name, status FROM replica WHERE status <> 'gone'")
        return [dict(zip(("id", "container_name", "status"), row, strict=True)) for row in rows]

    def remains(self) -> list[str]:
        """Containers, reservations and sockets that nothing that lives accounts for; empty when all is well."""
        living = {str(one["id"]) for one in self.replicas_everywhere()}
        labels = [one["Labels"]["moorage.replica"] for one in self.dockerd.containers(INSTANCE)]  # type: ignore[index]
        found = [f"container of {label}" for label in labels if label not in living]
        held = [str(row[0]) for row in self.rows("SELECT replica_id FROM reservation")]
        found += [f"room of {replica}" for replica in held if replica not in living]
        sockets = [path.name.split("-")[0] for path in (self.root / "r").glob("[!.]*")]
        # A container's name is in lower case, and so may be a directory that was made from it.
        lower = {replica.lower() for replica in living}
        return found + [f"socket of {name}" for name in sockets if name.lower() not in lower]


@contextlib.contextmanager
def running(root: Path, *, dockerd: Dockerd, image: str, **settings: str) -> Iterator[tuple[Quay, Watch]]:
    """A quay whose console and gateway answer, watched."""
    quay = Quay(root, dockerd=dockerd, image=image, **settings)
    watch = Watch(database_url=quay.database_url, dockerd=dockerd, instance=INSTANCE)
    try:
        quay.start()
        wait_until(lambda: _answers(quay.ports[0]), seconds=60, what="the gateway")
        quay.call("GET", "/healthz")
        watch.start()
        yield quay, watch
    finally:
        watch.stop()
        quay.stop()
        quay.engine.close()
