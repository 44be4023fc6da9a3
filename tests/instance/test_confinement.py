"""Only the provisioning worker reaches the container Engine: tried by processes that are started as an instance's
are."""

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.config.instance.confinement import engine_sockets
from moorage.config.instance.ports import Ports
from moorage.config.instance.processes import PROVISIONER, Program, platform_programs
from moorage.config.instance.supervisor import Supervisor
from tests.waiting import wait_until

#: Asks the Engine at argv[1] for its version, tries to uncover it first, and writes what came of it to argv[2].
ASKS = """
import ctypes, os, socket, sys, time
path, answer = sys.argv[1:]
ctypes.CDLL(None).umount2(path.encode(), 2)
try:
    with socket.socket(socket.AF_UNIX) as engine:
        engine.connect(path)
        engine.sendall(b"GET /version HTTP/1.0\\r\\n\\r\\n")
        said = "reached" if engine.recv(100) else "nothing"
except OSError as error:
    said = type(error).__name__
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status").read().splitlines() if ":\\t" in line)
said += f" {os.environ.get('DOCKER_HOST', '-')} {os.environ.get('MOORAGE_HOLDS_RUNTIME', '-')}"
said += f" {int(status['CapEff'], 16) >> 21 & 1}"
open(answer + ".new", "w").write(said)
os.rename(answer + ".new", answer)
time.sleep(60)
"""


def programs() -> tuple[Program, ...]:
    return platform_programs(
        python=sys.executable, ports=Ports(console=1, gateway=2), run_directory="/nowhere", answers=lambda _: True
    )


@pytest.fixture
def answers(tmp_path: Path, docker_host: str) -> Iterator[dict[str, list[str]]]:
    """What each program of an instance is told when it asks: the program is another, all else is its own."""
    for name in ("run", "logs"):
        (tmp_path / name).mkdir()
    engine = docker_host.removeprefix("unix://")
    supervisor = Supervisor(
        run_directory=tmp_path / "run",
        log_directory=tmp_path / "logs",
        environment={"PATH": os.defpath, "DOCKER_HOST": docker_host, "MOORAGE_HOLDS_RUNTIME": "1"},
    )
    asking = [
        Program(
            name=program.name,
            argv=(sys.executable, "-c", ASKS, engine, str(tmp_path / program.name)),
            withheld=program.withheld,
            given=program.given,
            is_confined=program.is_confined,
            sees_runners=program.sees_runners,
        )
        for program in programs()
    ]
    supervisor.start(asking)
    try:
        for program in asking:
            wait_until((tmp_path / program.name).exists)
        yield {program.name: (tmp_path / program.name).read_text().split() for program in asking}
    finally:
        supervisor.stop()


@pytest.mark.docker
def test_only_the_provisioning_worker_is_answered(answers: dict[str, list[str]]) -> None:
    provisioner = answers.pop(PROVISIONER)

    assert provisioner[0] == "reached" and provisioner[2] == "1"
    assert answers.keys() >= {"web", "gateway", "worker-default", "beat", "shipper", "doorbell"}
    for name, (_, address, leave, _) in answers.items():
        assert (address, leave) == ("-", "-"), name


@pytest.mark.docker
@pytest.mark.skipif(os.geteuid() != 0, reason="covering a socket needs root; another user is kept out by its group")
def test_a_process_that_is_root_does_not_find_the_engine_and_cannot_uncover_it(answers: dict[str, list[str]]) -> None:
    for name in ("web", "gateway", "worker-default", "beat", "shipper", "doorbell"):
        assert answers[name][0] == "ConnectionRefusedError", name
        assert answers[name][3] == "0", f"{name} may still mount"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become the users that are tried here")
def test_a_socket_of_a_group_is_refused_to_whoever_is_not_in_it(short_tmp: Path) -> None:
    short_tmp.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as engine:
        engine.bind(str(short_tmp / "docker.sock"))
        engine.listen()
        os.chown(short_tmp / "docker.sock", 0, 64_001)
        (short_tmp / "docker.sock").chmod(0o660)

        tried = {groups: _tried(short_tmp / "docker.sock", uid=64_002, groups=groups) for groups in ((), (64_001,))}

    assert tried == {(): False, (64_001,): True}


def _tried(path: Path, *, uid: int, groups: tuple[int, ...]) -> bool:
    """Whether a process of this user in these groups gets through to ``path``."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups(list(groups))
            os.setgid(uid)
            os.setuid(uid)
            with socket.socket(socket.AF_UNIX) as caller:
                caller.connect(str(path))
        except OSError:
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_every_program_but_the_provisioner_is_confined_and_holds_nothing() -> None:
    for program in programs():
        holds = program.name == PROVISIONER
        assert program.is_confined is not holds
        assert ("DOCKER_HOST" in program.withheld) is not holds
        assert (program.given.get("MOORAGE_HOLDS_RUNTIME") == "1") is holds


def test_the_socket_that_is_used_is_covered_also_while_its_engine_is_down(short_tmp: Path) -> None:
    named = short_tmp / "docker.sock"

    assert named in engine_sockets({"DOCKER_HOST": f"unix://{named}"})
    assert len(engine_sockets({"DOCKER_HOST": f"unix://{short_tmp}/nowhere/docker.sock"})) == len(engine_sockets({}))
    assert engine_sockets({"DOCKER_HOST": "tcp://10.0.0.1:2376"}) == engine_sockets({})
