"""Usage on disk: before the engine hears of a request, before the client has it all, and whatever dies."""

import contextlib
import fcntl
import json
import os
import resource
import signal

import openai
import pytest

from moorage.wire import journal
from tests.gateway.conftest import MODEL, ControlPlane, Start, client_of, replica, script, wait_until_knows
from tests.gateway.fake_engine import PROMPT_TOKENS, FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_holding import METRICS
from tests.gateway.test_openai_client import ask
from tests.waiting import wait_until


def test_the_open_is_written_before_the_engine_gets_a_byte(
    gateway: GatewayProcess, client: openai.OpenAI, engine: FakeEngine
) -> None:
    answer = client.chat.completions.create(
        model=MODEL, messages=ask(script(say=[" w"] * 500, delay=0.01)), stream=True
    )
    wait_until(lambda: engine.seen, seconds=5)

    (opened,) = [record.event for record in gateway.records() if isinstance(record, journal.Open)]

    assert opened.request_id == engine.seen[0].headers["x-request-id"]
    assert (opened.outcome, opened.source, opened.replica_id) == ("gateway_lost", "none", "rep_1")
    answer.close()


def test_a_killed_gateway_leaves_an_open_and_checkpoints_of_what_was_delivered(
    gateway: GatewayProcess, client: openai.OpenAI, engine: FakeEngine
) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=ask(script(say=[" w"] * 5000, delay=0.01)), stream=True
    )
    next(iter(stream))

    def checkpoints() -> list[journal.Checkpoint]:
        return [each for each in gateway.records() if isinstance(each, journal.Checkpoint)]

    wait_until(lambda: len(checkpoints()) >= 2, seconds=10)

    gateway.kill()

    assert gateway.events() == []
    progress = checkpoints()[-1].streams[0]
    assert progress.input_tokens == PROMPT_TOKENS
    assert 0 < checkpoints()[0].streams[0].output_tokens < progress.output_tokens <= engine.seen[0].sent
    assert progress.source == "gateway"


def test_a_living_gateway_holds_its_lock_and_a_dead_one_does_not(gateway: GatewayProcess) -> None:
    def is_locked() -> bool:
        with (gateway.journal_dir / f"{gateway.boot}.lock").open() as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    assert is_locked()

    gateway.kill()

    assert not is_locked()


def test_a_stopped_gateway_finishes_what_it_began(
    gateway: GatewayProcess, client: openai.OpenAI, alices_key: str
) -> None:
    stream = client.chat.completions.create(model=MODEL, messages=ask(script(say=[" w"] * 40, delay=0.02)), stream=True)
    words = [next(iter(stream))]
    gateway.process.send_signal(signal.SIGTERM)

    words.extend(stream)

    assert sum(bool(chunk.choices[0].delta.content) for chunk in words) == 40
    assert gateway.finish() == 0
    assert (gateway.only_event().outcome, gateway.only_event().output_tokens) == ("completed", 40)
    assert "gateway_stopped" in gateway.log


def test_a_stream_that_outlasts_the_drain_is_cut_and_settled(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway(MOORAGE_GATEWAY_DRAIN_SECONDS="0.5")
    wait_until_knows(gateway, alices_key, MODEL)
    with client_of(gateway, alices_key) as client:
        steps = script(say=[" w"] * 5000, delay=0.01)
        stream = client.chat.completions.create(model=MODEL, messages=ask(steps), stream=True)
        next(iter(stream))
        gateway.process.send_signal(signal.SIGTERM)

        with pytest.raises(openai.APIError, match="stopping"):
            list(stream)

    assert gateway.finish() == 0
    event = gateway.only_event()
    assert event.outcome == "gateway_lost"
    assert 0 < event.output_tokens < 5000


def test_segments_rotate_and_each_is_whole(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway(MOORAGE_JOURNAL_SEGMENT_BYTES="1000")
    wait_until_knows(gateway, alices_key, MODEL)
    engine.go.clear()
    with client_of(gateway, alices_key) as client, contextlib.closing(gateway.connect()) as held:
        held.sendall(waiting_request(alices_key))
        wait_until(lambda: engine.seen, seconds=5)
        for _ in range(150):
            client.chat.completions.create(model=MODEL, messages=ask("hello"))
        engine.go.set()
        assert held.recv(65536).startswith(b"HTTP/1.1 200 ")

    segments = sorted(gateway.journal_dir.glob("*.journal"))
    opened = [each.event.request_id for each in gateway.records() if isinstance(each, journal.Open)]
    closed = [event.request_id for event in gateway.events()]
    assert len(segments) > 1
    assert len(closed) == len(set(closed)) == 151 == len(set(opened))
    # The request that was live all the time is opened again at the head of every segment.
    assert opened.count(engine.seen[0].headers["x-request-id"]) == len(segments)


def waiting_request(key: str) -> bytes:
    body = json.dumps({"model": MODEL, "messages": ask(script(wait=True))})
    return (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def test_without_a_place_for_usage_nothing_billable_starts_and_what_began_is_recorded(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway(MOORAGE_JOURNAL_SEGMENT_BYTES="1000")
    wait_until_knows(gateway, alices_key, MODEL)
    engine.go.clear()
    with client_of(gateway, alices_key) as client, contextlib.closing(gateway.connect()) as held:
        held.sendall(waiting_request(alices_key))
        wait_until(lambda: engine.seen, seconds=5)
        # The disk is full as far as this process can see: the segment it has (64 KiB) is its own, a new one with a
        # carried request in it would be a little larger.
        _, hard = resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (66_000, hard))
        served = 0
        with pytest.raises(openai.InternalServerError) as refused:
            for _ in range(1000):
                client.chat.completions.create(model=MODEL, messages=ask("hello"))
                served += 1
        before = len(engine.seen)
        engine.go.set()
        answer = held.recv(65536)
        resource.prlimit(gateway.process.pid, resource.RLIMIT_FSIZE, (hard, hard))

        def is_served() -> bool:
            try:
                client.chat.completions.create(model=MODEL, messages=ask("hello"))
            except openai.InternalServerError:
                return False
            return True

        wait_until(is_served, seconds=10)

    assert (refused.value.status_code, refused.value.code) == (503, "journal_unavailable")
    assert before == served + 1
    assert answer.startswith(b"HTTP/1.1 200 ")
    wait_until(lambda: len(gateway.events()) == served + 2, seconds=5)


def test_a_journal_directory_that_cannot_be_written_is_seen_and_healed(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str, short_tmp
) -> None:
    control.put_route(replicas=(replica(engine),))
    blocked = short_tmp / "blocked"
    blocked.write_text("a file where the directory should be")
    gateway = start_gateway(MOORAGE_JOURNAL_DIR=str(blocked))
    wait_until_knows(gateway, alices_key, MODEL)
    ready = b"GET /-/readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    with client_of(gateway, alices_key) as client:
        with pytest.raises(openai.InternalServerError, match="cannot be recorded"):
            client.chat.completions.create(model=MODEL, messages=ask("hello"))
        was_ready = gateway.exchange(ready)
        os.unlink(blocked)
        wait_until(lambda: gateway.exchange(ready).startswith(b"HTTP/1.1 200 "), seconds=5)
        answer = client.chat.completions.create(model=MODEL, messages=ask("hello"))

    assert was_ready.startswith(b"HTTP/1.1 503 ")
    assert engine.seen and answer.choices[0].message.content == "Tied up well"


def test_a_slow_reader_slows_the_engine_and_is_cut_in_the_end(
    start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway(MOORAGE_GATEWAY_STALL_SECONDS="1")
    wait_until_knows(gateway, alices_key, MODEL)
    words = 200_000
    body = json.dumps({"model": MODEL, "stream": True, "messages": ask(script(say=["word" * 8] * words))})
    with contextlib.closing(gateway.connect()) as plug:
        plug.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alices_key}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )

        event = wait_until(gateway.events, seconds=20)[0]

    assert event.outcome == "client_gone"
    # 64 KiB here and what the kernel's buffers hold, of some 35 MB.
    assert event.output_tokens < words / 2
    assert b"moorage_gateway_in_flight 0.0" in gateway.exchange(METRICS)


def test_prompts_and_answers_are_in_no_file_and_no_log(
    gateway: GatewayProcess, client: openai.OpenAI, control: ControlPlane
) -> None:
    canary = "canary-5f1d9c0e77ab42d8b1f3"
    for steps in (
        {"say": [canary]},
        {"say": [canary], "fault": "400"},
        {"say": [canary] * 3, "fault": "fin", "at": 2},
        {"say": [canary], "fault": "500"},
    ):
        for is_stream in (False, True):
            with contextlib.suppress(openai.APIError):
                answer = client.chat.completions.create(
                    model=MODEL, messages=ask(script(canary=canary, **steps)), stream=is_stream, user=canary
                )
                if is_stream:
                    list(answer)
    with contextlib.suppress(openai.APIError):
        client.chat.completions.create(model=canary, messages=ask(canary))
    gateway.exchange(f"GET /v1/{canary}?q={canary} HTTP/1.1\r\nHost: {canary}\r\n\r\n".encode())

    assert gateway.stop() == 0

    assert len(gateway.events()) == 8
    written = [path for path in gateway.journal_dir.parent.rglob("*") if path.is_file()]
    assert any(path.suffix == ".journal" for path in written) and gateway.log_path in written
    assert [path for path in written if canary.encode() in path.read_bytes()] == []
