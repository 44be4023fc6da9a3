"""One engine as a bare process on a Unix socket, started and stopped by a test; nothing of the platform between."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx

from tests.waiting import wait_until


@contextlib.contextmanager
def llama_engine(binary: Path, weights: Path) -> Iterator[httpx.Client]:
    """llama-server on a GGUF file: one slot, no page of its own; healthy before it is handed out."""
    with _socket() as socket:
        command = [str(binary), "--model", str(weights), "--host", str(socket), "--ctx-size", "512"]
        command += ["--parallel", "1", "--threads", "1", "--no-webui", "--jinja", "--cache-ram", "0"]
        with _running(command, socket, environment={}, seconds=120) as client:
            yield client


@contextlib.contextmanager
def vllm_engine(python: Path, folder: Path) -> Iterator[httpx.Client]:
    """vLLM's OpenAI server on a folder of safetensors, on the CPU with the numbers of the file taken as F32."""
    with _socket() as socket:
        command = [str(python), "-m", "vllm.entrypoints.openai.api_server", "--model", str(folder)]
        command += ["--served-model-name", "harbour", "--uds", str(socket), "--max-model-len", "512"]
        command += ["--max-num-seqs", "1", "--enforce-eager", "--dtype", "float32"]
        environment = {
            "VLLM_TARGET_DEVICE": "cpu",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "VLLM_HOST_IP": "127.0.0.1",
            "VLLM_NO_USAGE_STATS": "1",
            "HF_HUB_OFFLINE": "1",
        }
        with _running(command, socket, environment=environment, seconds=420) as client:
            yield client


@contextlib.contextmanager
def _socket() -> Iterator[Path]:
    # A Unix socket's path holds about a hundred bytes, fewer than a test's own folder may need.
    with tempfile.TemporaryDirectory(prefix="moor-") as folder:
        yield Path(folder) / "e.sock"


@contextlib.contextmanager
def _running(
    command: list[str], socket: Path, *, environment: dict[str, str], seconds: float
) -> Iterator[httpx.Client]:
    log = socket.with_suffix(".log")
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
            start_new_session=True,
        )
    transport = httpx.HTTPTransport(uds=str(socket))
    try:
        with httpx.Client(transport=transport, base_url="http://engine", timeout=60) as client:

            def healthy() -> bool:
                assert process.poll() is None, log.read_text("utf-8", "replace")[-3000:]
                with contextlib.suppress(httpx.TransportError):
                    return client.get("/health").status_code == 200
                return False

            wait_until(healthy, seconds=seconds)
            yield client
    finally:
        # The whole process group: vLLM runs its engine core in a child.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
