"""The supervisor: starts programs in order, watches them, restarts what dies, stops all of them the other way round.

No process outlives it. Each child asks the kernel for its stop signal when its parent dies (PR_SET_PDEATHSIG), and is
noted in a file with its pid and the moment it began, so that the next start finds and ends what was left all the same.
One thread does everything: the kernel's notice is tied to the thread that made the child.
"""

import ctypes
import dataclasses
import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from moorage.config.instance import confinement, logs, passage
from moorage.config.instance.errors import StartFailed
from moorage.config.instance.home import write_private
from moorage.config.instance.identity import Identity
from moorage.config.instance.processes import Program

_PR_SET_PDEATHSIG: Final = 1
#: A program that has run this long is healthy: its next death begins the back-off anew.
_HEALTHY_SECONDS: Final = 60.0
_LONGEST_BACK_OFF_SECONDS: Final = 30.0
#: A program without a question to answer is ready when it has stayed alive this long.
_SETTLED_SECONDS: Final = 0.5
#: Deaths before the first readiness that mean "this will not start".
_TRIES: Final = 3
_LIBC: Final = ctypes.CDLL(None, use_errno=True)


def back_off_seconds(deaths: int) -> float:
    """How long to wait before the restart after ``deaths`` deaths in a row: 0.5, 1, 2, … 30 s."""
    return min(0.5 * 2 ** min(deaths - 1, 10), _LONGEST_BACK_OFF_SECONDS)


@dataclasses.dataclass(slots=True)
class _Watched:
    """A program and the child that is it at present."""

    program: Program
    child: subprocess.Popen[bytes] | None = None
    began: float = 0.0
    began_at: float = 0.0
    deaths: int = 0
    restarts: int = 0
    restart_at: float = 0.0
    last_exit: int | None = None


class Supervisor:
    """Watches the programs of one instance."""

    def __init__(
        self,
        *,
        run_directory: Path,
        log_directory: Path,
        environment: Mapping[str, str],
        say: Callable[[str], None] = lambda _sentence: None,
        max_log_bytes: int = logs.MAX_BYTES,
    ) -> None:
        self._run, self._logs = run_directory, log_directory
        self._environment, self._say, self._max_log_bytes = dict(environment), say, max_log_bytes
        self._watched: list[_Watched] = []
        self._looked_at_logs = 0.0
        self._is_asked_to_stop = False
        self._is_watching = False
        self._runners: Path | None = None
        self._alarm, self._ring = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    # --- verbs ---------------------------------------------------------------------------------------------------

    def use(self, environment: Mapping[str, str]) -> None:
        """The environment of the programs that are started from now on."""
        self._environment = dict(environment)

    def listen_to_signals(self) -> None:
        """SIGINT, SIGTERM and SIGHUP ask for a stop; the end of a child wakes the watch.

        Before the watch begins a stop interrupts whatever is being done (KeyboardInterrupt), such as a compilation of
        minutes; from then on the watch ends in order, and a second signal cuts nothing short.
        """
        signal.set_wakeup_fd(self._ring, warn_on_full_buffer=False)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)

    def _on_signal(self, *_: object) -> None:
        is_first, self._is_asked_to_stop = not self._is_asked_to_stop, True
        if is_first and not self._is_watching:
            raise KeyboardInterrupt

    def ask_to_stop(self) -> None:
        """Let :meth:`watch` return and :meth:`start` give up."""
        self._is_asked_to_stop = True

    def start(self, programs: Sequence[Program]) -> None:
        """Start ``programs`` together and return when all are ready. Raises StartFailed with the end of the log."""
        if (runners := confinement.runners_of(programs, self._environment)) is not None:
            self._runners = runners
            self._note(confinement.let_see(runners, self._environment))
        wave = [_Watched(program) for program in programs]
        for watched in wave:
            self._watched.append(watched)
            self._spawn(watched)
        deadline = time.monotonic() + max((program.ready_seconds for program in programs), default=0)
        waiting = wave
        while waiting := [watched for watched in waiting if not self._is_ready(watched)]:
            self._tick()
            for watched in waiting:
                if watched.deaths >= _TRIES or time.monotonic() > deadline:
                    raise StartFailed(self._last_words(watched))
            if self._is_asked_to_stop:
                raise StartFailed("Stopped while starting.")
            self._pause(0.05)
        self._write_status()

    def watch(self) -> None:
        """Keep everything running until asked to stop."""
        self._is_watching = True
        while not self._is_asked_to_stop:
            self._tick()
            self._pause(0.5)

    def stop(self, *, names: Sequence[str] | None = None) -> None:
        """Stop the programs called ``names`` (None: all), last started first. Idempotent."""
        for watched in reversed(self._watched):
            if names is None or watched.program.name in names:
                self._end(watched)
        self._watched = [
            watched for watched in self._watched if names is not None and watched.program.name not in names
        ]
        self._write_status()
        if names is None and self._runners is not None:
            self._note(passage.close(self._runners))

    def running(self) -> dict[str, int]:
        """The pid of every program that runs now, by name."""
        return {one.program.name: one.child.pid for one in self._watched if one.child and one.child.poll() is None}

    # --- one child -----------------------------------------------------------------------------------------------

    def _spawn(self, watched: _Watched) -> None:
        program = watched.program
        whole = self._environment if program.environment is None else dict(program.environment)
        environment = {name: value for name, value in whole.items() if name not in program.withheld}
        environment |= program.given
        parent, stop_signal = os.getpid(), int(program.stop_signal)
        give_up = confinement.of(program, self._environment)

        def follow_parent() -> None:
            if give_up is not None:
                give_up()
            _LIBC.prctl(_PR_SET_PDEATHSIG, stop_signal)
            if os.getppid() != parent:  # it died before the line above
                os._exit(1)

        log = os.open(self._logs / f"{program.name}.log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            watched.child = subprocess.Popen(
                program.argv,
                env=environment,
                cwd="/",
                user=program.user,
                group=program.user,
                extra_groups=[] if program.user else None,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C reaches the supervisor alone, which stops the others in order.
                preexec_fn=follow_parent,
            )
        except subprocess.SubprocessError as error:  # What is done before exec was refused.
            raise StartFailed(confinement.refusal(program)) from error
        finally:
            os.close(log)
        watched.began, watched.began_at = time.monotonic(), time.time()
        if identity := Identity.of(watched.child.pid):
            identity.write(self._pid_file(program))

    def _note(self, sentence: str) -> None:
        if sentence:
            self._say(sentence)

    def _is_ready(self, watched: _Watched) -> bool:
        if watched.child is None or watched.child.poll() is not None:
            return False
        if watched.program.is_ready is None:
            return time.monotonic() - watched.began >= _SETTLED_SECONDS
        return watched.program.is_ready()

    def _end(self, watched: _Watched) -> None:
        child = watched.child
        watched.child, watched.restart_at = None, 0.0
        if child is not None and child.poll() is None:
            child.send_signal(watched.program.stop_signal)
            try:
                child.wait(watched.program.stop_seconds)
            except subprocess.TimeoutExpired:
                self._say(
                    f"{watched.program.name} did not stop within {watched.program.stop_seconds:.0f} s and was killed"
                )
                child.kill()
                child.wait()
            _end_session(child.pid)
        self._pid_file(watched.program).unlink(missing_ok=True)

    # --- the watch -----------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Notice deaths, restart what is due, keep the logs bounded."""
        now, changed = time.monotonic(), False
        for watched in self._watched:
            child = watched.child
            if child is not None and (exit_status := child.poll()) is not None:
                ran = now - watched.began
                _end_session(child.pid)
                watched.child, watched.last_exit, changed = None, exit_status, True
                watched.deaths = 1 if ran >= _HEALTHY_SECONDS else watched.deaths + 1
                wait = back_off_seconds(watched.deaths)
                watched.restart_at = now + wait
                self._say(f"{watched.program.name} ended ({_ending(exit_status)}); starting it again in {wait:g} s")
            elif child is None and watched.restart_at and now >= watched.restart_at:
                watched.restart_at, changed = 0.0, True
                watched.restarts += 1
                self._spawn(watched)
        if changed:
            self._write_status()
        if now - self._looked_at_logs >= 5:
            self._looked_at_logs = now
            for path in self._logs.glob("*.log"):
                logs.rotate(path, max_bytes=self._max_log_bytes)

    def _pause(self, seconds: float) -> None:
        if select.select([self._alarm], [], [], seconds)[0]:
            os.read(self._alarm, 4096)

    def _write_status(self) -> None:
        rows = [
            {
                "name": watched.program.name,
                "pid": watched.child.pid if watched.child else None,
                "since": watched.began_at,
                "restarts": watched.restarts,
                "last_exit": watched.last_exit,
            }
            for watched in self._watched
        ]
        write_private(self._run / "status.json", json.dumps(rows, indent=1) + "\n")

    def _last_words(self, watched: _Watched) -> str:
        name = watched.program.name
        log = self._logs / f"{name}.log"
        why = (
            f"it ended ({_ending(watched.last_exit)})"
            if watched.last_exit is not None
            else "it did not get ready in time"
        )
        text = "\n".join(f"  {line}" for line in logs.tail(log, 20)) or "  (it wrote nothing)"
        return f"{name} did not start: {why}. The end of {log}:\n{text}"

    def _pid_file(self, program: Program) -> Path:
        return self._run / f"{program.name}.{program.stop_signal.name}.pid"


def end_leftovers(run_directory: Path) -> list[str]:
    """End the children of a supervisor that was killed before it could stop them; their names. Idempotent."""
    ended = []
    for path in sorted(run_directory.glob("*.SIG*.pid")):
        name, signal_name = path.name.split(".")[:2]
        if (left := Identity.read(path)) is not None:
            left.end(first=signal.Signals[signal_name], seconds=10)
            _end_session(left.pid)
            ended.append(name)
        path.unlink(missing_ok=True)
    return ended


def _end_session(leader: int) -> None:
    """Kill what a dead child left in its own session: its workers, if it was killed itself."""
    try:
        os.killpg(leader, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return


def _ending(exit_status: int | None) -> str:
    if exit_status is None:
        return "still running"
    return f"signal {signal.Signals(-exit_status).name}" if exit_status < 0 else f"exit status {exit_status}"
