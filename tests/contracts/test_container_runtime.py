"""What every container runtime promises: one suite over memory, local processes and Docker."""

import contextlib
import dataclasses
import datetime as dt
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from moorage.fleet import runtime as fleet
from moorage.fleet import sockets
from moorage.fleet.engines import Engine
from moorage.fleet.errors import ContainerConflict, ContainerMissing, RuntimeUnreachable, StartFailed
from tests.fleet import harnesses
from tests.fleet.runners import STUBBORN, Harness
from tests.waiting import wait_until

EVERY = ("memory", "process", pytest.param("docker", marks=pytest.mark.docker))
REAL = EVERY[1:]


@pytest.fixture(params=EVERY)
def harness(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[Harness]:
    short_tmp.chmod(0o755)
    match request.param:
        case "memory":
            made = harnesses.memory(short_tmp)
        case "process":
            made = harnesses.process(short_tmp)
        case _:
            address = request.getfixturevalue("docker_host")
            images = {Engine.LLAMACPP: request.getfixturevalue("llamacpp_image")}
            made = harnesses.docker(short_tmp, address=address, images=images)
    yield made
    harnesses.clear(made)


def status(harness: Harness, name: str) -> str | None:
    found = harness.runtime.inspect(name)
    return found.status if found else None


def test_a_container_that_was_ensured_runs_and_says_whose_it_is(harness: Harness) -> None:
    spec = harness.spec(labels=(("team", "blue"), ("moorage.replica", "forged")))

    made = harness.runtime.ensure(spec)

    assert made.status == "running"
    assert (made.name, made.replica_id, made.epoch, made.spec_hash) == (spec.name, spec.replica_id, 1, spec.spec_hash)
    assert dict(made.labels)[fleet.REPLICA_LABEL] == spec.replica_id
    assert dict(made.labels)[fleet.ORGANIZATION_LABEL] == spec.organization_id
    assert made.exit_code is None and made.finished_at is None and made.image
    assert made.started_at is not None
    assert abs(dt.datetime.now(tz=dt.UTC) - made.started_at) < dt.timedelta(minutes=1)
    assert harness.runtime.inspect(spec.name) == made
    assert harness.runtime.list() == (made,)


def test_an_equal_spec_is_adopted_and_never_started_twice(harness: Harness) -> None:
    spec = harness.spec()

    with ThreadPoolExecutor(max_workers=6) as pool:
        made = list(pool.map(lambda _: harness.again().ensure(spec), range(6)))

    assert {container.started_at for container in made} == {made[0].started_at}
    assert len(harness.runtime.list()) == 1


def test_another_spec_under_the_same_name_is_a_conflict_and_touches_nothing(harness: Harness) -> None:
    spec = harness.spec()
    first = harness.runtime.ensure(spec)

    with pytest.raises(ContainerConflict):
        harness.runtime.ensure(dataclasses.replace(spec, memory_bytes=spec.memory_bytes * 2))

    assert harness.runtime.inspect(spec.name) == first


def test_a_worker_that_starts_anew_finds_and_removes_what_the_last_one_made(harness: Harness) -> None:
    spec = harness.spec()
    first = harness.runtime.ensure(spec)

    found = harness.again().ensure(spec)
    harness.again().remove(spec.name, grace_seconds=0)

    assert found == first
    assert harness.runtime.inspect(spec.name) is None


def test_a_runner_that_ends_by_itself_is_exited_with_its_code_and_is_not_started_again(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)

    harness.end(spec, 3)

    wait_until(lambda: status(harness, spec.name) == "exited")
    ended = harness.runtime.ensure(spec)
    assert ended.status == "exited"
    assert ended.exit_code == 3
    assert ended.finished_at is not None
    assert not ended.is_oom_killed


def test_removing_leaves_nothing_and_may_be_repeated(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    assert spec.socket_dir.is_dir()

    harness.runtime.remove(spec.name, grace_seconds=0)
    harness.runtime.remove(spec.name, grace_seconds=0)

    assert harness.runtime.inspect(spec.name) is None
    assert harness.runtime.list() == ()
    assert not spec.socket_dir.exists()


def test_a_name_can_be_used_again_once_its_container_is_gone(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    harness.runtime.remove(spec.name, grace_seconds=0)

    made = harness.runtime.ensure(dataclasses.replace(spec, cpu_millis=250))

    assert made.status == "running"


def test_a_paused_container_is_frozen_until_it_is_resumed(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)

    harness.runtime.pause(spec.name)
    harness.runtime.pause(spec.name)
    frozen = status(harness, spec.name)
    harness.runtime.unpause(spec.name)
    harness.runtime.unpause(spec.name)

    assert frozen == "paused"
    assert status(harness, spec.name) == "running"


def test_a_container_freezes_and_goes_on_again_and_again_and_every_worker_sees_which(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)

    one, other = harness.runtime, harness.again()

    seen = []
    for verb in (one.pause, other.unpause, one.pause, one.unpause, other.pause, other.unpause):
        verb(spec.name)
        seen.append(status(harness, spec.name))

    assert seen == ["paused", "running"] * 3


def test_a_container_that_was_frozen_and_goes_on_can_be_stopped_and_removed(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    harness.runtime.pause(spec.name)
    harness.runtime.unpause(spec.name)

    harness.runtime.stop(spec.name, grace_seconds=1)
    stopped = status(harness, spec.name)
    harness.runtime.start(spec.name)
    started = status(harness, spec.name)
    harness.runtime.pause(spec.name)
    harness.runtime.unpause(spec.name)
    harness.runtime.remove(spec.name, grace_seconds=1)

    assert (stopped, started) == ("exited", "running")
    assert harness.runtime.inspect(spec.name) is None


def test_a_paused_container_can_be_removed(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    harness.runtime.pause(spec.name)

    harness.runtime.remove(spec.name, grace_seconds=1)

    assert harness.runtime.inspect(spec.name) is None


def test_a_stopped_container_is_kept_and_starts_again_as_it_was(harness: Harness) -> None:
    spec = harness.spec()
    first = harness.runtime.ensure(spec)

    harness.runtime.stop(spec.name, grace_seconds=0)
    harness.again().stop(spec.name, grace_seconds=0)
    stopped = harness.runtime.inspect(spec.name)
    again = harness.again().start(spec.name)

    assert stopped is not None and stopped.status == "exited"
    assert (again.status, again.spec_hash) == ("running", first.spec_hash)
    assert again.started_at is not None and first.started_at is not None and again.started_at > first.started_at
    assert again.exit_code is None
    assert harness.runtime.ensure(spec).started_at == again.started_at


def test_a_socket_of_the_last_start_is_gone_before_the_next_one(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    harness.runtime.stop(spec.name, grace_seconds=0)
    (spec.socket_dir / sockets.SOCKET_NAME).write_text("left behind")

    harness.runtime.start(spec.name)

    assert not (spec.socket_dir / sockets.SOCKET_NAME).exists()


def test_what_was_stopped_here_and_started_by_another_worker_keeps_its_socket(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    harness.runtime.stop(spec.name, grace_seconds=0)
    harness.again().start(spec.name)
    (spec.socket_dir / sockets.SOCKET_NAME).write_text("it listens")

    running = harness.runtime.start(spec.name)

    assert running.status == "running"
    assert (spec.socket_dir / sockets.SOCKET_NAME).exists()


def test_what_was_stopped_here_and_removed_by_another_worker_is_missing(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    harness.runtime.stop(spec.name, grace_seconds=0)
    harness.again().remove(spec.name)

    with pytest.raises(ContainerMissing):
        harness.runtime.start(spec.name)


def test_a_container_that_is_adopted_keeps_its_socket(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    (spec.socket_dir / sockets.SOCKET_NAME).write_text("it listens")

    harness.again().ensure(spec)

    assert (spec.socket_dir / sockets.SOCKET_NAME).exists()


def test_a_paused_container_can_be_stopped_and_started_again(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    harness.runtime.pause(spec.name)

    harness.runtime.stop(spec.name, grace_seconds=1)
    stopped = status(harness, spec.name)
    harness.runtime.start(spec.name)

    assert (stopped, status(harness, spec.name)) == ("exited", "running")


def test_starting_what_runs_changes_nothing_and_what_is_paused_goes_on(harness: Harness) -> None:
    spec = harness.spec()
    first = harness.runtime.ensure(spec)

    running = harness.runtime.start(spec.name)
    harness.runtime.pause(spec.name)
    harness.runtime.start(spec.name)

    assert running.started_at == first.started_at
    assert status(harness, spec.name) == "running"


def test_a_stopped_container_can_be_removed(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    harness.runtime.stop(spec.name, grace_seconds=0)

    harness.runtime.remove(spec.name)

    assert harness.runtime.inspect(spec.name) is None
    assert not spec.socket_dir.exists()


def test_what_is_not_there_is_missing_and_not_unreachable(harness: Harness) -> None:
    name = harness.spec().name

    assert harness.runtime.inspect(name) is None
    for verb in (
        harness.runtime.logs,
        harness.runtime.pause,
        harness.runtime.unpause,
        harness.runtime.stop,
        harness.runtime.start,
    ):
        with pytest.raises(ContainerMissing):
            verb(name)


def test_a_runtime_that_does_not_answer_is_never_taken_for_an_empty_one(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    gone = harness.unreachable()

    for ask in (
        gone.ping,
        gone.list,
        lambda: gone.inspect(spec.name),
        lambda: gone.ensure(spec),
        lambda: gone.remove(spec.name),
        lambda: gone.logs(spec.name),
        lambda: gone.pause(spec.name),
        lambda: gone.unpause(spec.name),
        lambda: gone.stop(spec.name),
        lambda: gone.start(spec.name),
    ):
        with pytest.raises(RuntimeUnreachable):
            ask()


def test_another_instance_neither_sees_nor_removes_it(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    stranger = harness.stranger()

    with contextlib.suppress(ContainerConflict):
        stranger.remove(spec.name, grace_seconds=0)

    assert stranger.list() == ()
    assert stranger.inspect(spec.name) is None
    assert status(harness, spec.name) == "running"


def test_a_socket_of_an_earlier_life_is_gone_before_the_runner_starts(harness: Harness) -> None:
    spec = harness.spec()
    spec.socket_dir.mkdir(parents=True)
    (spec.socket_dir / sockets.SOCKET_NAME).write_text("left behind")

    harness.runtime.ensure(spec)

    assert not (spec.socket_dir / sockets.SOCKET_NAME).exists()


@pytest.mark.parametrize("harness", REAL, indirect=True)
def test_the_last_lines_of_output_can_be_read_also_after_the_end(harness: Harness) -> None:
    spec = harness.spec(script="for n in 1 2 3 4 5; do echo line $n; done; echo oops >&2; exit 1")
    harness.runtime.ensure(spec)

    wait_until(lambda: status(harness, spec.name) == "exited")

    # The two streams are two pipes: each keeps its order, and they mix as they arrive.
    said = harness.runtime.logs(spec.name, tail=6).splitlines()
    assert [line for line in said if line != "oops"] == [f"line {n}" for n in range(1, 6)]
    assert "oops" in said
    assert harness.runtime.logs(spec.name, tail=3).splitlines() == said[-3:]


@pytest.mark.parametrize("harness", REAL, indirect=True)
def test_a_runner_that_ignores_the_request_to_stop_is_killed_with_its_children(harness: Harness) -> None:
    spec = harness.spec(script=STUBBORN)
    harness.runtime.ensure(spec)
    wait_until(lambda: "stubborn" in harness.runtime.logs(spec.name))

    harness.runtime.remove(spec.name, grace_seconds=1)

    assert harness.runtime.inspect(spec.name) is None
    assert not [line for line in Path("/proc").glob("[0-9]*/cmdline") if spec.replica_id in _text(line)]


@pytest.mark.parametrize("harness", REAL, indirect=True)
def test_a_runner_may_finish_its_work_within_the_grace(harness: Harness) -> None:
    script = "trap 'exit 0' TERM; echo up; while :; do sleep 0.05; done"
    spec = harness.spec(script=script)
    harness.runtime.ensure(spec)
    wait_until(lambda: "up" in harness.runtime.logs(spec.name))
    started = dt.datetime.now(tz=dt.UTC)

    harness.runtime.remove(spec.name, grace_seconds=30)

    assert dt.datetime.now(tz=dt.UTC) - started < dt.timedelta(seconds=15)


@pytest.mark.parametrize("harness", REAL, indirect=True)
def test_a_program_that_does_not_exist_is_named(harness: Harness) -> None:
    spec = harness.spec(argv=("/nowhere/engine", "--model", "x"))

    try:
        harness.runtime.ensure(spec)
    except StartFailed as error:
        assert "/nowhere/engine" in error.message
        assert harness.runtime.list() == ()
        assert not spec.socket_dir.exists()
    else:
        wait_until(lambda: status(harness, spec.name) == "exited")
        ended = harness.runtime.inspect(spec.name)
        assert ended is not None and ended.exit_code in {126, 127}
        assert "/nowhere/engine" in harness.runtime.logs(spec.name)


@pytest.mark.parametrize("harness", REAL, indirect=True)
def test_the_environment_is_the_one_asked_for_and_nothing_of_ours(harness: Harness, tmp_path: Path) -> None:
    spec = harness.spec(script="env | cut -d= -f1 | sort | grep -vxE 'PWD|SHLVL|_|OLDPWD|HOSTNAME'; exit 0")
    harness.runtime.ensure(spec)

    wait_until(lambda: status(harness, spec.name) == "exited")

    assert harness.runtime.logs(spec.name).split() == ["HOME", "PATH"]


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace")
    except OSError:
        return ""


@pytest.mark.parametrize("harness", REAL, indirect=True)
def test_lines_are_followed_as_they_come_with_stream_and_time_until_the_end(harness: Harness) -> None:
    spec = harness.spec(script='echo one; echo two >&2; while [ ! -s "$0/end" ]; do sleep 0.05; done; echo three')
    harness.runtime.ensure(spec)
    lines = (line for line in harness.runtime.follow_logs(spec.name) if line is not None)

    begun = [next(lines), next(lines)]
    harness.end(spec, 0)
    rest = list(lines)

    assert {(line.stream, line.text) for line in begun} == {("stdout", "one"), ("stderr", "two")}
    assert [line.text for line in rest] == ["three"]
    assert all(abs(dt.datetime.now(tz=dt.UTC) - line.at) < dt.timedelta(minutes=1) for line in [*begun, *rest])
    assert [line.text for line in harness.again().follow_logs(spec.name, since=rest[0].at) if line] == ["three"]


@pytest.mark.parametrize("harness", REAL, indirect=True)
def test_whoever_follows_a_silent_runner_can_leave(harness: Harness) -> None:
    spec = harness.spec(script='while [ ! -s "$0/end" ]; do sleep 0.05; done')
    harness.runtime.ensure(spec)

    assert next(harness.runtime.follow_logs(spec.name)) is None


@pytest.mark.parametrize("harness", REAL, indirect=True)
def test_a_very_long_line_and_one_without_an_end_are_lines(harness: Harness) -> None:
    script = "head -c 100000 /dev/zero | tr '\\0' x; echo; printf last; exit 0"
    spec = harness.spec(script=script)
    harness.runtime.ensure(spec)

    lines = [line.text for line in harness.runtime.follow_logs(spec.name) if line is not None]

    assert lines[0].startswith("x" * 16_000) and set(lines[0]) == {"x"}
    assert lines[-1] == "last"


@pytest.mark.parametrize("harness", REAL, indirect=True)
def test_what_a_running_container_takes_can_be_asked(harness: Harness) -> None:
    spec = harness.spec(script="x=$(head -c 20000000 /dev/zero | tr '\\0' x); echo ready; while :; do sleep 0.1; done")
    harness.runtime.ensure(spec)
    wait_until(lambda: "ready" in harness.runtime.logs(spec.name))

    taken = harness.runtime.usage(spec.name)

    assert taken.peak_memory_bytes is None or taken.peak_memory_bytes > 10_000_000
    assert taken.memory_bytes and taken.memory_bytes > 1_000_000
    assert taken.cpu_seconds and taken.cpu_seconds > 0


def test_one_that_has_ended_takes_nothing_and_one_that_is_not_there_cannot_be_asked(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    harness.end(spec, 0)
    wait_until(lambda: status(harness, spec.name) == "exited")

    assert harness.runtime.usage(spec.name) == fleet.Usage()
    assert harness.runtime.clear_leftovers(older_than_seconds=0) == ()
    missing = harness.spec().name
    with pytest.raises(ContainerMissing):
        harness.runtime.usage(missing)
    with pytest.raises(ContainerMissing):
        harness.runtime.follow_logs(missing)
