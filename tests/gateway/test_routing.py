"""Which engine gets a request and when: places, turns, broken engines, engines that go."""

import contextlib
import dataclasses
import json
import math
import random
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from moorage.accounts.models import Priority
from tests.cast import Cast
from tests.gateway.conftest import MODEL, ControlPlane, Start, replica, script, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.gateway_process import GatewayProcess
from tests.waiting import wait_until

METRICS = b"GET /-/metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


@dataclasses.dataclass
class Caller:
    """Somebody with a key who sends requests, each on a connection of its own, and reads the answers later."""

    gateway: GatewayProcess
    key: str
    plugs: contextlib.ExitStack

    def send(self, message: str, *, headers: str = "", stream: bool = False) -> socket.socket:
        body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": message}], "stream": stream})
        plug = self.plugs.enter_context(contextlib.closing(self.gateway.connect()))
        plug.sendall(
            f"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {self.key}\r\n{headers}"
            f"Connection: close\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        return plug

    def ask(self, message: str, *, headers: str = "") -> bytes:
        return answer_on(self.send(message, headers=headers))


def answer_on(plug: socket.socket) -> bytes:
    received = b""
    while piece := plug.recv(65536):
        received += piece
    return received


def who_came(engine: FakeEngine) -> list[str]:
    """The ``who`` of each request that the engine has seen, in order."""
    return [json.loads(seen.body["messages"][-1]["content"]).get("who", "") for seen in engine.seen]


def gauge(gateway: GatewayProcess, name: str) -> int:
    metrics = gateway.exchange(METRICS).decode()
    start = f"moorage_gateway_{name} "
    return int(float(next(line.split()[1] for line in metrics.splitlines() if line.startswith(start))))


def held(gateway: GatewayProcess) -> int:
    return gauge(gateway, "held")


@pytest.fixture
def second(short_tmp: Path) -> Iterator[FakeEngine]:
    engine = FakeEngine(short_tmp / "f.sock").start()
    yield engine
    engine.stop()


@pytest.fixture
def call(alices_key: str) -> Iterator[Callable[..., Caller]]:
    with contextlib.ExitStack() as plugs:
        yield lambda gateway, key=alices_key: Caller(gateway=gateway, key=key, plugs=plugs)


@pytest.fixture
def one_place(start_gateway: Start, control: ControlPlane, engine: FakeEngine, alices_key: str) -> GatewayProcess:
    """A gateway whose only engine answers one request at once."""
    control.put_route(replicas=(replica(engine, slots=1),))
    gateway = start_gateway(MOORAGE_GATEWAY_HOLD_COMMENT_SECONDS="0.3")
    wait_until_knows(gateway, alices_key, MODEL)
    return gateway


def test_an_engine_gets_as_many_requests_as_it_answers_at_once(
    one_place: GatewayProcess, engine: FakeEngine, call: Callable[..., Caller]
) -> None:
    alice = call(one_place)
    engine.go.clear()
    plugs = [alice.send(script(wait=True, who=f"{number}")) for number in range(3)]
    wait_until(lambda: engine.seen and held(one_place) == 2, seconds=5)

    at_once = who_came(engine)
    engine.go.set()
    answers = [answer_on(plug) for plug in plugs]

    assert len(at_once) == 1
    assert sorted(who_came(engine)) == ["0", "1", "2"]
    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    assert sorted(event.held_us > 0 for event in one_place.events()) == [False, True, True]


def test_who_waited_is_billed_what_the_others_are(
    one_place: GatewayProcess, engine: FakeEngine, call: Callable[..., Caller]
) -> None:
    alice = call(one_place)
    engine.go.clear()
    plugs = [alice.send(script(wait=True)) for _ in range(3)]
    wait_until(lambda: held(one_place) == 2, seconds=5)

    engine.go.set()
    for plug in plugs:
        answer_on(plug)

    bills = {(each.input_tokens, each.cached_tokens, each.output_tokens, each.source) for each in one_place.events()}
    assert len(one_place.events()) == 3
    assert len(bills) == 1


def test_a_light_key_overtakes_the_queue_of_a_heavy_one(
    one_place: GatewayProcess, engine: FakeEngine, committed_cast: Cast, call: Callable[..., Caller]
) -> None:
    light_key = committed_cast.alice.key(name="light")
    wait_until_knows(one_place, light_key, MODEL)
    heavy, light = call(one_place), call(one_place, light_key)
    engine.go.clear()
    plugs = [heavy.send(script(wait=True, who="heavy")) for _ in range(20)]
    wait_until(lambda: held(one_place) == 19, seconds=5)
    plugs += [light.send(script(wait=True, who="light")) for _ in range(2)]
    wait_until(lambda: held(one_place) == 21, seconds=5)

    engine.go.set()
    for plug in plugs:
        assert answer_on(plug).startswith(b"HTTP/1.1 200 ")

    order = who_came(engine)
    assert len(order) == 22
    # One runs already; of those that wait, every second turn is the light key's. By order of coming: 21 and 22.
    assert [place for place, who in enumerate(order, start=1) if who == "light"][-1] <= 5


def test_a_key_of_high_priority_goes_first_and_one_of_low_is_not_forgotten(
    one_place: GatewayProcess, engine: FakeEngine, committed_cast: Cast, call: Callable[..., Caller]
) -> None:
    keys = {each: committed_cast.alice.key(name=each, priority=each) for each in (Priority.LOW, Priority.HIGH)}
    for key in keys.values():
        wait_until_knows(one_place, key, MODEL)
    engine.go.clear()
    plugs = [call(one_place, keys[Priority.LOW]).send(script(wait=True, who="low")) for _ in range(19)]
    wait_until(lambda: held(one_place) == 18, seconds=5)
    plugs += [call(one_place, keys[Priority.HIGH]).send(script(wait=True, who="high")) for _ in range(18)]
    wait_until(lambda: held(one_place) == 36, seconds=5)

    engine.go.set()
    for plug in plugs:
        assert answer_on(plug).startswith(b"HTTP/1.1 200 ")

    # One of low priority ran already; then about one of them for sixteen of high priority.
    assert 1 <= who_came(engine)[1:19].count("low") <= 3


def test_patience_that_ends_before_the_turn_comes_is_503_and_costs_nothing(
    one_place: GatewayProcess, engine: FakeEngine, call: Callable[..., Caller]
) -> None:
    alice = call(one_place)
    engine.go.clear()
    alice.send(script(wait=True))
    wait_until(lambda: engine.seen, seconds=5)

    answer = alice.ask(script(), headers="X-Moorage-Wait: 0\r\n")

    assert answer.startswith(b"HTTP/1.1 503 ")
    assert b'"code":"queue_timeout"' in answer
    assert b"Retry-After: " in answer
    event = one_place.only_event()
    assert (event.outcome, event.status, event.source, event.replica_id) == ("refused", 503, "none", "")
    assert len(engine.seen) == 1


def test_a_stream_that_waits_for_its_turn_is_kept_alive_by_comments(
    one_place: GatewayProcess, engine: FakeEngine, call: Callable[..., Caller]
) -> None:
    alice = call(one_place)
    engine.go.clear()
    alice.send(script(wait=True))
    wait_until(lambda: engine.seen, seconds=5)

    plug = alice.send(script(), stream=True)
    received = b""
    while b": waiting" not in received:
        received += plug.recv(65536)
    engine.go.set()
    received += answer_on(plug)

    assert received.startswith(b"HTTP/1.1 200 ")
    assert b"[DONE]" in received


def test_who_hangs_up_in_the_queue_never_reaches_the_engine(
    one_place: GatewayProcess, engine: FakeEngine, call: Callable[..., Caller]
) -> None:
    alice = call(one_place)
    engine.go.clear()
    first = alice.send(script(wait=True, who="first"))
    wait_until(lambda: engine.seen, seconds=5)
    gone = alice.send(script(who="gone"))
    wait_until(lambda: held(one_place) == 1, seconds=5)

    gone.close()
    wait_until(lambda: held(one_place) == 0, seconds=5)
    engine.go.set()
    answer_on(first)
    alice.ask(script(who="last"))

    assert who_came(engine) == ["first", "last"]


def test_a_place_freed_by_a_client_that_left_goes_to_the_next(
    one_place: GatewayProcess, engine: FakeEngine, call: Callable[..., Caller]
) -> None:
    alice = call(one_place)
    gone = alice.send(script(fault="silence"))
    wait_until(lambda: engine.seen, seconds=5)
    waits = alice.send(script())
    wait_until(lambda: held(one_place) == 1, seconds=5)

    gone.close()

    assert answer_on(waits).startswith(b"HTTP/1.1 200 ")


def test_no_place_is_lost_whatever_becomes_of_requests(
    start_gateway: Start,
    control: ControlPlane,
    engine: FakeEngine,
    second: FakeEngine,
    alices_key: str,
    call: Callable[..., Caller],
) -> None:
    control.put_route(replicas=(replica(engine, 1, slots=1), replica(second, 2, slots=1)))
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    alice = call(gateway)
    chance = random.Random(7)
    plugs = []
    for _ in range(60):
        fault = chance.choice(["", "", "400", "fin_first", "reset_first", "fin", "reset", "silence", "error_event"])
        plug = alice.send(
            script(fault=fault, delay=0.01),
            stream=chance.random() < 0.5,
            headers=f"X-Moorage-Wait: {chance.choice([1, 30])}\r\n",
        )
        if fault == "silence" or chance.random() < 0.3:
            wait_until(lambda: len(engine.seen) + len(second.seen), seconds=5)
            plug.close()
        else:
            plugs.append(plug)

    for plug in plugs:
        answer_on(plug)
    wait_until(lambda: held(gateway) == 0 and in_flight(gateway) == 0, seconds=10)

    def is_served() -> bool:
        # Until the breakers that the faults opened are closed.
        return alice.ask(script()).startswith(b"HTTP/1.1 200 ")

    wait_until(is_served, seconds=40)
    both = [alice.send(script(wait=True)) for _ in range(2)]
    assert all(answer_on(plug).startswith(b"HTTP/1.1 200 ") for plug in both)


def in_flight(gateway: GatewayProcess) -> int:
    return gauge(gateway, "in_flight")


def test_a_model_that_is_not_awake_in_time_says_how_far_it_is(
    start_gateway: Start, control: ControlPlane, alices_key: str, call: Callable[..., Caller]
) -> None:
    control.put_route(status="provisioning", stage="pulling", percent=42, expected_at=math.ceil(time.time()) + 100)
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)

    head, _, content = call(gateway).ask("hello", headers="X-Moorage-Wait: 0\r\n").partition(b"\r\n\r\n")

    error = json.loads(content)["error"]
    assert head.startswith(b"HTTP/1.1 503 ")
    assert (error["code"], error["stage"], error["percent"]) == ("model_not_serving", "pulling", 42)
    assert 50 < error["eta_seconds"] <= 101
    assert f"Retry-After: {error['eta_seconds']}\r\n".encode() in head + b"\r\n"
    assert f"pulling the weights, 42 %, about {error['eta_seconds']} s left" in error["message"]


def test_an_engine_that_drains_finishes_what_it_has_and_gets_nothing_new(
    start_gateway: Start,
    control: ControlPlane,
    engine: FakeEngine,
    second: FakeEngine,
    alices_key: str,
    call: Callable[..., Caller],
) -> None:
    control.put_route(replicas=(replica(engine, 1),))
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    alice = call(gateway)
    engine.go.clear()
    running = alice.send(script(wait=True, who="running"))
    wait_until(lambda: engine.seen, seconds=5)

    control.put_route(replicas=(replica(second, 2),))
    wait_until(lambda: alice.ask(script(who="new")) and second.seen, seconds=10)
    came_by_now = len(engine.seen)
    for _ in range(5):
        alice.ask(script(who="new"))
    engine.go.set()

    assert answer_on(running).startswith(b"HTTP/1.1 200 ")
    assert len(engine.seen) == came_by_now
    assert len(second.seen) >= 6


def test_prompts_with_the_same_long_beginning_go_to_the_same_engine(
    start_gateway: Start,
    control: ControlPlane,
    engine: FakeEngine,
    second: FakeEngine,
    alices_key: str,
    call: Callable[..., Caller],
) -> None:
    control.put_route(replicas=(replica(engine, 1), replica(second, 2)))
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    alice = call(gateway)

    for question in range(3):
        for harbour in range(10):
            alice.ask(f"The tide table of harbour {harbour}. " * 50 + f"Question {question}?")

    def harbours(of: FakeEngine) -> list[str]:
        return sorted(seen.body["messages"][0]["content"].split(".")[0] for seen in of.seen)

    assert not set(harbours(engine)) & set(harbours(second))
    assert len(engine.seen) + len(second.seen) == 30
    assert engine.seen and second.seen


def test_short_prompts_go_to_whoever_has_fewer_tokens_before_it(
    start_gateway: Start,
    control: ControlPlane,
    engine: FakeEngine,
    second: FakeEngine,
    alices_key: str,
    call: Callable[..., Caller],
) -> None:
    control.put_route(replicas=(replica(engine, 1), replica(second, 2)))
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    alice = call(gateway)
    engine.go.clear()
    second.go.clear()
    long = alice.send(script(wait=True, text="tide " * 2000))
    wait_until(lambda: engine.seen or second.seen, seconds=5)
    busy, free = (engine, second) if engine.seen else (second, engine)

    plugs = [alice.send(script(wait=True)) for _ in range(4)]
    wait_until(lambda: len(free.seen) == 4, seconds=5)
    engine.go.set()
    second.go.set()
    for plug in [long, *plugs]:
        answer_on(plug)

    assert len(busy.seen) == 1


def test_a_dead_engine_costs_nobody_an_answer_and_is_left_alone_after_a_few_tries(
    start_gateway: Start,
    control: ControlPlane,
    second: FakeEngine,
    short_tmp: Path,
    alices_key: str,
    call: Callable[..., Caller],
) -> None:
    dead = replica(FakeEngine(short_tmp / "dead.sock"), 1)
    control.put_route(replicas=(dead, replica(second, 2)))
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    alice = call(gateway)

    answers = [alice.ask(script()) for _ in range(40)]

    assert all(answer.startswith(b"HTTP/1.1 200 ") for answer in answers)
    events = gateway.events()
    assert len(events) == len({event.request_id for event in events}) == 40
    assert {event.replica_id for event in events} == {"rep_2"}
    # Five failures open the breaker; after a second or more of rest one request tries it again.
    assert gauge(gateway, "engine_retries_total") < 15


def test_the_only_engine_failing_again_and_again_is_left_alone_and_tried_again(
    start_gateway: Start,
    control: ControlPlane,
    short_tmp: Path,
    alices_key: str,
    call: Callable[..., Caller],
) -> None:
    later = FakeEngine(short_tmp / "later.sock")
    control.put_route(replicas=(replica(later),))
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    alice = call(gateway)

    answers = [alice.ask(script()) for _ in range(6)]
    later.start()
    try:
        wait_until(lambda: alice.ask(script()).startswith(b"HTTP/1.1 200 "), seconds=15)
    finally:
        later.stop()

    assert [answer.split(b" ")[1] for answer in answers] == [b"502"] * 5 + [b"503"]
    assert b'"code":"engine_resting"' in answers[-1]
    assert b"Retry-After: 1\r\n" in answers[-1]


@pytest.mark.parametrize("fault", ["fin_first", "no_http", "500", "no_json"])
def test_answers_that_break_the_rules_open_the_breaker(
    start_gateway: Start,
    control: ControlPlane,
    engine: FakeEngine,
    alices_key: str,
    call: Callable[..., Caller],
    fault: str,
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    alice = call(gateway)

    answers = [alice.ask(script(fault=fault)) for _ in range(6)]

    assert b'"code":"engine_resting"' in answers[5]
    assert not any(b"engine_resting" in answer for answer in answers[:5])


@pytest.mark.parametrize("fault", ["400", "429", "503"])
def test_an_engine_that_refuses_is_not_broken(
    start_gateway: Start,
    control: ControlPlane,
    engine: FakeEngine,
    alices_key: str,
    call: Callable[..., Caller],
    fault: str,
) -> None:
    control.put_route(replicas=(replica(engine),))
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    alice = call(gateway)

    answers = [alice.ask(script(fault=fault)) for _ in range(8)]

    assert not any(b"engine_resting" in answer for answer in answers)
    assert len(engine.seen) == 8
