"""Metrics of several engines in one text, from real sockets."""

import asyncio
import contextlib
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from moorage.gateway import engine_metrics
from moorage.wire.records import ReplicaAddress
from tests.gateway.test_real_engine import gguf
from tests.waiting import wait_until

LLAMA = """# HELP llamacpp:prompt_tokens_total Number of prompt tokens processed.
# TYPE llamacpp:prompt_tokens_total counter
llamacpp:prompt_tokens_total 21
# HELP llamacpp:requests_processing Number of requests processing.
# TYPE llamacpp:requests_processing gauge
llamacpp:requests_processing 3
"""
VLLM = """# HELP python_gc_objects_collected_total Objects collected during gc
# TYPE python_gc_objects_collected_total counter
python_gc_objects_collected_total{generation="0"} 9.0
# HELP vllm:time_to_first_token_seconds Histogram of time to first token in seconds.
# TYPE vllm:time_to_first_token_seconds histogram
vllm:time_to_first_token_seconds_bucket{engine="0",le="0.001",model_name="harbour/secret-project"} 0.0
vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",model_name="harbour/secret-project"} 2.0
vllm:time_to_first_token_seconds_count{engine="0",model_name="harbour/secret-project"} 2.0
vllm:time_to_first_token_seconds_sum{engine="0",model_name="harbour/secret-project"} 1.5e-02
"""


@contextlib.asynccontextmanager
async def engine(path: Path, answer: bytes, *, is_silent: bool = False) -> AsyncIterator[ReplicaAddress]:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"GET /metrics HTTP/1.1\r\n")
            if is_silent:
                await reader.read()
            writer.write(answer)
            await writer.drain()
        writer.close()

    server = await asyncio.start_unix_server(talk, str(path))
    async with server:
        yield ReplicaAddress(id=f"rep_{path.stem}", socket=str(path))


def whole(text: str) -> bytes:
    content = text.encode()
    return b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


def chunked(text: str) -> bytes:
    content = text.encode()
    chunks = b"".join(
        b"%x\r\n%b\r\n" % (len(content[at : at + 100]), content[at : at + 100]) for at in range(0, len(content), 100)
    )
    return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def until_closed(text: str) -> bytes:
    return b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n" + text.encode()


def gathered(path: Path, **answers: bytes) -> str:
    async def gather() -> str:
        async with contextlib.AsyncExitStack() as stack:
            replicas = [
                await stack.enter_async_context(engine(path / f"{name}.s", answer)) for name, answer in answers.items()
            ]
            return (await engine_metrics.gather(replicas)).decode()

    return asyncio.run(gather())


def test_each_family_stands_once_with_the_samples_of_all_replicas(short_tmp: Path) -> None:
    text = gathered(short_tmp, a=whole(LLAMA), b=until_closed(LLAMA), c=chunked(VLLM))

    assert text.count("# TYPE llamacpp:prompt_tokens_total counter") == 1
    assert {
        'llamacpp:prompt_tokens_total{replica="rep_a"} 21',
        'llamacpp:prompt_tokens_total{replica="rep_b"} 21',
    } < set(text.splitlines())
    lines = text.splitlines()
    at = lines.index("# TYPE vllm:time_to_first_token_seconds histogram")
    assert lines[at + 2] == 'vllm:time_to_first_token_seconds_bucket{engine="0",le="+Inf",replica="rep_c"} 2.0'
    assert lines[at + 4] == 'vllm:time_to_first_token_seconds_sum{engine="0",replica="rep_c"} 1.5e-02'


def test_no_name_of_a_tenant_and_nothing_of_the_engines_process_is_shown(short_tmp: Path) -> None:
    text = gathered(short_tmp, c=whole(VLLM))

    assert "harbour" not in text
    assert "python_gc" not in text


def test_lines_that_are_not_metrics_are_left_out(short_tmp: Path) -> None:
    hostile = (
        'llamacpp:a{x="y"} 1\nllamacpp:b{x="quo\\"te"} 1\nllamacpp:c{x="y} 2\nllamacpp:d one\nllamacpp:e 1 2 3\n'
        'moorage_gateway_requests_total 999\nllamacpp:f{replica="rep_other"} 5\nllamacpp:g{x="new\r\n# TYPE x"} 1\n'
    )

    lines = gathered(short_tmp, h=whole(hostile)).splitlines()

    assert [line for line in lines if not line.startswith(("#", "moorage_engine_metrics_up"))] == [
        'llamacpp:a{x="y",replica="rep_h"} 1',
        'llamacpp:f{replica="rep_h"} 5',
    ]


def test_engines_that_do_not_answer_in_time_or_not_well_are_left_out_and_said_so(short_tmp: Path) -> None:
    async def gather() -> tuple[str, float]:
        async with (
            engine(short_tmp / "good.s", whole(LLAMA)) as good,
            engine(short_tmp / "silent.s", b"", is_silent=True) as silent,
            engine(short_tmp / "huge.s", b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n") as huge,
            engine(short_tmp / "endless.s", b"HTTP/1.1 200 OK\r\nX: " + b"x" * 600_000) as endless,
            engine(short_tmp / "off.s", b"HTTP/1.1 501 Not Implemented\r\n\r\n") as off,
        ):
            gone = ReplicaAddress(id="rep_gone", socket=str(short_tmp / "nobody.s"))
            started = time.monotonic()
            text = await engine_metrics.gather([good, silent, huge, endless, off, gone])
            return text.decode(), time.monotonic() - started

    text, seconds = asyncio.run(gather())

    up = {line for line in text.splitlines() if line.startswith("moorage_engine_metrics_up")}
    assert up == {
        f'moorage_engine_metrics_up{{replica="rep_{name}"}} {int(name == "good")}'
        for name in ("good", "silent", "huge", "endless", "off", "gone")
    }
    assert 'llamacpp:requests_processing{replica="rep_good"} 3' in text
    assert seconds < 5


@pytest.mark.engine
def test_a_real_llama_server_is_understood(llama_server: Path, demo_catalog: Path, short_tmp: Path) -> None:
    runner = short_tmp / "r.sock"
    arguments = ["--model", str(gguf(demo_catalog)), "--host", str(runner), "--ctx-size", "512", "--metrics"]
    with (short_tmp / "engine.log").open("wb") as log:
        process = subprocess.Popen([str(llama_server), *arguments, "--threads", "1"], stdout=log, stderr=log)
    try:
        with httpx.Client(transport=httpx.HTTPTransport(uds=str(runner)), base_url="http://runner") as direct:
            wait_until(lambda: runner.exists() and direct.get("/health").status_code == 200, seconds=60)
            told = {line.split()[0] for line in direct.get("/metrics").text.splitlines() if not line.startswith("#")}

        text = asyncio.run(engine_metrics.gather([ReplicaAddress(id="rep_1", socket=str(runner))])).decode()
    finally:
        process.kill()
        process.wait()

    assert len(told) > 5
    assert {line.split("{")[0] for line in text.splitlines() if line.startswith("llamacpp:")} == told
    assert 'moorage_engine_metrics_up{replica="rep_1"} 1' in text
