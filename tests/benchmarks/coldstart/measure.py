"""Rounds of every tier, the floor beside each, and where the time went."""

import contextlib
import os
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import docker
import docker.errors

from moorage.fleet.profile import SOCKET_DIR
from tests.benchmarks.coldstart import request
from tests.benchmarks.coldstart.instance import SLEEP, Instance, running
from tests.benchmarks.figures import Row
from tests.benchmarks.programs import BenchFailed
from tests.benchmarks.series import say

_ROUNDS: Final = 15
_QUICK_ROUNDS: Final = 2
#: At most, and aimed at, from the client's request to its first token; and over the floor. Milliseconds.
_BOUNDS: Final[Mapping[str, tuple[float, float]]] = {"frozen": (30, 12), "stopped": (250, 150), "absent": (300, 200)}
_OVER: Final = (50.0, 10.0)
#: Between what a round leaves behind and the next request.
_SETTLE_SECONDS: Final = 0.3
_FLOOR_SECONDS: Final = 60.0

Stages = list[tuple[str, float]]


def measure(*, is_quick: bool, rounds: int | None = None) -> tuple[list[Row], dict[str, list[str]]]:
    """Rows of each tier, and by tier its stages. Raises BenchFailed."""
    count = rounds or (_QUICK_ROUNDS if is_quick else _ROUNDS)
    found: dict[str, list[float]] = {tier: [] for tier in SLEEP}
    floors: dict[str, list[float]] = {tier: [] for tier in SLEEP}
    stages: dict[str, list[Stages]] = {tier: [] for tier in SLEEP}
    with running() as instance:
        for number in range(count):
            for tier in SLEEP:
                instance.asleep(tier)
                if instance.docker_host and (floor := _floor(instance, tier)) is not None:
                    floors[tier].append(floor)
                time.sleep(_SETTLE_SECONDS)
                one, passed = _round(instance, tier)
                found[tier].append(one)
                stages[tier].append(passed)
            say(f"  round {number + 1}: " + ", ".join(f"{tier} {found[tier][-1]:.0f} ms" for tier in SLEEP))
        where = "Docker" if instance.docker_host else "local processes"
    rows = [row for tier in SLEEP for row in _rows(tier, found[tier], floors[tier], where)]
    return rows, {f"{tier}, where the time goes": _shares(stages[tier]) for tier in SLEEP}


def _rows(tier: str, found: list[float], floors: list[float], where: str) -> list[Row]:
    median = statistics.median(found)
    most, aim = _BOUNDS[tier]
    spread = f"{min(found):.0f} to {max(found):.0f} ms, {len(found)} rounds, {where}"
    rows = [
        Row(measure=f"{tier}: request to first token", reached=median, unit=" ms", floor=most, aim=aim, remark=spread)
    ]
    if floors:
        floor = statistics.median(floors)
        rows.append(
            Row(
                measure=f"{tier}: over the floor",
                reached=median - floor,
                unit=" ms",
                floor=_OVER[0],
                aim=_OVER[1],
                remark=f"floor {floor:.0f} ms ({min(floors):.0f} to {max(floors):.0f})",
            )
        )
    return rows


def _round(instance: Instance, tier: str) -> tuple[float, Stages]:
    """Milliseconds of one request, and the stages that it passed with theirs."""
    before = instance.one("SELECT coalesce(max(id), 0) FROM awakening")
    assert before is not None
    asked = request.of_gateway(instance.stack.ports.gateway, model=f"{tier}/llm", secret=instance.secret)
    row = instance.wait(
        lambda: instance.one(
            "SELECT extract(epoch FROM at) - seconds, stages FROM awakening WHERE id > %s ORDER BY id LIMIT 1",
            before[0],
        ),
        what=f"{tier}: what is written down of its awakening",
    )
    return asked.seconds * 1000, _stages(asked, float(row[0]), row[1])


def _stages(asked: request.Asked, wish: float, marks: Mapping[str, float]) -> Stages:
    """Each stage with the milliseconds since the one before."""
    points: list[tuple[str, float]] = [("held, wake row", wish)]
    points += sorted(((name, wish + at) for name, at in marks.items()), key=lambda one: one[1])
    # The token may be there before the waker has written down that the gateways were told.
    points = [point for point in points if point[1] <= asked.first_token]
    points.append(("first token", asked.first_token))
    past, found = asked.sent, []
    for name, at in points:
        found.append((name, (at - past) * 1000))
        past = at
    return found


def _shares(rounds: list[Stages]) -> list[str]:
    names = dict.fromkeys(name for one in rounds for name, _ in one)
    lines = []
    for name in names:
        spent = [value for one in rounds for stage, value in one if stage == name]
        lines.append(f"{name:<16} {statistics.median(spent):7.1f} ms  ({min(spent):.1f} to {max(spent):.1f})")
    return lines


def _floor(instance: Instance, tier: str) -> float | None:
    """The Engine and the engine alone, by hand, in milliseconds: start, readiness, first token. Of a container that is
    like Moorage's and not Moorage's, so that nobody puts it right meanwhile."""
    row = instance.one(
        "SELECT r.container_name FROM replica r JOIN deployment d ON d.id = r.deployment_id"
        " WHERE r.status = 'stopped' AND d.name = 'stopped'"
    )
    if tier == "frozen" or row is None:
        return None
    client = docker.APIClient(base_url=instance.docker_host, timeout=60)
    name = f"floor-{row[0]}"
    try:
        body = _body(client.inspect_container(row[0]), instance.stack.home / "floor")
        socket = instance.stack.home / "floor" / "engine.sock"
        if tier == "stopped":
            client.create_container_from_config(body, name)  # type: ignore[no-untyped-call]
            client.start(name)
            _first_token(socket)
            client.stop(name, timeout=5)
        # What a start leaves behind bars the next one.
        socket.unlink(missing_ok=True)
        began = time.time()
        if tier == "absent":
            client.create_container_from_config(body, name)  # type: ignore[no-untyped-call]
        client.start(name)
        return (_first_token(socket) - began) * 1000
    finally:
        with contextlib.suppress(docker.errors.NotFound):
            client.remove_container(name, force=True)
        client.close()


def _body(inspected: Mapping[str, Any], directory: Path) -> dict[str, Any]:
    """The same again, with a directory of its own for its socket."""
    uid = int(inspected["Config"]["User"].partition(":")[0])
    directory.mkdir(mode=0o700, exist_ok=True)
    os.chown(directory, uid, uid)
    (directory / "engine.sock").unlink(missing_ok=True)
    mounts = [
        {**mount, "Source": str(directory)} if mount["Target"] == SOCKET_DIR else mount
        for mount in inspected["HostConfig"]["Mounts"]
    ]
    host = {**inspected["HostConfig"], "Mounts": mounts}
    return {**inspected["Config"], "Labels": {}, "HostConfig": host}


def _first_token(socket: Path) -> float:
    deadline = time.monotonic() + _FLOOR_SECONDS
    while not request.is_healthy(socket):
        if time.monotonic() > deadline:
            raise BenchFailed(f"an engine started by hand did not become ready in {_FLOOR_SECONDS:.0f} s")
        time.sleep(0.001)
    return request.of_engine(socket, model="stopped/llm").first_token
