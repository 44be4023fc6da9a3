"""What the tests of this folder need: a GPU with its driver, and for some of them an engine or an Engine that can use
it."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from moorage.fleet import nvml
from moorage.fleet.nvml import FoundDevice
from tests.conftest import missing


@pytest.fixture(scope="session")
def driver_list() -> str:
    """What the driver's own program says there is (`nvidia-smi -L`)."""
    program = shutil.which("nvidia-smi")
    if program is None:
        missing("gpu", "there is no NVIDIA driver on this machine (no nvidia-smi)")
    listed = subprocess.run([program, "-L"], capture_output=True, text=True, timeout=60, check=False)
    if listed.returncode or "GPU " not in listed.stdout:
        missing("gpu", f"the driver shows no GPU: {listed.stdout or listed.stderr}")
    return listed.stdout


@pytest.fixture(scope="session")
def gpus(driver_list: str) -> tuple[FoundDevice, ...]:
    """The devices that Moorage finds here."""
    found = nvml.devices()
    if not found:
        missing("gpu", "the driver shows GPUs and Moorage none: install nvidia-ml-py")
    return found


@pytest.fixture(scope="session")
def cuda_vllm(gpus: tuple[FoundDevice, ...]) -> Path:
    """A Python whose vLLM and torch are CUDA's (deploy/requirements-vllm.lock)."""
    named = os.environ.get("MOORAGE_VLLM_PYTHON")
    if not named or not Path(named).is_file():
        missing("gpu", "there is no vLLM: set MOORAGE_VLLM_PYTHON to a Python with deploy/requirements-vllm.lock")
    asked = subprocess.run(
        [named, "-c", "import torch, vllm; print(torch.cuda.device_count())"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if asked.stdout.strip() in {"", "0"}:
        missing("gpu", f"the vLLM of {named} sees no GPU: {asked.stderr[-300:]}")
    return Path(named)
