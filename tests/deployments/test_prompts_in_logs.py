"""An engine prints nobody's words: what the real one says while it is asked, well and badly, holds none of them."""

import contextlib
import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from django.conf import settings

from moorage.deployments import log_following, logs, services
from moorage.deployments.models import DeploymentStatus, Replica, ReplicaStatus, RunnerLine
from moorage.deployments.redaction import redact
from moorage.fleet import engines, probe, sockets
from moorage.fleet.engines import Engine
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE, Harbour
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


def answers(content: bytes) -> Iterator[str]:
    """What a model said in an answer, whole or in the pieces of a stream; not what is too short to be known again."""
    parts = [line.removeprefix("data: ") for line in content.decode(errors="replace").splitlines() or [""]]
    whole = ""
    for part in parts:
        with contextlib.suppress(ValueError, KeyError, TypeError, IndexError):
            choice = json.loads(part)["choices"][0]
            said = choice.get("text") or (choice.get("message") or choice.get("delta") or {}).get("content") or ""
            whole += said
    if len(whole.strip()) >= 8:
        yield whole.strip()


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


def test_who_reads_along_while_it_serves_reads_no_prompt_and_no_answer(committed_cast: Cast, harbour: Harbour) -> None:
    alice = committed_cast.alice
    deployment = services.apply(
        organization=alice.organization, name="demo", compose_text=COMPOSE, by=alice.actor
    ).deployment
    harbour.until(deployment, lambda one: one.status == DeploymentStatus.READY)
    replica = Replica.objects.get(status=ReplicaStatus.READY)
    stop = threading.Event()
    watch = threading.Thread(target=log_following.watch, args=(lambda: harbour.runtime,), kwargs={"stop": stop})
    following = logs.Following(deployment)
    answered: list[str] = []
    watch.start()
    try:
        wait_until(lambda: log_following.is_following(replica.pk))
        transport = httpx.HTTPTransport(uds=replica.socket)
        with httpx.Client(transport=transport, base_url="http://runner", timeout=60) as client:
            for path, content in (*questions(), *long_answers()):
                with contextlib.suppress(httpx.HTTPError):
                    answer = client.post(path, content=content, headers={"Content-Type": "application/json"})
                    answered += answers(answer.content)
        # Its complaint about the last question of all has come through: so has whatever it said before.
        wait_until(lambda: RunnerLine.objects.filter(text__contains="exceeds the available context size").count() >= 2)
    finally:
        following.close()
        stop.set()
        watch.join()
        wait_until(lambda: not log_following.is_following(replica.pk))

    said = "\n".join(RunnerLine.objects.values_list("text", flat=True))
    printed = harbour.runtime.logs(replica.container_name, tail=100_000)
    assert len(answered) >= 4, "it did answer"
    assert not [answer for answer in answered if answer in said or answer in printed]
    assert WORD not in said


def long_answers() -> Iterator[tuple[str, bytes]]:
    """Questions with answers that would be known again, and one at the very end that it complains of."""
    message = [{"role": "user", "content": f"{WORD}: where do the boats of the harbour lie?"}]
    for is_stream in (False, True):
        asked = {"messages": message, "max_tokens": 48, "stream": is_stream, "ignore_eos": True}
        yield "/v1/chat/completions", json.dumps(asked).encode()
        plain = {"prompt": WORD, "max_tokens": 48, "stream": is_stream, "ignore_eos": True}
        yield "/v1/completions", json.dumps(plain).encode()
    yield "/v1/chat/completions", json.dumps({"messages": [{"role": "user", "content": WORD * 4000}]}).encode()
