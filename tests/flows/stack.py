"""All of Moorage's processes against the test database and broker, started from the same table as `./manage.py up`."""

import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
from celery import Celery
from openai import OpenAI

from moorage.config.instance.ports import Ports
from moorage.config.instance.processes import Program, platform_programs
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(url: str) -> bool:
    """Whether an HTTP server answers there, whatever it says."""
    try:
        httpx.get(url, timeout=2, trust_env=False)
    except httpx.HTTPError:
        return False
    return True


def _name_yaml(request: httpx.Request) -> None:
    """A Compose file that is sent without saying what it is."""
    if request.content and "Content-Type" not in request.headers:
        request.headers["Content-Type"] = "application/yaml"


@dataclasses.dataclass
class Stack:
    """The running processes. Ended by id, engines last."""

    home: Path
    environment: Mapping[str, str]
    ports: Ports
    #: Of the processes that have a login of their own.
    database_urls: Mapping[str, str] = dataclasses.field(default_factory=dict)
    programs: dict[str, Program] = dataclasses.field(default_factory=dict)
    running: dict[str, "subprocess.Popen[bytes]"] = dataclasses.field(default_factory=dict)

    @property
    def console_url(self) -> str:
        """Where the console and REST answer."""
        return f"http://127.0.0.1:{self.ports.console}"

    @property
    def api_url(self) -> str:
        """REST."""
        return f"{self.console_url}/api/v1"

    @property
    def gateway_url(self) -> str:
        """Where applications call."""
        return f"http://127.0.0.1:{self.ports.gateway}"

    def start(self, *names: str) -> None:
        """Starts the named programs (all of them without a name) and waits until they are ready."""
        (self.home / "logs").mkdir(exist_ok=True)
        if not self.programs:
            (self.home / "run").mkdir(exist_ok=True)
            table = platform_programs(
                python=sys.executable,
                ports=self.ports,
                run_directory=str(self.home / "run"),
                answers=answers,
                database_urls=self.database_urls,
            )
            self.programs = {program.name: program for program in table}
        for name in names or tuple(self.programs):
            program = self.programs[name]
            environment = {key: value for key, value in self.environment.items() if key not in program.withheld}
            environment |= program.given
            with (self.home / "logs" / f"{name}.log").open("ab") as log:
                self.running[name] = subprocess.Popen(
                    program.argv, cwd=ROOT, env=environment, stdout=log, stderr=log, start_new_session=True
                )
        for name in names or tuple(self.programs):
            ready = self.programs[name].is_ready
            if ready is not None:
                wait_until(ready, seconds=60, what=f"{name}:\n{self.log(name)}")

    def kill(self, *names: str, with_signal: signal.Signals = signal.SIGKILL) -> None:
        """Ends the named programs and their children at once."""
        for name in names:
            child = self.running.pop(name)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(child.pid, with_signal)
            child.wait(timeout=30)

    def stop(self) -> None:
        """Ends everything in good order."""
        for name in reversed(list(self.running)):
            child = self.running[name]
            child.send_signal(self.programs[name].stop_signal)
        deadline = time.monotonic() + 20
        for name, child in list(self.running.items()):
            try:
                child.wait(timeout=max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                self.kill(name)
        self.running.clear()

    def manage(self, *arguments: str) -> str:
        """The output of a management command."""
        done = subprocess.run(
            [sys.executable, "-m", "django", *arguments],
            cwd=ROOT,
            env=dict(self.environment),
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def send_task(self, name: str, *, queue: str = "default") -> None:
        """Rings the workers for a task without arguments, as beat does."""
        app = Celery(broker=self.environment["BROKER_URL"], set_as_current=False)
        app.conf.broker_transport_options = {"global_keyprefix": f"moorage:{self.environment['MOORAGE_INSTANCE']}:"}
        with app:
            app.send_task(name, queue=queue)

    def log(self, name: str, *, tail: int = 4000) -> str:
        """The end of a program's log."""
        path = self.home / "logs" / f"{name}.log"
        return path.read_text(errors="replace")[-tail:] if path.exists() else ""

    def logs(self) -> str:
        """The ends of all logs, for a failure's message."""
        return "\n".join(f"--- {name}\n{self.log(name, tail=1500)}" for name in self.programs)

    def api(self, key: str) -> httpx.Client:
        """A REST client with ``key``."""
        return httpx.Client(
            base_url=self.api_url,
            headers={"Authorization": f"Bearer {key}"},
            timeout=620,
            trust_env=False,
            event_hooks={"request": [_name_yaml]},
        )

    def openai(self, key: str, **options: Any) -> OpenAI:
        """The official client, pointed at the gateway."""
        return OpenAI(base_url=f"{self.gateway_url}/v1", api_key=key, max_retries=0, timeout=120, **options)
