"""vLLM on a GPU, started as production starts it: a token, sleep and wake, and no tensor parallel on one device.

The process runtime stands in for Docker: a machine that is lent has a GPU and rarely an Engine. The container's side
(device requests, image arguments) is in test_containers.py.
"""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.fleet import engine_sleep, engines, probe, sockets
from moorage.fleet.engines import Engine, EngineSettings
from moorage.fleet.nvml import FoundDevice
from moorage.fleet.runtime import ContainerSpec
from moorage.kernel import ids
from tests.fleet import demo_model, harnesses
from tests.fleet.runners import Harness
from tests.waiting import wait_until

pytestmark = [pytest.mark.gpu, pytest.mark.vllm]

GIB = 1024**3
START_SECONDS = 400


@pytest.fixture
def harness(short_tmp: Path, cuda_vllm: Path) -> Iterator[Harness]:
    made = harnesses.process(short_tmp, vllm_python=cuda_vllm)
    yield made
    harnesses.clear(made)


def start(harness: Harness, model_dir: Path, devices: tuple[str, ...]) -> ContainerSpec:
    replica_id = ids.new("rep")
    socket_dir = harness.spec(replica_id=replica_id).socket_dir
    command = engines.command(
        Engine.VLLM,
        paths=harness.runtime.runner_paths(model_dir=model_dir, socket_dir=socket_dir, engine=Engine.VLLM),
        settings=EngineSettings(
            served_name="quay/llm",
            context_size=256,
            parallel=2,
            cpu_threads=2,
            memory_bytes=8 * GIB,
            devices=devices,
            flags=(("--enforce-eager", None),),
        ),
    )
    spec = harness.spec(
        replica_id=replica_id,
        engine=Engine.VLLM,
        argv=command.argv,
        environment=command.environment,
        model_dir=model_dir,
        memory_bytes=8 * GIB,
        cpu_millis=1000 * (os.cpu_count() or 1),
        device_ids=devices,
    )
    harness.runtime.ensure(spec)
    return spec


def await_health(harness: Harness, spec: ContainerSpec) -> None:
    def answers() -> bool:
        found = harness.runtime.inspect(spec.name)
        assert found is not None and found.status == "running", harness.runtime.logs(spec.name)
        return probe.health(sockets.path(spec.socket_dir)).is_ok

    wait_until(answers, seconds=START_SECONDS)


def test_a_token_comes_from_the_gpu_also_after_sleep(
    harness: Harness,
    gpus: tuple[FoundDevice, ...],
    demo_catalog: Path,
    short_tmp: Path,
) -> None:
    model = demo_model.unpack(demo_catalog / "harbour-vllm", "latest", into=short_tmp / "harbour")
    spec = start(harness, model, (gpus[0].vendor_id,))
    await_health(harness, spec)
    socket = sockets.path(spec.socket_dir)
    assert probe.first_token(socket, "quay/llm", "chat").is_ok
    assert engine_sleep.can_sleep(Engine.VLLM, spec.argv)

    began = time.monotonic()
    engine_sleep.sleep(socket)
    slept = time.monotonic()
    was_asleep = engine_sleep.is_asleep(socket)
    engine_sleep.wake(socket)
    woken = time.monotonic()
    token = probe.first_token(socket, "quay/llm", "chat")

    assert was_asleep and not engine_sleep.is_asleep(socket)
    assert token.is_ok, (token, harness.runtime.logs(spec.name))
    # For the table in README.md of this folder.
    print(f"sleep {slept - began:.3f} s, wake {woken - slept:.3f} s, token {token.seconds:.3f} s on {gpus[0].name}")


def test_two_devices_cannot_be_made_of_one(
    harness: Harness, gpus: tuple[FoundDevice, ...], demo_catalog: Path, short_tmp: Path
) -> None:
    if len(gpus) > 1:
        pytest.skip("this machine has several devices: tensor parallel works here")
    model = demo_model.unpack(demo_catalog / "harbour-vllm", "latest", into=short_tmp / "harbour")

    spec = start(harness, model, (gpus[0].vendor_id, gpus[0].vendor_id))

    def ended() -> bool:
        found = harness.runtime.inspect(spec.name)
        return found is not None and found.status == "exited"

    wait_until(ended, seconds=START_SECONDS)
    found = harness.runtime.inspect(spec.name)
    assert found is not None and found.exit_code != 0
    assert not probe.health(sockets.path(spec.socket_dir)).is_ok
