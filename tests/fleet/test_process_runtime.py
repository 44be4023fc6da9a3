"""What only the process runtime has to prove: its runners outlive whoever started them, and only them."""

import dataclasses
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.fleet import process_shim
from moorage.fleet.errors import ImageMissing
from moorage.fleet.runtime import Engine
from tests.fleet import harnesses
from tests.fleet.runners import Harness, write_end
from tests.waiting import wait_until

PLATFORM = Path(process_shim.__file__).parents[2]
WORKER = """
import pickle, sys
from pathlib import Path
from moorage.fleet.runtime_process import ProcessRuntime
spec = pickle.loads(bytes.fromhex(sys.argv[3]))
runtime = ProcessRuntime(instance=sys.argv[1], directory=Path(sys.argv[2]), llama_server="/bin/sh")
print(runtime.ensure(spec).status)
"""


@pytest.fixture
def harness(short_tmp: Path) -> Iterator[Harness]:
    made = harnesses.process(short_tmp)
    yield made
    harnesses.clear(made)


def state(harness: Harness, name: str) -> dict[str, object]:
    return json.loads((harness.root / "processes" / name / "state.json").read_text())


def test_a_runner_and_its_exit_code_outlive_the_worker(harness: Harness) -> None:
    spec = harness.spec()
    worker = [sys.executable, "-c", WORKER, harness.instance, str(harness.root / "processes"), pickle.dumps(spec).hex()]

    environment = os.environ | {"PYTHONPATH": str(PLATFORM)}
    said = subprocess.run(worker, env=environment, capture_output=True, text=True, check=True, timeout=60).stdout

    assert said.strip() == "running"
    found = harness.runtime.inspect(spec.name)
    assert found is not None and found.status == "running"
    write_end(spec, 7)
    wait_until(lambda: (harness.runtime.inspect(spec.name) or found).status == "exited")
    ended = harness.runtime.inspect(spec.name)
    assert ended is not None and ended.exit_code == 7


def test_a_runner_leads_its_own_session_away_from_ours(harness: Harness) -> None:
    spec = harness.spec(script='sh -c "sleep 600" & echo up; wait')
    harness.runtime.ensure(spec)

    pid = int(str(state(harness, spec.name)["pid"]))

    assert os.getsid(pid) != os.getsid(0)
    assert os.getpgid(pid) == pid
    assert Path(f"/proc/{pid}/fd/0").readlink() == Path("/dev/null")
    limits = Path(f"/proc/{pid}/limits").read_text()
    assert "Max core file size        0                    0" in limits
    assert Path(f"/proc/{pid}/oom_score_adj").read_text().strip() == "500"


def test_another_process_with_the_same_id_is_not_taken_for_the_runner(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    file = harness.root / "processes" / spec.name / "state.json"
    kept = state(harness, spec.name)
    reused = kept | {"pid": os.getpid(), "pid_token": "last boot:1", "shim_pid": 1, "shim_token": "last boot:2"}
    file.write_text(json.dumps(reused))

    found = harness.runtime.inspect(spec.name)
    harness.runtime.remove(spec.name, grace_seconds=0)

    assert found is not None and found.status == "exited" and found.exit_code is None
    os.killpg(int(str(kept["pid"])), signal.SIGKILL)


def test_a_runner_killed_from_outside_is_exited_with_the_signal(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)

    os.kill(int(str(state(harness, spec.name)["pid"])), signal.SIGKILL)

    wait_until(lambda: "exit_code" in state(harness, spec.name))
    ended = harness.runtime.inspect(spec.name)
    assert ended is not None and ended.status == "exited" and ended.exit_code == 128 + 9


def test_children_do_not_outlive_a_runner_that_ends(harness: Harness) -> None:
    spec = harness.spec(script='sleep 600 & echo "$!"; exit 0')
    harness.runtime.ensure(spec)

    wait_until(lambda: "exit_code" in state(harness, spec.name))

    child = int(harness.runtime.logs(spec.name))
    wait_until(lambda: process_shim.start_token(child) is None)


def test_a_runner_dies_with_its_witness(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    kept = state(harness, spec.name)

    os.kill(int(str(kept["shim_pid"])), signal.SIGKILL)

    wait_until(lambda: process_shim.start_token(int(str(kept["pid"]))) != kept["pid_token"])
    ended = harness.runtime.inspect(spec.name)
    assert ended is not None and ended.status == "exited" and ended.exit_code is None


def test_a_worker_that_died_between_record_and_start_is_continued(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    os.killpg(int(str(state(harness, spec.name)["pid"])), signal.SIGKILL)
    wait_until(lambda: "exit_code" in state(harness, spec.name))
    (harness.root / "processes" / spec.name / "state.json").unlink()

    created = harness.runtime.inspect(spec.name)
    started = harness.runtime.ensure(spec)

    assert created is not None and created.status == "created"
    assert started.status == "running"


def test_what_a_runner_writes_is_bounded(harness: Harness) -> None:
    line = "x" * 1000
    spec = harness.spec(script=f"i=0; while [ $i -lt 18000 ]; do echo {line}; i=$((i+1)); done; echo last")
    harness.runtime.ensure(spec)

    wait_until(lambda: "exit_code" in state(harness, spec.name), seconds=60)

    directory = harness.root / "processes" / spec.name
    kept = sum(file.stat().st_size for file in directory.glob("log*"))
    assert kept <= process_shim.LOG_BYTES + 2 * 65536
    assert harness.runtime.logs(spec.name, tail=1) == "last"


def test_an_engine_that_is_not_configured_is_named(harness: Harness) -> None:
    spec = harness.spec()

    with pytest.raises(ImageMissing, match="MOORAGE_VLLM_PYTHON"):
        harness.runtime.runner_paths(model_dir=spec.model_dir, socket_dir=spec.socket_dir, engine=Engine.VLLM)


def test_nothing_of_a_removed_runner_stays_on_disk(harness: Harness) -> None:
    spec = dataclasses.replace(harness.spec(), cpu_millis=100)
    harness.runtime.ensure(spec)

    harness.runtime.remove(spec.name, grace_seconds=0)

    assert not (harness.root / "processes" / spec.name).exists()
    assert not spec.socket_dir.exists()
