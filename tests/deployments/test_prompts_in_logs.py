"""An engine prints nobody's words: what the real one says while it is asked, well and badly, holds none of them."""

import contextlib
import json
import secrets
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from moorage.deployments.redaction import redact
from moorage.fleet import engines, probe, sockets
from moorage.fleet.engines import Engine
from tests.fleet import harnesses
from tests.fleet.demo_model import unpack
from tests.waiting import wait_until

pytestmark = pytest.mark.engine

WORD = f"sung-{secrets.token_hex(8)}"


def questions() -> Iterator[tuple[str, bytes]]:
    """Every way of asking that ends in an answer, and those that end in a complaint that might quote what was said."""
    message = [{"role": "user", "content": WORD}]
    good = [
        ("/v1/chat/completions", {"messages": message, "max_tokens": 4}),
        ("/v1/chat/completions", {"messages": message, "max_tokens": 4, "stream": True}),
        ("/v1/completions", {"prompt": WORD, "max_tokens": 4}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": WORD * 4000}]}),
        ("/v1/chat/completions", {"messages": [{"role": WORD, "content": WORD}]}),
        ("/v1/chat/completions", {"messages": WORD}),
        ("/v1/chat/completions", {"messages": message, "max_tokens": WORD}),
        ("/v1/chat/completions", {"messages": message, "response_format": {"type": WORD}}),
        ("/v1/chat/completions", {"messages": message, "grammar": f"root ::= {WORD} ("}),
        ("/v1/embeddings", {"input": WORD}),
        ("/tokenize", {"content": WORD}),
        (f"/{WORD}", {"prompt": WORD}),
    ]
    for path, body in good:
        yield path, json.dumps(body).encode()
    whole = json.dumps({"messages": message}).encode()
    for broken in (whole[:-3], b"[" + whole, WORD.encode(), b'{"a": "' + WORD.encode(), whole.replace(b":", b"", 1)):
        yield "/v1/chat/completions", broken


def test_llama_server_says_no_word_of_what_it_is_asked(llama_server: Path, short_tmp: Path) -> None:
    harness = harnesses.process(short_tmp, llama_server=llama_server)
    model_dir = unpack(settings.MOORAGE_CATALOG / "harbour", "q8_0", into=short_tmp / "model")
    named = harness.spec()
    paths = harness.runtime.runner_paths(model_dir=model_dir, socket_dir=named.socket_dir, engine=Engine.LLAMACPP)
    command = engines.command(
        Engine.LLAMACPP,
        paths=paths,
        settings=engines.EngineSettings(
            served_name="demo/llm", context_size=256, parallel=1, cpu_threads=1, memory_bytes=2**29
        ),
    )
    spec = harness.spec(
        replica_id=named.replica_id, model_dir=model_dir, argv=command.argv, environment=command.environment
    )
    try:
        harness.runtime.ensure(spec)
        socket = sockets.path(spec.socket_dir)
        wait_until(lambda: probe.health(socket).is_ok)
        transport = httpx.HTTPTransport(uds=str(socket))
        with httpx.Client(transport=transport, base_url="http://runner", timeout=60) as client:
            for path, content in questions():
                with contextlib.suppress(httpx.HTTPError):
                    client.post(path, content=content, headers={"Content-Type": "application/json"})
        said = harness.runtime.logs(spec.name, tail=100_000)
    finally:
        harnesses.clear(harness)

    # It does complain, of what it was asked wrongly: but of nobody's words.
    assert "exceeds the available context size" in said
    assert WORD not in redact(said)
    # A grammar of the caller's own is no part of what the gateway passes on; its parser quotes it past every setting.
    assert [line for line in said.splitlines() if WORD in line] == [f"root ::= {WORD} ("]
