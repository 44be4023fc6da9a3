"""CUDA in containers: exactly the device that was reserved, under the same profile as every other runner."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from moorage.fleet import probing
from moorage.fleet.engines import Engine
from moorage.fleet.inside_probe import Machine
from moorage.fleet.nvml import FoundDevice
from tests.conftest import missing
from tests.fleet import harnesses
from tests.fleet.runners import Harness
from tests.waiting import wait_until

pytestmark = [pytest.mark.gpu, pytest.mark.docker]

LOOK = 'ls /dev | grep -E "^nvidia[0-9]+$"; nvidia-smi -L'


@pytest.fixture
def harness(short_tmp: Path, gpus: tuple[FoundDevice, ...], docker_host: str) -> Iterator[Harness]:
    image = os.environ.get("MOORAGE_CUDA_IMAGE")
    if not image:
        missing(
            "gpu", "set MOORAGE_CUDA_IMAGE to a llama.cpp runner image of VARIANT=cuda (runners/llamacpp/README.md)"
        )
    short_tmp.chmod(0o755)
    made = harnesses.docker(short_tmp, address=docker_host, images={Engine.LLAMACPP: image})
    yield made
    harnesses.clear(made)


def test_a_container_sees_its_device_and_no_other(harness: Harness, gpus: tuple[FoundDevice, ...]) -> None:
    mine = gpus[0].vendor_id
    spec = harness.spec(script=LOOK, device_ids=(mine,), memory_bytes=1024**3)
    harness.runtime.ensure(spec)

    def over() -> bool:
        found = harness.runtime.inspect(spec.name)
        return found is not None and found.status == "exited"

    wait_until(over, seconds=60)
    said = harness.runtime.logs(spec.name)

    assert mine in said
    assert [other.vendor_id for other in gpus[1:] if other.vendor_id in said] == []


def test_the_walls_hold_with_a_device_too(harness: Harness, gpus: tuple[FoundDevice, ...], short_tmp: Path) -> None:
    (short_tmp / "empty").mkdir()
    spec = probing.replica_spec(
        Engine.LLAMACPP,
        runtime=harness.runtime,
        instance=harness.instance,
        socket_root=short_tmp / "s",
        model_dir=short_tmp / "empty",
        device_ids=(gpus[0].vendor_id,),
    )

    report = probing.look(spec, runtime=harness.runtime, machine=Machine())

    # The toolkit mounts the driver's libraries and its device files: those are what it was given.
    assert {finding.code for finding in report.open} <= {"files.mounts"}
