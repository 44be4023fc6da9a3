"""The process that stands beside one runner of the process runtime: its parent, its logger and its witness.

Started as ``python -I -S process_shim.py <directory>``; a program of its own without the platform, so that runners and
their exit codes outlive the worker that started them. It

1. reads ``spec.json``, leaves the caller's session, and starts the runner: own process group, closed standard input,
   its whole environment from the file, limits, killed by the kernel should the shim die first;
2. writes ``state.json`` (process ids with their start times) and only then lets the caller go on;
3. copies the runner's output to ``log``, each line with its stream and time (``o1763800000.123456 text``), turning it
   into ``log.1`` at half of the limit, so that it stays bounded;
4. when the runner ends, kills what is left of its group and adds exit code and time to ``state.json``.
"""

import contextlib
import ctypes
import json
import os
import resource
import selectors
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

LOG_BYTES = 10 * 1024 * 1024
#: A line that is longer is written as several.
LINE_BYTES = 65536
_PR_SET_PDEATHSIG = 1


def main(directory: Path) -> int:
    """Start the runner of ``directory``; 0 once it runs and is recorded, 1 if it could not be started."""
    spec = json.loads((directory / "spec.json").read_text())
    readable, writable = os.pipe()
    if os.fork():
        os.close(writable)
        return 0 if os.read(readable, 1) == b"1" else 1
    os.close(readable)
    os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    _supervise(directory, spec, writable)
    return 0


def start_token(pid: int) -> str | None:
    """What tells this process from a later one with its id: boot id and start time. None where there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # The command's name is in parentheses and may contain anything, parentheses too.
    fields = stat.rpartition(")")[2].split()
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    return f"{boot}:{fields[19]}"


def _supervise(directory: Path, spec: dict[str, object], writable: int) -> None:
    libc = ctypes.CDLL(None)
    own = os.getpid()

    def limit() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != own:
            os._exit(125)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        files = 4096 if hard == resource.RLIM_INFINITY else min(4096, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        # Under memory pressure the kernel takes a runner before it takes the database.
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("500")
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)

    try:
        runner = subprocess.Popen(
            spec["argv"],  # type: ignore[call-overload]
            env=spec["environment"],
            cwd=spec["home"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
            preexec_fn=limit,  # safe: there is one thread so far
        )
    except OSError as error:
        _write(directory / "state.json", {"error": f"{spec['argv'][0]}: {error.strerror}"})  # type: ignore[index]
        os.write(writable, b"0")
        return
    state: dict[str, object] = {
        "pid": runner.pid,
        "pid_token": start_token(runner.pid),
        "shim_pid": own,
        "shim_token": start_token(own),
        "started_at": time.time(),
    }
    _write(directory / "state.json", state)
    os.write(writable, b"1")
    os.close(writable)

    sources = {runner.stdout.fileno(): b"o", runner.stderr.fileno(): b"e"}
    logger = threading.Thread(target=_copy_log, args=(sources, directory / "log"), daemon=True)
    logger.start()
    exit_code = runner.wait()
    with contextlib.suppress(ProcessLookupError):
        os.killpg(runner.pid, signal.SIGKILL)
    logger.join(timeout=1)
    state |= {"exit_code": exit_code if exit_code >= 0 else 128 - exit_code, "finished_at": time.time()}
    # The directory may be gone: whoever removes a container does not wait for its witness.
    with contextlib.suppress(FileNotFoundError):
        _write(directory / "state.json", state)


def _copy_log(sources: dict[int, bytes], log: Path) -> None:
    """Until the last writer is gone. A full disk or a removed directory costs lines, never the runner."""
    out = _open_log(log)
    rests = dict.fromkeys(sources, b"")
    with selectors.DefaultSelector() as selector:
        for source in sources:
            selector.register(source, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                chunk = os.read(key.fd, 65536)
                whole, _, rest = (rests[key.fd] + chunk).rpartition(b"\n")
                if not chunk:
                    selector.unregister(key.fd)
                if not chunk or len(rest) > LINE_BYTES:
                    whole, rest = (whole + b"\n" + rest if whole else rest), b""
                rests[key.fd] = rest
                if not whole:
                    continue
                stamp = b"%s%017.6f " % (sources[key.fd], time.time())
                with contextlib.suppress(OSError):
                    if os.fstat(out).st_size > LOG_BYTES // 2:
                        os.close(out)
                        log.replace(log.with_name("log.1"))
                        out = _open_log(log)
                    os.write(out, stamp + whole.replace(b"\n", b"\n" + stamp) + b"\n")


def _open_log(log: Path) -> int:
    return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)


def _write(file: Path, document: dict[str, object]) -> None:
    fresh = file.with_suffix(".new")
    fresh.write_text(json.dumps(document))
    fresh.replace(file)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
