"""vLLM's sleep over its socket, asked of a process that answers as vLLM does."""

import contextlib
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moorage.fleet import engine_sleep, runner_http
from moorage.fleet.engines import Engine, EngineSettings, RunnerPaths, command
from moorage.fleet.errors import EngineDidNotSleep
from moorage.gateway.operations import OPERATIONS
from tests.fleet import sleepy_engine

Start = Callable[[str], Path]


@pytest.fixture
def start(short_tmp: Path) -> Iterator[Start]:
    with contextlib.ExitStack() as stack:

        def started(mode: str = "good") -> Path:
            path = short_tmp / "engine.sock"
            argv = [sys.executable, sleepy_engine.__file__, str(path), mode]
            engine = stack.enter_context(subprocess.Popen(argv, stdout=subprocess.PIPE))
            stack.callback(engine.kill)
            assert engine.stdout is not None and engine.stdout.readline() == b"listening\n"
            return path

        yield started


def asked(socket: Path) -> Any:
    return runner_http.ask(socket, "GET", "/asked", seconds=5).json()


def test_it_sleeps_at_the_level_that_is_asked_for_and_wakes_again(start: Start) -> None:
    socket = start("good")

    engine_sleep.sleep(socket, level=2)
    asleep = engine_sleep.is_asleep(socket)
    engine_sleep.wake(socket)
    engine_sleep.wake(socket)

    assert asleep
    assert not engine_sleep.is_asleep(socket)
    assert asked(socket)["level"] == 2
    assert asked(socket)["asked"] == ["/sleep?level=2", "/wake_up"]


@pytest.mark.parametrize(("mode", "says"), [("broken", "CUDA out of memory"), ("stubborn", "did not fall asleep")])
def test_an_engine_that_does_not_fall_asleep_is_not_taken_for_one_that_did(start: Start, mode: str, says: str) -> None:
    socket = start(mode)

    with pytest.raises(EngineDidNotSleep, match=says):
        engine_sleep.sleep(socket)


def test_an_engine_that_is_not_there_says_nothing(short_tmp: Path) -> None:
    with pytest.raises(EngineDidNotSleep):
        engine_sleep.wake(short_tmp / "engine.sock")


def settings(*devices: str) -> EngineSettings:
    return EngineSettings(
        served_name="m", context_size=256, parallel=1, cpu_threads=1, memory_bytes=2**33, devices=devices
    )


def test_only_vllm_on_a_gpu_is_started_so_that_it_can_sleep() -> None:
    paths = RunnerPaths(model="/model", socket="/run/moorage/engine.sock")

    on_gpu = command(Engine.VLLM, paths=paths, settings=settings("GPU-1"))
    on_cpu = command(Engine.VLLM, paths=paths, settings=settings())
    llama = command(Engine.LLAMACPP, paths=paths, settings=settings("GPU-1"))

    assert engine_sleep.can_sleep(Engine.VLLM, on_gpu.argv)
    assert dict(on_gpu.environment)["VLLM_SERVER_DEV_MODE"] == "1"
    assert not engine_sleep.can_sleep(Engine.VLLM, on_cpu.argv)
    assert "VLLM_SERVER_DEV_MODE" not in dict(on_cpu.environment)
    assert not engine_sleep.can_sleep(Engine.LLAMACPP, llama.argv)


def test_the_gateway_asks_an_engine_for_nothing_but_what_it_serves() -> None:
    relayed = {path for operation in OPERATIONS.values() for path in operation.engine_paths.values()}

    assert relayed
    assert not {path for path in relayed if not path.startswith("/v1/")} - {
        "/tokenize",
        "/detokenize",
        "/apply-template",
        "/rerank",
        "/score",
    }
    for word in (
        "sleep",
        "wake",
        "rpc",
        "reset",
        "pause",
        "resume",
        "server_info",
        "slots",
        "props",
        "lora",
        "metrics",
    ):
        assert not [path for path in relayed if word in path]
