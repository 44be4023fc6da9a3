"""A process that dies leaves nothing of its memory."""

import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.gateway_process import GatewayProcess

CAREFUL = "from moorage.gateway import secrecy; secrecy.forbid_core_dumps();"
ENVIRONMENT = {"PYTHONPATH": str(Path(__file__).parents[2] / "platform"), "PATH": os.environ["PATH"]}
DIE = "import os, signal; os.kill(os.getpid(), signal.SIGABRT)"


def allow_core_dumps() -> None:
    """As much as the machine lets a child of ours."""
    hard = resource.getrlimit(resource.RLIMIT_CORE)[1]
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))


def is_dumped(directory: Path, program: str) -> bool:
    """Whether the kernel says that ``program`` left a core dump, wherever it puts them."""
    child = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=directory,
        env=ENVIRONMENT,
        preexec_fn=allow_core_dumps,
    )
    _, status = os.waitpid(child.pid, 0)
    child.returncode = status
    assert os.WIFSIGNALED(status)
    return os.WCOREDUMP(status)


def test_a_process_that_forbids_core_dumps_leaves_none_where_another_does(tmp_path: Path) -> None:
    if not is_dumped(tmp_path, DIE):
        pytest.skip("this machine writes no core dumps at all")

    assert not is_dumped(tmp_path, CAREFUL + DIE)


@pytest.mark.parametrize("number", [signal.SIGABRT, signal.SIGSEGV])
def test_a_gateway_that_crashes_leaves_no_core_dump(short_tmp: Path, number: signal.Signals) -> None:
    gateway = GatewayProcess(database_url=f"postgresql://nobody@/none?host={short_tmp}", directory=short_tmp)
    limits = Path(f"/proc/{gateway.process.pid}/limits").read_text()

    gateway.process.send_signal(number)
    _, status = os.waitpid(gateway.process.pid, 0)

    assert re.search(r"^Max core file size +0 +0 +bytes", limits, re.MULTILINE)
    assert os.WIFSIGNALED(status)
    assert os.WTERMSIG(status) == number
    assert not os.WCOREDUMP(status)
    with contextlib.suppress(ChildProcessError):
        gateway.finish()


def test_the_memory_of_a_careful_process_is_closed_to_others_of_its_user() -> None:
    # PR_GET_DUMPABLE: what is not dumpable can be neither traced nor read through /proc.
    ask = "import ctypes; print(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"

    answers = [
        subprocess.check_output([sys.executable, "-c", program], text=True, env=ENVIRONMENT)
        for program in (ask, CAREFUL + ask)
    ]

    assert answers == ["1\n", "0\n"]
