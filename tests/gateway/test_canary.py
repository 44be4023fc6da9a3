"""Prompts and answers are nowhere at rest: a word that is in both of all calls is looked for in everything that stays.

Looked through: every file of the instance's home (the database's own files and its log too), every table as text,
every key of the broker, the gateway's journal and what it printed, and core dumps. A request id, which must be found in
those places, proves that the search sees them.
"""

import base64
import contextlib
import hashlib
import json
import os
import secrets
import signal
import socket
from collections.abc import Iterable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
import redis
from psycopg import sql

from moorage.gateway.operations import OPERATIONS
from moorage.metering.shipper import Shipper
from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, script, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until

ASKED = f"asked-{secrets.token_hex(8)}"
ANSWERED = f"answered-{secrets.token_hex(8)}"
#: What an engine may do to an answer in one piece, and to a stream. Each has a model of its own, and so a breaker.
FAULTS = ("fin_first", "reset_first", "400", "no_json", "no_http")
STREAM_FAULTS = ("fin", "reset", "error_event", "no_json", "bad_chunk", "lie", "no_usage", "no_done")


@pytest.fixture
def gateway(start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str) -> GatewayProcess:
    """A gateway with a model of each kind, all of the same engine."""
    control.put_route(replicas=(replica(engine),), engine=engine.shape)
    control.put_route(name="harbour/embedder", replicas=(replica(engine),), engine=engine.shape, kind="embedding")
    control.put_route(name="harbour/ranker", replicas=(replica(engine),), engine=engine.shape, kind="rerank")
    wrecks = [f"harbour/{fault}" for fault in {*FAULTS, *STREAM_FAULTS}]
    for number, name in enumerate(wrecks, start=2):
        control.put_route(name=name, replicas=(replica(engine, number),), engine=engine.shape)
    gateway = start_gateway(MOORAGE_GATEWAY_MAX_BODY_BYTES="100000")
    wait_until_knows(gateway, alices_key, MODEL, "harbour/embedder", "harbour/ranker", *wrecks)
    return gateway


def told(**steps: object) -> str:
    """A prompt with the word in it, that has the engine answer with the other one."""
    return script(say=[ANSWERED, " ", ANSWERED], note=ASKED, **steps)


def bodies() -> Iterator[tuple[str, dict[str, object]]]:
    """For every path of the API a request that is served, or refused for what it asks."""
    chat = {"model": MODEL, "messages": [{"role": "system", "content": ASKED}, {"role": "user", "content": told()}]}
    tool = {
        "type": "function",
        "function": {"name": "moor", "description": ASKED, "parameters": {"type": "object", "title": ASKED}},
    }
    call = {"id": "c1", "type": "function", "function": {"name": "moor", "arguments": json.dumps({"at": ASKED})}}
    yield "/v1/chat/completions", chat
    yield "/v1/chat/completions", {**chat, "stream": True, "user": ASKED}
    yield (
        "/v1/chat/completions",
        {
            **chat,
            "tools": [tool],
            "messages": [
                *({"role": "user", "content": ASKED}, {"role": "assistant", "content": None, "tool_calls": [call]}),
                *({"role": "tool", "tool_call_id": "c1", "content": ASKED}, {"role": "user", "content": told()}),
            ],
        },
    )
    for fault in FAULTS:
        broken = [{"role": "user", "content": told(fault=fault)}]
        yield "/v1/chat/completions", {"model": f"harbour/{fault}", "messages": broken}
    for fault in STREAM_FAULTS:
        broken = [{"role": "user", "content": told(fault=fault, at=1)}]
        yield "/v1/chat/completions", {"model": f"harbour/{fault}", "stream": True, "messages": broken}
    yield "/v1/completions", {"model": MODEL, "prompt": told()}
    yield "/v1/completions", {"model": MODEL, "prompt": told(), "stream": True}
    yield "/v1/embeddings", {"model": "harbour/embedder", "input": ASKED}
    yield "/v1/responses", {"model": MODEL, "input": told(), "instructions": ASKED}
    yield "/v1/responses", {"model": MODEL, "input": told(), "stream": True}
    yield "/v1/messages", {"model": MODEL, "max_tokens": 9, "messages": [{"role": "user", "content": told()}]}
    yield "/v1/messages/count_tokens", {"model": MODEL, "messages": [{"role": "user", "content": ASKED}]}
    yield "/v1/rerank", {"model": "harbour/ranker", "query": ASKED, "documents": [ASKED, "b"]}
    yield "/v1/tokenize", {"model": MODEL, "prompt": ASKED}
    for path in OPERATIONS:
        yield path, {"model": MODEL, ASKED: ASKED}
        yield path, {"model": ASKED, "messages": [{"role": "user", "content": ASKED}], "input": ASKED, "prompt": ASKED}
        yield (
            path,
            {"model": MODEL, "messages": ASKED, "input": {"a": ASKED}, "prompt": {"a": ASKED}, "max_tokens": ASKED},
        )


def malformed(key: str) -> Iterator[bytes]:
    """Bytes that end in a refusal, or in the middle."""
    head = f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {key}\r\n"
    as_json = f"{head}Content-Type: application/json\r\n"
    good = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": ASKED}]})
    for content in (good[:-1], f'{{"model": "a", "model": "{ASKED}"}}', f'"{ASKED}', "[" * 200 + ASKED):
        yield f"{as_json}Content-Length: {len(content)}\r\n\r\n{content}".encode()
    yield f"{as_json}Content-Length: 1000\r\n\r\n{good}".encode()  # and then no more
    yield f"{as_json}Content-Length: 200000\r\n\r\n{ASKED}".encode()
    yield f"{head}Content-Type: text/plain\r\nContent-Length: {len(good)}\r\n\r\n{good}".encode()
    yield f"{as_json}Transfer-Encoding: chunked\r\n\r\n{len(good):x}\r\n{good}\r\nzz{ASKED}\r\n".encode()
    yield f"{as_json}X-Prompt: {ASKED}\r\nX-Prompt_: {ASKED}\r\nContent-Length: 2\r\n\r\n{{}}".encode()
    yield f"GET /v1/models/{ASKED}?prompt={ASKED} HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {key}\r\n\r\n".encode()
    yield f"GET /{ASKED} HTTP/1.1\r\nHost: {ASKED}\r\nAuthorization: Bearer {ASKED}\r\n\r\n".encode()
    yield f"{ASKED}\r\n\r\n".encode()


def call_in_every_way(gateway: GatewayProcess, key: str) -> set[str]:
    """Returns the request ids of calls that were answered with 200."""
    served: set[str] = set()
    with httpx.Client(base_url=gateway.url, headers={"Authorization": f"Bearer {key}"}, timeout=30) as client:
        for number, (path, body) in enumerate(bodies()):
            for headers in ({}, {"Idempotency-Key": f"{ASKED}-{number}"}, {"Idempotency-Key": f"{ASKED}-{number}"}):
                with contextlib.suppress(httpx.RemoteProtocolError):
                    answer = client.post(path, json=body, headers=headers)
                    if answer.status_code == 200:
                        served.add(answer.headers["x-request-id"])
    for request in malformed(key):
        with gateway.connect() as plug:
            plug.sendall(request)
            plug.shutdown(socket.SHUT_WR)
            with contextlib.suppress(ConnectionError):
                while plug.recv(65536):
                    pass
    return served


def begin_stream(gateway: GatewayProcess, key: str) -> socket.socket:
    """A stream that has begun and does not end by itself."""
    content = json.dumps(
        {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": told(fault="hang", at=2)}]}
    )
    plug = gateway.connect()
    plug.sendall(
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: g\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n{content}".encode()
    )
    received = b""
    while ANSWERED.encode() not in received:
        received += plug.recv(65536)
        assert received.startswith(b"HTTP/1.1 200 "), received
    return plug


def forms(words: Iterable[str]) -> dict[str, bytes]:
    """How a word may be written down: as it is, encoded, or as a hash by which a guess could be tested."""
    found: dict[str, bytes] = {}
    for word in words:
        plain = word.encode()
        found[f"{word} plain"] = plain
        found[f"{word} as UTF-16"] = word.encode("utf-16-le")
        found[f"{word} as hexadecimal"] = plain.hex().encode()
        for shift in range(3):
            coded = base64.b64encode(b"\0" * shift + plain)
            found[f"{word} as base64 at {shift}"] = coded[4 if shift else 0 :].rstrip(b"=")[:-1]
    for path, body in bodies():
        for content in (json.dumps(body).encode(), httpx.Request("POST", "http://g", json=body).content):
            for hashed in (content, path.encode() + content):
                found[f"SHA-256 of a body of {path} {len(found)}"] = hashlib.sha256(hashed).digest()
                found[f"SHA-256 of a body of {path} {len(found)}"] = hashlib.sha256(hashed).hexdigest().encode()
    return found


def tables(database_url: str) -> Iterator[tuple[str, bytes]]:
    with psycopg.connect(database_url) as connection:
        names = connection.execute("SELECT schemaname, relname FROM pg_stat_user_tables ORDER BY relname").fetchall()
        for schema, name in names:
            query = sql.SQL("SELECT t::text FROM {} AS t").format(sql.Identifier(schema, name))
            yield f"table {name}", "\n".join(row[0] for row in connection.execute(query)).encode()


def files(*roots: Path) -> Iterator[tuple[str, bytes]]:
    for root in roots:
        for path in root.rglob("*"):
            with contextlib.suppress(OSError):
                if path.is_file() and not path.is_symlink():
                    yield str(path), path.read_bytes()


def broker() -> Iterator[tuple[str, bytes]]:
    with contextlib.closing(redis.Redis.from_url(os.environ["BROKER_URL"])) as valkey:
        for name in valkey.scan_iter(count=1000):
            yield f"broker {name!r}", name + (valkey.dump(name) or b"")


def places(database_url: str, *roots: Path) -> Iterator[tuple[str, bytes]]:
    """Everything that stays, by name."""
    yield from tables(database_url)
    yield from files(*roots)
    yield from broker()


def test_prompts_and_answers_are_nowhere_at_rest(
    gateway: GatewayProcess, engine: FakeEngine, alices_key: str, database_url: str, home: Path, short_tmp: Path
) -> None:
    served = call_in_every_way(gateway, alices_key)
    begin_stream(gateway, alices_key).close()
    with contextlib.closing(begin_stream(gateway, alices_key)):
        in_flight = list(files(short_tmp))
        # The end of a worker that has both words in its memory.
        gateway.process.send_signal(signal.SIGABRT)
        _, status = os.waitpid(gateway.process.pid, 0)
    gateway.process.returncode = status
    gateway.finish()
    shipper = Shipper(directory=gateway.journal_dir)
    shipper.ship()

    left = in_flight + list(places(database_url, home, short_tmp))

    wanted = forms((ASKED, ANSWERED))
    found = sorted(
        {f"{form} in {place}" for place, content in left for form, word in wanted.items() if word in content}
    )
    assert found == []
    assert not os.WCOREDUMP(status)
    # The words were really said, and the search sees what is there.
    assert sum(ASKED in json.dumps(seen.body) for seen in engine.seen) > 20
    assert len(served) > 10
    request_id = sorted(served)[0].encode()
    seen_in = {place for place, content in left if request_id in content}
    assert {"table usage_event", str(gateway.log_path)} <= seen_in
    assert any("journal" in place for place in seen_in)
    if (home / "postgres").is_dir():
        wait_until(lambda: any(request_id in content for _, content in files(home / "postgres" / "pg_wal")))


def test_the_search_finds_what_is_left_behind(
    gateway: GatewayProcess, alices_key: str, database_url: str, home: Path, short_tmp: Path
) -> None:
    """The same places, with a word that was put there."""
    word = f"left-{secrets.token_hex(8)}".encode()
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE organization SET name = %s", (word.decode(),))
    with contextlib.closing(redis.Redis.from_url(os.environ["BROKER_URL"])) as valkey:
        valkey.set("left behind", word)
        try:
            found = {place for place, content in places(database_url, home, short_tmp) if word in content}
        finally:
            valkey.delete("left behind")

    assert {"table organization", "broker b'left behind'"} <= found
