"""A gateway that is root sees what is mounted for runners after it began, and still not the Engine's socket."""

import json
import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.config.instance import confinement, doors, environment, passage
from moorage.config.instance.errors import StartFailed
from moorage.config.instance.home import Home
from moorage.config.instance.identity import Identity
from moorage.config.instance.processes import Program
from moorage.config.instance.supervisor import Supervisor
from moorage.fleet import socket_mount
from tests.instance.private_mounts import alone, points
from tests.waiting import wait_until

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount; another user is kept out by its group")

#: Waits until there is something to read at argv[1], and writes to argv[3] what it read and what the Engine at argv[2]
#: did.
LOOKS = """
import json, os, socket, sys, time
runner, engine, answer = sys.argv[1:]
until = time.monotonic() + 10
while not os.path.exists(runner) and time.monotonic() < until:
    time.sleep(0.02)
said = [open(runner).read() if os.path.exists(runner) else "nothing"]
try:
    socket.socket(socket.AF_UNIX).connect(engine)
    said.append("reached")
except OSError as error:
    said.append(type(error).__name__)
open(answer + ".new", "w").write(json.dumps(said))
os.rename(answer + ".new", answer)
time.sleep(60)
"""


@pytest.fixture
def engine(short_tmp: Path) -> Iterator[Path]:
    """Something that takes calls where an Engine would."""
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(short_tmp / "docker.sock"))
        listening.listen()
        yield short_tmp / "docker.sock"


@pytest.fixture
def runners(short_tmp: Path) -> Path:
    """MOORAGE_SOCKET_DIR."""
    (short_tmp / "s").mkdir()
    return short_tmp / "s"


class Instance:
    """A supervisor with a gateway that looks around."""

    def __init__(self, folder: Path, *, runners: Path, engine: Path) -> None:
        self._answer, self._runners, self._engine = folder / "answers" / "of-the-gateway", runners, engine
        self.said: list[str] = []
        for name in ("run", "logs", "answers"):
            (folder / name).mkdir(exist_ok=True)
        self.supervisor = Supervisor(
            run_directory=folder / "run",
            log_directory=folder / "logs",
            environment={"DOCKER_HOST": f"unix://{engine}", "MOORAGE_SOCKET_DIR": str(runners)},
            say=self.said.append,
        )

    def start(self) -> None:
        looking = (str(self._runners / "rep_1" / "told"), str(self._engine), str(self._answer))
        self._answer.unlink(missing_ok=True)
        gateway = Program(
            name="gateway", argv=(sys.executable, "-c", LOOKS, *looking), is_confined=True, sees_runners=True
        )
        self.supervisor.start([gateway])

    def answer(self) -> list[str]:
        """What the gateway read of the runner, and how the Engine answered it."""
        wait_until(self._answer.exists)
        return [str(word) for word in json.loads(self._answer.read_text())]


def mount_runner(runners: Path) -> None:
    """As the provisioning worker does it, and something to see in it."""
    (runners / "rep_1").mkdir(exist_ok=True)
    assert socket_mount.mount(runners / "rep_1", uid=0, gid=0, mode=0o700)
    (runners / "rep_1" / "told").write_text("hello")


@needs_root
@pytest.mark.parametrize("machine", ["private", "shared"])
def test_a_gateway_sees_later_mounts_of_runners_and_not_the_engine(
    short_tmp: Path, runners: Path, engine: Path, machine: str
) -> None:
    def act() -> list[str]:
        instance = Instance(short_tmp, runners=runners, engine=engine)
        instance.start()
        mount_runner(runners)
        try:
            return instance.answer()
        finally:
            instance.supervisor.stop()

    answer = alone(act, machine="shared" if machine == "shared" else "private")

    assert answer == ["hello", "ConnectionRefusedError"]


@needs_root
def test_an_engine_that_starts_again_is_not_found_either(short_tmp: Path, runners: Path, engine: Path) -> None:
    def act() -> list[str]:
        instance = Instance(short_tmp, runners=runners, engine=engine)
        instance.start()
        engine.unlink()  # As dockerd does it; the kernel takes away what others have mounted on it.
        with socket.socket(socket.AF_UNIX) as again:
            again.bind(str(engine))
            again.listen()
            mount_runner(runners)
            try:
                return instance.answer()
            finally:
                instance.supervisor.stop()

    said, engine_said = alone(act)

    assert said == "hello"
    assert engine_said in {"FileNotFoundError", "ConnectionRefusedError"}


@needs_root
def test_a_machine_that_passes_mounts_on_gets_no_mount(short_tmp: Path, runners: Path, engine: Path) -> None:
    def act() -> list[str]:
        return [passage.open_up(runners), *points(runners)]

    assert alone(act, machine="shared") == [""]
    assert alone(act, machine="private") == ["", str(runners)]


@needs_root
def test_a_start_after_a_killed_supervisor_changes_no_mount_and_sees_the_runners_that_live(
    short_tmp: Path, runners: Path, engine: Path
) -> None:
    def act() -> list[object]:
        assert passage.open_up(runners) == ""
        mount_runner(runners)
        before = Path("/proc/self/mountinfo").read_text()
        instance = Instance(short_tmp, runners=runners, engine=engine)
        instance.start()
        try:
            return [Path("/proc/self/mountinfo").read_text() == before, instance.answer()]
        finally:
            instance.supervisor.stop()

    is_unchanged, answer = alone(act)

    assert is_unchanged
    assert answer == ["hello", "ConnectionRefusedError"]


@needs_root
def test_what_was_mounted_before_the_directory_was_a_mount_is_seen_and_mounted_once(
    short_tmp: Path, runners: Path, engine: Path
) -> None:
    def act() -> list[object]:
        mount_runner(runners)
        instance = Instance(short_tmp, runners=runners, engine=engine)
        instance.start()
        mounted, answer = points(runners), instance.answer()
        socket_mount.unmount(runners / "rep_1")
        instance.supervisor.stop()
        return [mounted, answer, points(runners), instance.said]

    mounted, answer, left, said = alone(act)

    assert sorted(mounted) == [str(runners), str(runners / "rep_1")]
    assert answer == ["hello", "ConnectionRefusedError"]
    assert (left, said) == ([], [])


@needs_root
def test_an_end_leaves_no_mount(short_tmp: Path, runners: Path, engine: Path) -> None:
    def act() -> list[object]:
        before = Path("/proc/self/mountinfo").read_text()
        instance = Instance(short_tmp, runners=runners, engine=engine)
        instance.start()
        meanwhile = points(runners)
        instance.supervisor.stop(names=["gateway"])
        still = points(runners)  # Engines are stopped between the gateway and the rest.
        instance.supervisor.stop()
        return [meanwhile, still, Path("/proc/self/mountinfo").read_text() == before, instance.said]

    meanwhile, still, is_as_before, said = alone(act)

    assert meanwhile == still == [str(runners)]
    assert is_as_before
    assert said == []


@needs_root
def test_an_end_takes_an_earlier_mount_away_also_where_the_engine_is_gone(short_tmp: Path, runners: Path) -> None:
    def act() -> list[str]:
        assert passage.open_up(runners) == ""
        instance = Instance(short_tmp, runners=runners, engine=short_tmp / "gone" / "docker.sock")
        instance.start()
        instance.supervisor.stop()
        return points(runners)

    assert alone(act) == []


@needs_root
def test_an_end_with_a_runner_left_hides_none_of_it_and_says_so(short_tmp: Path, runners: Path, engine: Path) -> None:
    def act() -> list[object]:
        instance = Instance(short_tmp, runners=runners, engine=engine)
        instance.start()
        mount_runner(runners)
        instance.supervisor.stop()
        return [points(runners), (runners / "rep_1" / "told").read_text(), instance.said]

    left, read, said = alone(act)

    assert left == [str(runners), str(runners / "rep_1")]
    assert read == "hello"
    assert len(said) == 1 and str(runners) in said[0] and "busy" in said[0]


@needs_root
def test_down_after_a_killed_supervisor_leaves_no_mount(short_tmp: Path) -> None:
    place = Home(path=short_tmp / "home")

    def act() -> list[object]:
        place.prepare()
        Identity(pid=os.getpid(), started=1).write(place.supervisor)
        place.environment.write_text(environment.render({"MOORAGE_SOCKET_DIR": str(place.replica_sockets)}))
        assert passage.open_up(place.replica_sockets) == ""
        before = points(short_tmp)
        status = doors.main(["down"], root=Path("/"), environ={"MOORAGE_HOME": str(place.path)})
        return [before, status, points(short_tmp)]

    before, status, after = alone(act)

    assert before == [str(place.replica_sockets)]
    assert (status, after) == (0, [])


@needs_root
def test_where_mounting_is_refused_the_gateway_starts_and_one_sentence_says_what_it_sees(
    short_tmp: Path, runners: Path, engine: Path
) -> None:
    def act() -> list[object]:
        give_up = confinement.confine(())
        assert give_up is not None
        give_up()
        instance = Instance(short_tmp, runners=runners, engine=engine)
        instance.start()
        (runners / "rep_1").mkdir()
        (runners / "rep_1" / "told").write_text("hello")
        try:
            return [instance.answer(), instance.said]
        finally:
            instance.supervisor.stop()

    answer, said = alone(act)

    assert answer == ["hello", "reached"]
    assert len(said) == 1 and "Operation not permitted" in said[0] and "Engine's socket" in said[0]


@needs_root
def test_where_mounting_is_refused_a_program_that_has_to_be_confined_is_not_started(
    short_tmp: Path, runners: Path, engine: Path
) -> None:
    def act() -> str:
        give_up = confinement.confine(())
        assert give_up is not None
        give_up()
        supervisor = Instance(short_tmp, runners=runners, engine=engine).supervisor
        with pytest.raises(StartFailed) as refused:
            supervisor.start([Program(name="web", argv=("/bin/true",), is_confined=True)])
        supervisor.stop()
        return refused.value.message

    assert "web cannot be kept from the container Engine's socket" in alone(act)
