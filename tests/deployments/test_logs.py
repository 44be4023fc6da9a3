"""Reading along: lines come live, masked and limited, to so many readers, and whoever comes back goes on."""

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from moorage.artifacts import services as artifacts
from moorage.deployments import life, log_following, logs, reconcile, services
from moorage.deployments.errors import TooManyReading
from moorage.deployments.log_limits import LINES_A_SECOND, READ_A_SECOND, READ_CHARACTERS_A_SECOND, Meter
from moorage.deployments.models import Deployment, LogFollower, Replica, ReplicaLog, ReplicaStatus, RunnerLine
from moorage.deployments.redaction import MASK
from moorage.fleet.runtime_memory import MemoryRuntime
from moorage.kernel import secrets as api_keys
from tests.cast import Cast
from tests.deployments.stubbed_runtime import StubbedRuntime
from tests.waiting import wait_until

COMPOSE = """
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 256
    x-moorage:
      labels:
        nest: ${NEST}
services:
  app:
    image: app
    models: [llm]
"""


class Reader:
    """Somebody who reads along, in a thread of their own."""

    def __init__(self, following: logs.Following) -> None:
        self.events: list[logs.Event] = []
        self._following = following
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    @property
    def said(self) -> list[str]:
        return [event.text for event in self.events if event.kind == "line"]

    @property
    def end(self) -> str | None:
        return next((event.text for event in self.events if event.kind == "end"), None)

    def _read(self) -> None:
        for event in self._following:
            self.events.append(event)


class Pier:
    """A ready replica of the memory runtime, and the worker's watch over its lines."""

    def __init__(self, deployment: Deployment, runtime: MemoryRuntime) -> None:
        self.deployment = deployment
        self.runtime = runtime
        self.replica = Replica.objects.get(status=ReplicaStatus.READY)

    def say(self, *lines: str, stream: str = "stdout") -> None:
        for line in lines:
            self.runtime.say(self.replica.container_name, line, stream=stream)  # type: ignore[arg-type]


@pytest.fixture
def pier(committed_cast: Cast, short_tmp: Path) -> Iterator[Pier]:
    runtime = StubbedRuntime(instance="test")
    places = {"MOORAGE_SOCKET_DIR": short_tmp / "s", "MOORAGE_STORE": short_tmp / "store", "MOORAGE_INSTANCE": "test"}
    stop = threading.Event()
    with override_settings(**places), runtime:
        deployment = services.apply(
            organization=committed_cast.alice.organization,
            name="demo",
            compose_text=COMPOSE,
            variables={"NEST": "gull-on-the-mast"},
            by=committed_cast.alice.actor,
        ).deployment
        for replica_id in reconcile.reconcile(deployment.pk, runtime=runtime):
            life.drive(replica_id, runtime=runtime)
        watch = threading.Thread(target=log_following.watch, args=(lambda: runtime,), kwargs={"stop": stop})
        watch.start()
        made = Pier(deployment, runtime)
        yield made
        stop.set()
        watch.join()
        LogFollower.objects.all().delete()
        wait_until(lambda: not log_following.is_following(made.replica.pk))


@pytest.fixture
def read(pier: Pier) -> Iterator[Callable[..., Reader]]:
    opened: list[logs.Following] = []
    over = threading.Event()

    def begin(**choices: object) -> Reader:
        following = logs.Following(pier.deployment, may_go_on=lambda: not over.is_set(), **choices)  # type: ignore[arg-type]
        opened.append(following)
        return Reader(following)

    yield begin
    over.set()
    for following in opened:
        following.close()


def test_lines_come_as_they_are_printed_with_their_stream(pier: Pier, read: Callable[..., Reader]) -> None:
    pier.say("before anybody read")
    reader = read()
    wait_until(lambda: "before anybody read" in reader.said)

    printed_at = time.monotonic()
    pier.say("oh no", stream="stderr")
    wait_until(lambda: "oh no" in reader.said)

    assert time.monotonic() - printed_at < 5
    line = next(event for event in reader.events if event.text == "oh no")
    assert (line.stream, line.replica_id) == ("stderr", pier.replica.pk)
    assert line.at is not None and line.id > 0


def test_secrets_are_masked_before_they_are_anywhere(
    pier: Pier, read: Callable[..., Reader], committed_cast: Cast
) -> None:
    artifacts.store_credential(
        organization=committed_cast.alice.organization,
        host="ghcr.io",
        username="harbour",
        secret="a-registry-secret",
        by=committed_cast.alice.actor,
    )
    key = api_keys.new_key().text
    reader = read()

    pier.say("nest gull-on-the-mast", f"key {key}", "login a-registry-secret", "\x1b[31mred\x1b[0m\x07", "done")
    wait_until(lambda: "done" in reader.said)

    assert f"nest {MASK}" in reader.said and f"login {MASK}" in reader.said and "red␇" in reader.said
    kept = "\n".join(RunnerLine.objects.values_list("text", flat=True))
    assert not any(secret in kept for secret in ("gull-on", key, "a-registry", "\x1b"))


def test_whoever_comes_back_goes_on_after_the_last_line(pier: Pier, read: Callable[..., Reader]) -> None:
    first = read()
    pier.say("one", "two")
    wait_until(lambda: "two" in first.said)
    seen = next(event.id for event in first.events if event.text == "one")

    again = read(after=seen)
    wait_until(lambda: again.said)

    assert again.said[0] == "two"
    assert again.said.count("two") == 1


def test_a_worker_that_begins_again_repeats_no_line(pier: Pier, read: Callable[..., Reader]) -> None:
    reader = read()
    pier.say("one", "two")
    wait_until(lambda: "two" in reader.said)
    name = pier.replica.container_name
    # The runtime is away for a moment: the thread that follows ends.
    pier.runtime.is_reachable = False
    wait_until(lambda: not log_following.is_following(pier.replica.pk))
    pier.runtime.is_reachable = True

    pier.runtime.say(name, "three")
    wait_until(lambda: "three" in reader.said)

    assert [line for line in reader.said if line in {"one", "two", "three"}] == ["one", "two", "three"]


def test_a_flood_neither_fills_the_database_nor_hides_that_it_was_one(pier: Pier, read: Callable[..., Reader]) -> None:
    reader = read()
    wait_until(lambda: log_following.is_following(pier.replica.pk))
    over = threading.Event()
    printed = 0

    def flood() -> None:
        nonlocal printed
        while not over.is_set():
            pier.say(*(f"line {printed + number} of a flood" for number in range(2_000)))
            printed += 2_000

    flooding = threading.Thread(target=flood)
    flooding.start()
    wait_until(lambda: sum("lines left out" in line for line in reader.said) >= 3)
    over.set()
    flooding.join()
    pier.say("and calm again")
    wait_until(lambda: "and calm again" in reader.said)

    assert printed > 20_000
    assert RunnerLine.objects.count() <= log_following.RING + log_following.RING // 5 + LINES_A_SECOND
    assert any(line.startswith("… more than ") for line in reader.said)
    assert not any(event.stream == "moorage" for event in reader.events if "of a flood" in event.text)


def test_an_organization_has_so_many_readers_and_a_stranger_has_their_own(
    pier: Pier, read: Callable[..., Reader], committed_cast: Cast
) -> None:
    for _ in range(logs.READERS_MOST):
        read()

    with pytest.raises(TooManyReading) as refusal:
        read()

    assert refusal.value.status_code == 429 and "Close one" in refusal.value.message
    charlies = services.apply(
        organization=committed_cast.charlie.organization,
        name="demo",
        compose_text=COMPOSE,
        variables={"NEST": "gull"},
        by=committed_cast.charlie.actor,
    ).deployment
    logs.Following(charlies).close()


def test_a_place_is_given_back_also_by_a_reader_that_never_began(pier: Pier) -> None:
    for _ in range(3 * logs.PLACES):
        logs.Following(pier.deployment).close()

    assert not LogFollower.objects.exists()


def test_nobody_is_read_along_with_who_has_left(pier: Pier, read: Callable[..., Reader]) -> None:
    read()
    wait_until(lambda: log_following.is_following(pier.replica.pk))

    LogFollower.objects.all().delete()

    wait_until(lambda: not log_following.is_following(pier.replica.pk))


def test_reading_ends_after_a_time_and_when_the_right_to_it_is_lost(pier: Pier, read: Callable[..., Reader]) -> None:
    timed = read(seconds=0.5)
    lost = Reader(logs.Following(pier.deployment, may_go_on=lambda: False))

    wait_until(lambda: timed.end and lost.end)

    assert timed.end == "That was long enough; come back to go on."
    assert lost.end == "You may not read this any longer."


def test_the_last_words_of_one_that_is_gone_can_be_followed_to_their_end(
    pier: Pier, read: Callable[..., Reader]
) -> None:
    ReplicaLog.objects.create(replica=pier.replica, text="first\nlast")
    Replica.objects.filter(pk=pier.replica.pk).update(status=ReplicaStatus.GONE)

    reader = read(replica=pier.replica)
    wait_until(lambda: reader.end)

    assert reader.said == ["first", "last"]


def test_what_is_kept_of_a_second_is_limited_and_the_rest_is_counted() -> None:
    meter = Meter()

    kept = sum(meter.keeps(10, 7.1) for _ in range(READ_A_SECOND))

    assert kept == LINES_A_SECOND
    assert meter.is_flooded
    assert meter.tell() == f"… {READ_A_SECOND - LINES_A_SECOND:,} lines left out"
    assert meter.tell() == ""
    assert meter.keeps(10, 8.0) and not meter.is_flooded
    assert not meter.keeps(READ_CHARACTERS_A_SECOND, 8.1) and meter.is_flooded


@pytest.mark.parametrize(("length", "lines"), [(10, LINES_A_SECOND), (1_000, 100), (50_000, 2), (300_000, 1)])
def test_of_what_was_skipped_no_more_is_looked_at_than_is_kept(length: int, lines: int) -> None:
    meter = Meter()
    while not meter.is_flooded:
        meter.keeps(length, 7.1)

    assert meter.most_kept(1_000) == lines
    assert meter.most_kept(1) == 1
    assert sum(meter.keeps(length, 8.0) for _ in range(lines)) == (lines if length < 100_000 else 0)
