"""A real engine on a Unix socket, started with the arguments that the platform gives it."""

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx
from runners.demo import package

from moorage.fleet import engines
from moorage.fleet.engines import Engine, EngineSettings, Flag, ModelKind, RunnerPaths
from tests.gateway.conftest import MODEL
from tests.waiting import wait_until

CONTEXT = 512
CATALOG = Path(package.__file__).parent / "catalog"


@contextlib.contextmanager
def running(
    engine: Engine, program: Path, *, kind: ModelKind = "chat", flags: tuple[Flag, ...] = (), name: str = MODEL
) -> Iterator[Path]:
    """The socket of ``program`` serving the demo model, once it is healthy."""
    with tempfile.TemporaryDirectory(prefix="m", dir="/tmp") as folder:
        root = Path(folder)
        socket, log = root / "e.sock", root / "log"
        if engine is Engine.LLAMACPP:
            package.unpack(CATALOG / "harbour", "f16-gguf", root / "model")
            model, command = root / "model" / "model.gguf", (str(program),)
        else:
            package.unpack(CATALOG / "harbour-vllm", "f16", root / "model")
            model, command = root / "model", (str(program), "-m", "vllm.entrypoints.openai.api_server")
        (root / "home").mkdir()
        started = engines.command(
            engine,
            paths=RunnerPaths(model=str(model), socket=str(socket), home=str(root / "home"), program=command),
            settings=EngineSettings(
                served_name=name,
                context_size=CONTEXT,
                parallel=2,
                cpu_threads=1,
                memory_bytes=4 * engines.GIB,
                flags=flags,
                kind=kind,
            ),
        )
        with log.open("wb") as output:
            process = subprocess.Popen(
                started.argv, stdout=output, stderr=output, env=dict(started.environment), start_new_session=True
            )
        try:
            _await_health(process, socket, log)
            yield socket
        finally:
            _stop(process)


def _await_health(process: "subprocess.Popen[bytes]", socket: Path, log: Path) -> None:
    with httpx.Client(transport=httpx.HTTPTransport(uds=str(socket)), base_url="http://runner") as client:

        def is_healthy() -> bool:
            assert process.poll() is None, log.read_text("utf-8", "replace")[-3000:]
            with contextlib.suppress(httpx.TransportError):
                return client.get("/health").status_code == 200
            return False

        wait_until(is_healthy, seconds=420, what="the engine to be healthy")


def _stop(process: "subprocess.Popen[bytes]") -> None:
    # The whole process group: vLLM runs its engine core in a child.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(timeout=20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
