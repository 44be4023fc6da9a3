"""The devices of a machine are found as its driver lists them, slices included, and given to engines by name."""

import re

import pytest

from moorage.fleet import engines
from moorage.fleet.engines import Engine, EngineSettings, RunnerPaths
from moorage.fleet.models import SLICE, WHOLE
from moorage.fleet.nvml import FoundDevice

pytestmark = pytest.mark.gpu

PATHS = RunnerPaths(model="/model", socket="/run/moorage/engine.sock")


def settings_for(devices: tuple[str, ...]) -> EngineSettings:
    return EngineSettings(
        served_name="quay/llm",
        context_size=256,
        parallel=2,
        cpu_threads=2,
        memory_bytes=8 * 1024**3,
        devices=devices,
    )


def test_what_is_found_is_what_the_driver_lists(driver_list: str, gpus: tuple[FoundDevice, ...]) -> None:
    slices = set(re.findall(r"UUID: (MIG-[0-9a-f-]+)", driver_list))
    whole = set(re.findall(r"^GPU \d+: .*UUID: (GPU-[0-9a-f-]+)", driver_list, re.MULTILINE))

    assert {device.vendor_id for device in gpus if device.kind == SLICE} == slices
    assert {device.vendor_id for device in gpus if device.kind == WHOLE} <= whole
    assert gpus


def test_a_device_has_a_name_and_memory_worth_selling(gpus: tuple[FoundDevice, ...]) -> None:
    for device in gpus:
        assert device.name
        assert 2**30 < device.memory_bytes < 2**40


def test_slices_are_listed_and_their_device_is_not_sold_whole(driver_list: str, gpus: tuple[FoundDevice, ...]) -> None:
    if "MIG-" not in driver_list:
        pytest.skip("no device of this machine is cut by MIG")

    cut = [block for block in re.split(r"(?m)^(?=GPU \d)", driver_list) if "MIG-" in block]

    for block in cut:
        parent = re.search(r"UUID: (GPU-[0-9a-f-]+)", block)
        assert parent is not None
        assert parent[1] not in {device.vendor_id for device in gpus}


def test_engines_are_told_the_very_device(gpus: tuple[FoundDevice, ...]) -> None:
    one = (gpus[0].vendor_id,)

    vllm = engines.command(Engine.VLLM, paths=PATHS, settings=settings_for(one))
    llama = engines.command(Engine.LLAMACPP, paths=PATHS, settings=settings_for(one))

    for command in (vllm, llama):
        assert dict(command.environment)["CUDA_VISIBLE_DEVICES"] == one[0]
    assert vllm.argv[vllm.argv.index("--tensor-parallel-size") + 1] == "1"
    assert "--n-gpu-layers" in llama.argv
    assert "VLLM_TARGET_DEVICE" not in dict(vllm.environment)
