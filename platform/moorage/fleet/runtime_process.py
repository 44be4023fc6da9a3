"""The container runtime of a machine without Docker: runners as local processes. For development; not isolated.

A container is a directory ``MOORAGE_HOME/run/processes/<name>``: ``spec.json`` (what was asked for), ``state.json`` and
``log`` (written by :mod:`moorage.fleet.process_shim`). The directory is the truth; a worker that starts anew finds
every runner again (:mod:`moorage.fleet.process_record`). Memory and CPU limits are not enforced.
"""

import contextlib
import datetime as dt
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, Literal, cast

from moorage.fleet import isolation, name_lock, process_record, process_shim, process_usage, runner_output, sockets
from moorage.fleet.engines import Engine, RunnerPaths
from moorage.fleet.errors import (
    ContainerConflict,
    ContainerMissing,
    ImageMissing,
    RuntimeClassMissing,
    RuntimeFailed,
    StartFailed,
)
from moorage.fleet.runner_output import Leftover, LogLine, Usage
from moorage.fleet.runtime import Container, ContainerSpec, Status, labels_of
from moorage.fleet.weights import model_path

_SHIM_SECONDS: Final = 20
_FOLLOW_SECONDS: Final = 0.1


class ProcessRuntime:
    """Runners as local processes, recorded under ``directory``."""

    name: Final[Literal["process"]] = "process"
    is_isolated: Final = False

    def __init__(
        self, *, instance: str, directory: Path, llama_server: str | None = None, vllm_python: str | None = None
    ) -> None:
        self.instance = instance
        self._directory = directory
        self._llama_server = llama_server
        self._vllm_python = vllm_python

    def runner_paths(self, *, model_dir: Path, socket_dir: Path, engine: Engine) -> RunnerPaths:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        if engine is Engine.LLAMACPP:
            if self._llama_server is None:
                raise ImageMissing(
                    "llama-server is not here. Set MOORAGE_LLAMA_SERVER to its path, or start with `./manage.py up`."
                )
            program: tuple[str, ...] = (self._llama_server,)
        else:
            if self._vllm_python is None:
                raise ImageMissing(
                    "vLLM is not here. Set MOORAGE_VLLM_PYTHON to a Python that has it, or use a model in GGUF format."
                )
            program = (self._vllm_python, "-m", "vllm.entrypoints.openai.api_server")
        return RunnerPaths(
            model=model_path(model_dir, engine=engine, seen_as=str(model_dir)),
            socket=str(sockets.path(socket_dir)),
            home=str(process_record.home(socket_dir)),
            program=program,
        )

    def ensure(self, spec: ContainerSpec) -> Container:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._locked(spec.name) as directory:
            record = process_record.read(directory / "spec.json")
            if record is not None and record["instance"] != self.instance:
                raise ContainerConflict
            if record is not None and record["spec_hash"] != spec.spec_hash:
                raise ContainerConflict
            if spec.container_runtime != "runc":
                raise RuntimeClassMissing(
                    f"Replicas of this organization have to be started with {spec.container_runtime!r}; plain processes"
                    " are not isolated, and nothing was started."
                )
            if record is None:
                directory.mkdir(exist_ok=True, mode=0o700)
                record = {
                    "instance": self.instance,
                    "spec_hash": spec.spec_hash,
                    "replica_id": spec.replica_id,
                    "epoch": spec.epoch,
                    "argv": list(spec.argv),
                    "environment": dict(spec.environment),
                    "home": str(process_record.home(spec.socket_dir)),
                    "socket_dir": str(spec.socket_dir),
                    "labels": labels_of(spec, instance=self.instance),
                }
                process_record.write(directory / "spec.json", record)
            # Without a state the shim was never heard of: a worker died between the record and the start.
            if process_record.read(directory / "state.json") is None:
                sockets.prepare(spec.socket_dir, uid=None)
                process_record.home(spec.socket_dir).mkdir(exist_ok=True)
                self._start(directory)
            return process_record.container(spec.name, record, process_record.read(directory / "state.json"))

    def remove(self, name: str, *, grace_seconds: float = 10) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._locked(name) as directory:
            record = process_record.read(directory / "spec.json")
            if record is not None:
                if record["instance"] != self.instance:
                    raise ContainerConflict
                state = process_record.read(directory / "state.json")
                if state is not None and "pid" in state:
                    process_record.end(state, grace_seconds)
                sockets.discard(Path(record["socket_dir"]))
            shutil.rmtree(directory, ignore_errors=True)
            if directory.exists():
                raise RuntimeFailed(f"{directory} could not be removed.")

    def list(self) -> tuple[Container, ...]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with process_record.reaching():
            self._directory.mkdir(parents=True, exist_ok=True)
            names = sorted(entry.name for entry in os.scandir(self._directory) if entry.is_dir())
        found = (self.inspect(name) for name in names)
        return tuple(container for container in found if container is not None)

    def inspect(self, name: str) -> Container | None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with process_record.reaching():
            self._directory.mkdir(parents=True, exist_ok=True)
            record = process_record.read(self._directory / name / "spec.json")
            if record is None or record["instance"] != self.instance:
                return None
            return process_record.container(name, record, process_record.read(self._directory / name / "state.json"))

    def logs(self, name: str, *, tail: int = 200) -> str:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        if self.inspect(name) is None:
            raise ContainerMissing
        lines: deque[bytes] = deque(maxlen=tail)
        for file in ("log.1", "log"):
            with contextlib.suppress(FileNotFoundError), (self._directory / name / file).open("rb") as log:
                lines.extend(log)
        return "\n".join(runner_output.unstamped(line) for line in lines)

    def follow_logs(
        self, name: str, *, since: dt.datetime | None = None, tail: int | None = None
    ) -> Iterator[LogLine | None]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        if self.inspect(name) is None:
            raise ContainerMissing
        return self._followed(name, since, tail)

    def _followed(self, name: str, since: dt.datetime | None, tail: int | None) -> Iterator[LogLine | None]:
        def is_over() -> bool:
            container = self.inspect(name)
            return container is None or container.status == "exited"

        with process_record.reaching():
            for line in runner_output.follow_files(self._directory / name, since=since, tail=tail, is_over=is_over):
                yield line
                if line is None:
                    time.sleep(_FOLLOW_SECONDS)

    def usage(self, name: str) -> Usage:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. Of all processes of the runner's group."""
        if self.inspect(name) is None:
            raise ContainerMissing
        state = process_record.read(self._directory / name / "state.json")
        if state is None or process_record.status(state) == "exited":
            return Usage()
        return process_usage.of_group(state["pid"])

    def clear_leftovers(self, *, older_than_seconds: float) -> tuple[Leftover, ...]:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`: directories without a record of what was asked for."""
        with process_record.reaching():
            self._directory.mkdir(parents=True, exist_ok=True)
            names = sorted(entry.name for entry in os.scandir(self._directory) if entry.name.startswith("moorage-"))
        removed = []
        for name in names:
            with self._locked(name) as directory:
                is_old = directory.is_dir() and time.time() - directory.stat().st_mtime >= older_than_seconds
                if is_old and not (directory / "spec.json").exists():
                    shutil.rmtree(directory, ignore_errors=True)
                    removed.append(Leftover(kind="record", name=name))
        return tuple(removed)

    def pause(self, name: str) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        self._signal(name, signal.SIGSTOP, until="paused")

    def unpause(self, name: str) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        self._signal(name, signal.SIGCONT, until="running")

    def stop(self, name: str, *, grace_seconds: float = 10) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`. What is kept is the record of how it was started."""
        with self._locked(name) as directory:
            self._present(directory)
            state = process_record.read(directory / "state.json")
            if state is not None and "pid" in state:
                process_record.end(state, grace_seconds)

    def start(self, name: str) -> Container:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with self._locked(name) as directory:
            record = self._present(directory)
            state = process_record.read(directory / "state.json")
            status = "exited" if state is None else process_record.status(state)
            if status == "paused":
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(cast(dict[str, Any], state)["pid"], signal.SIGCONT)
            elif status == "exited":
                (directory / "state.json").unlink(missing_ok=True)
                socket_dir = Path(record["socket_dir"])
                sockets.prepare(socket_dir, uid=None)
                process_record.home(socket_dir).mkdir(exist_ok=True)
                self._start(directory)
            return process_record.container(name, record, process_record.read(directory / "state.json"))

    def isolation(self, name: str) -> isolation.Isolation:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        with process_record.reaching():
            self._present(self._directory / name)
            return isolation.of_process()

    def ping(self) -> None:
        """See :class:`moorage.fleet.runtime.ContainerRuntime`."""
        self.list()

    def _present(self, directory: Path) -> dict[str, Any]:
        record = process_record.read(directory / "spec.json")
        if record is None or record["instance"] != self.instance:
            raise ContainerMissing
        return record

    def _start(self, directory: Path) -> None:
        shim = [sys.executable, "-I", "-S", process_shim.__file__, str(directory)]
        try:
            ended = subprocess.run(
                shim,
                check=False,
                env={},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_SHIM_SECONDS,
            )
        except (subprocess.TimeoutExpired, OSError) as error:
            raise RuntimeFailed(f"The runner was not started: {error}.") from error
        if ended.returncode == 0:
            return
        state = process_record.read(directory / "state.json") or {}
        record = process_record.read(directory / "spec.json") or {}
        sockets.discard(Path(record["socket_dir"]))
        shutil.rmtree(directory, ignore_errors=True)
        raise StartFailed(
            f"The runner's program could not be started: {state.get('error', 'its supervisor broke off')}."
        )

    def _signal(self, name: str, number: signal.Signals, *, until: Status) -> None:
        with self._locked(name) as directory:
            state = process_record.read(directory / "state.json")
            if state is None or process_record.status(state) not in {"running", "paused"}:
                raise ContainerMissing
            with contextlib.suppress(ProcessLookupError):
                os.killpg(state["pid"], number)
            deadline = time.monotonic() + 5
            while process_record.status(state) not in {until, "exited"} and time.monotonic() < deadline:
                time.sleep(process_record.LOOK_SECONDS)

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[Path]:
        """The directory of ``name``, held against every other thread and process."""
        with contextlib.ExitStack() as stack:
            with process_record.reaching():
                stack.enter_context(name_lock.held(name, under=self._directory))
            yield self._directory / name
