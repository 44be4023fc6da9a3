"""The supervisor with real, tiny processes: order, restarts, stops, leftovers, bounded logs."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from moorage.config.instance import logs
from moorage.config.instance.errors import StartFailed
from moorage.config.instance.identity import Identity
from moorage.config.instance.processes import Program
from moorage.config.instance.supervisor import Supervisor, back_off_seconds, end_leftovers
from tests.waiting import wait_until

#: Says its name when it begins and when it is asked to end; goes on until then.
LIVES = """
import signal, sys, time
path, name = sys.argv[1:]
def end(*_):
    with open(path, "a") as file:
        file.write("end " + name + "\\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
with open(path, "a") as file:
    file.write("begin " + name + "\\n")
while True:
    time.sleep(60)
"""


@pytest.fixture
def diary(tmp_path: Path) -> Path:
    path = tmp_path / "diary"
    path.touch()
    return path


def living(name: str, diary: Path) -> Program:
    return Program(
        name=name,
        argv=(sys.executable, "-c", LIVES, str(diary), name),
        is_ready=lambda: f"begin {name}" in diary.read_text(),
    )


def make(tmp_path: Path, *, max_log_bytes: int = logs.MAX_BYTES, said: list[str] | None = None) -> Supervisor:
    for name in ("run", "logs"):
        (tmp_path / name).mkdir(exist_ok=True)
    return Supervisor(
        run_directory=tmp_path / "run",
        log_directory=tmp_path / "logs",
        environment={"PATH": os.defpath, "SECRET": "for some only"},
        say=(said if said is not None else []).append,
        max_log_bytes=max_log_bytes,
    )


@contextmanager
def watched(supervisor: Supervisor) -> Iterator[None]:
    """Runs the watch beside the test. (Children are bound to the thread that made them: start them in here.)"""
    thread = threading.Thread(target=supervisor.watch)
    thread.start()
    try:
        yield
    finally:
        supervisor.ask_to_stop()
        thread.join()


def test_programs_start_in_order_and_stop_the_other_way_round(tmp_path: Path, diary: Path) -> None:
    supervisor = make(tmp_path)

    supervisor.start([living("database", diary)])
    supervisor.start([living("web", diary)])
    supervisor.stop()

    assert diary.read_text().split("\n")[:-1] == ["begin database", "begin web", "end web", "end database"]
    assert supervisor.running() == {}


def test_some_programs_can_be_stopped_before_the_others(tmp_path: Path, diary: Path) -> None:
    supervisor = make(tmp_path)
    supervisor.start([living("database", diary)])
    supervisor.start([living("web", diary)])

    supervisor.stop(names=["web"])

    assert list(supervisor.running()) == ["database"]
    supervisor.stop()


def test_a_killed_program_is_started_again(tmp_path: Path, diary: Path) -> None:
    said: list[str] = []
    supervisor = make(tmp_path, said=said)
    supervisor.start([living("web", diary)])
    first = supervisor.running()["web"]

    with watched(supervisor):
        os.kill(first, signal.SIGKILL)
        second = wait_until(lambda: supervisor.running().get("web", first) != first and supervisor.running()["web"])
        wait_until(lambda: diary.read_text().count("begin web") == 2)

    assert second != first
    assert any("SIGKILL" in sentence and "starting it again" in sentence for sentence in said)
    supervisor.stop()


def test_a_program_that_does_not_start_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    supervisor = make(tmp_path)
    broken = Program(
        name="web",
        argv=(sys.executable, "-c", "import sys; sys.exit('the port is taken by a ship')"),
        is_ready=lambda: False,
    )

    with pytest.raises(StartFailed) as raised:
        supervisor.start([broken])

    assert "web did not start: it ended (exit status 1)" in raised.value.message
    assert "the port is taken by a ship" in raised.value.message
    supervisor.stop()


def test_a_program_that_is_never_ready_is_reported_when_its_time_is_over(tmp_path: Path, diary: Path) -> None:
    supervisor = make(tmp_path)
    program = Program(
        name="web",
        argv=(sys.executable, "-c", LIVES, str(diary), "web"),
        is_ready=lambda: False,
        ready_seconds=0.2,
    )

    with pytest.raises(StartFailed, match="did not get ready in time"):
        supervisor.start([program])

    supervisor.stop()


def test_a_program_that_does_not_listen_is_killed_when_its_time_is_over(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor = make(tmp_path, said=said)
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(99)"
    )
    log = tmp_path / "logs" / "deaf.log"
    program = Program(
        name="deaf",
        argv=(sys.executable, "-c", deaf),
        is_ready=lambda: "deaf" in log.read_text(),
        stop_seconds=0.2,
    )
    supervisor.start([program])
    child = Identity.of(supervisor.running()["deaf"])
    assert child is not None

    supervisor.stop()

    assert not child.is_alive()
    assert any("was killed" in sentence for sentence in said)


def test_a_program_does_not_see_what_is_withheld_from_it(tmp_path: Path) -> None:
    supervisor = make(tmp_path)
    show = "import os, time; print(sorted(os.environ), flush=True); time.sleep(99)"
    programs = [
        Program(name="trusted", argv=(sys.executable, "-c", show)),
        Program(name="other", argv=(sys.executable, "-c", show), withheld=("SECRET",)),
    ]

    supervisor.start(programs)
    wait_until(lambda: all((tmp_path / "logs" / f"{program.name}.log").read_text() for program in programs))
    supervisor.stop()

    assert "SECRET" in (tmp_path / "logs" / "trusted.log").read_text()
    assert "SECRET" not in (tmp_path / "logs" / "other.log").read_text()


def test_no_child_outlives_a_killed_supervisor(tmp_path: Path, diary: Path) -> None:
    script = f"""
import sys, time
from pathlib import Path
from tests.instance.test_supervisor import living, make
supervisor = make(Path({str(tmp_path)!r}))
supervisor.start([living("web", Path({str(diary)!r}))])
print(supervisor.running()["web"], flush=True)
time.sleep(99)
"""
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, env=surroundings())
    assert parent.stdout is not None
    child = Identity.of(int(parent.stdout.readline()))
    assert child is not None

    parent.kill()
    parent.wait()
    parent.stdout.close()

    wait_until(lambda: not child.is_alive(), seconds=10)


def test_what_a_killed_supervisor_left_is_ended_by_the_next(tmp_path: Path, diary: Path) -> None:
    (tmp_path / "run").mkdir()
    left = subprocess.Popen(living("web", diary).argv, start_new_session=True)
    wait_until(lambda: "begin web" in diary.read_text())
    identity = Identity.of(left.pid)
    assert identity is not None
    identity.write(tmp_path / "run" / "web.SIGTERM.pid")
    reaper = threading.Thread(target=left.wait)
    reaper.start()

    ended = end_leftovers(tmp_path / "run")
    reaper.join()

    assert ended == ["web"]
    assert diary.read_text().endswith("end web\n")
    assert end_leftovers(tmp_path / "run") == []


def test_a_stranger_with_a_used_pid_is_left_alone(tmp_path: Path, diary: Path) -> None:
    (tmp_path / "run").mkdir()
    stranger = subprocess.Popen(living("stranger", diary).argv)
    wait_until(lambda: "begin stranger" in diary.read_text())
    Identity(pid=stranger.pid, started=1).write(tmp_path / "run" / "web.SIGTERM.pid")

    ended = end_leftovers(tmp_path / "run")

    assert ended == []
    assert stranger.poll() is None
    stranger.kill()
    stranger.wait()


def test_an_oversized_log_is_turned_while_its_writer_goes_on(tmp_path: Path) -> None:
    supervisor = make(tmp_path, max_log_bytes=2000)
    talks = "import time\nfor n in range(10**9):\n    print('line', n, flush=True)\n    time.sleep(0.001)"
    log = tmp_path / "logs" / "talker.log"
    supervisor.start([Program(name="talker", argv=(sys.executable, "-c", talks))])

    with watched(supervisor):
        older = wait_until(lambda: (tmp_path / "logs" / "talker.log.1").exists() and log.with_suffix(".log.1"))
        wait_until(lambda: log.stat().st_size > 0)

    assert older.read_text().startswith("line 0\n")
    assert log.read_bytes().startswith(b"line ")  # no hole of zeros at the place where the writer was
    supervisor.stop()


def test_restarts_wait_longer_and_longer_and_never_longer_than_half_a_minute() -> None:
    waits = [back_off_seconds(deaths) for deaths in range(1, 12)]

    assert waits[:4] == [0.5, 1, 2, 4]
    assert waits[-1] == 30


def surroundings() -> dict[str, str]:
    root = Path(__file__).resolve().parents[2]
    return {"PATH": os.defpath, "PYTHONPATH": f"{root / 'platform'}:{root}"}
