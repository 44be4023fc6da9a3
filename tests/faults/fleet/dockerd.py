"""A Docker Engine of the tests' own, which may be killed, frozen and started again; the machine's own is never touched.

As ``deploy/ci/dockerd``: everything below one directory, in a network namespace of its own, with ``--live-restore``.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import docker.errors

from tests.waiting import wait_until


def why_not() -> str | None:
    """Why a daemon cannot be started on this machine; None where it can."""
    if os.getuid() != 0:
        return "a Docker daemon of our own needs root"
    missing = [name for name in ("dockerd", "containerd", "runc", "unshare") if shutil.which(name) is None]
    return f"a Docker daemon of our own needs {', '.join(missing)}: install Debian's docker.io" if missing else None


class Dockerd:
    """A daemon below ``directory``; ``data`` is where it keeps images and containers."""

    def __init__(self, directory: Path, *, data: Path | None = None) -> None:
        self.directory = directory
        self._data = data or directory / "data"
        self._exec = directory / "exec"
        self.socket = directory / "docker.sock"
        self.url = f"unix://{self.socket}"
        self.starts = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._containerd: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._process is not None
        return self._process.pid

    def start(self) -> None:
        """Starts it, or starts it again over what a killed one has left; returns when it answers."""
        with self._lock:
            for folder in (self._data, self._exec):
                folder.mkdir(parents=True, exist_ok=True)
            if self._containerd is None:
                self._start_containerd()
            # A daemon that was killed leaves its pid file, and the number may be somebody else's by now.
            (self.directory / "dockerd.pid").unlink(missing_ok=True)
            command = ["unshare", "--net", "dockerd", "--live-restore", "--host", self.url]
            command += ["--containerd", str(self._exec / "containerd.sock")]
            command += ["--data-root", str(self._data), "--exec-root", str(self._exec)]
            command += ["--pidfile", str(self.directory / "dockerd.pid"), "--bridge", "none"]
            command += ["--iptables=false", "--ip6tables=false", "--ip-forward=false"]
            self._process = self._run("dockerd", command)
            self.starts += 1
        wait_until(self.answers, seconds=60, what="a Docker daemon of our own")

    def _start_containerd(self) -> None:
        """A process of its own, as a distribution runs it: it outlives the daemon."""
        config = self.directory / "containerd.toml"
        config.write_text(f'version = 2\ndisabled_plugins = ["io.containerd.grpc.v1.cri"]\nroot = "{self._data}/c"\n')
        command = ["containerd", "--config", str(config), "--state", str(self._exec / "containerd")]
        command += ["--address", str(self._exec / "containerd.sock"), "--log-level", "warn"]
        self._containerd = self._run("containerd", command)
        wait_until((self._exec / "containerd.sock").exists, seconds=30, what="containerd")

    def _run(self, name: str, command: list[str]) -> "subprocess.Popen[bytes]":
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def kill(self) -> None:
        """``kill -9`` of the daemon alone: containerd and the containers go on."""
        with self._lock:
            assert self._process is not None
            self._process.kill()
            self._process.wait(30)

    def freeze(self) -> None:
        """It takes connections and answers nobody, until :meth:`thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on."""
        os.kill(self.pid, signal.SIGCONT)

    def answers(self) -> bool:
        """Whether it answers now."""
        try:
            with self.client(seconds=2) as client:
                return bool(client.ping())
        except (docker.errors.DockerException, OSError):
            return False

    @contextlib.contextmanager
    def client(self, *, seconds: float = 30) -> Iterator[docker.APIClient]:
        """Docker's SDK at the daemon itself, past whatever lies between it and the workers."""
        client = docker.APIClient(base_url=self.url, version="1.41", timeout=seconds)
        try:
            yield client
        finally:
            client.close()

    def containers(self, instance: str) -> list[dict[str, object]]:
        """All of an instance's containers, in every status, as ``GET /containers/json`` lists them."""
        with self.client() as client:
            listed: list[dict[str, object]] = client.containers(
                all=True, filters={"label": f"moorage.instance={instance}"}
            )
            return listed

    def log(self, *, tail: int = 3000) -> str:
        """Its last words."""
        path = self.directory / "dockerd.log"
        return path.read_text(errors="replace")[-tail:] if path.exists() else ""

    def stop(self) -> None:
        """Ends containers, daemon and containerd, and unmounts what they left mounted."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.thaw()
        else:
            self.start()
        with self.client() as client:
            for one in client.containers(all=True):
                with contextlib.suppress(docker.errors.APIError):
                    client.remove_container(one["Id"], force=True)
        for process in (self._process, self._containerd):
            if process is not None:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(20)
        mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
        for mount in sorted((one for one in mounts if one.startswith(f"{self.directory}/")), reverse=True):
            subprocess.run(["umount", "--lazy", mount], check=False, capture_output=True)
