"""A runner in a real container that prints as quickly as it can: bounded memory and disk, and its reader is told."""

import os
import threading
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from moorage.deployments import log_following, logs, services
from moorage.deployments.log_limits import LINES_A_SECOND
from moorage.deployments.models import LogFollower, Replica, ReplicaStatus, RunnerLine
from moorage.fleet.engines import Engine
from moorage.kernel import clock
from tests.cast import Cast
from tests.deployments.conftest import COMPOSE
from tests.fleet import harnesses
from tests.fleet.runners import Harness
from tests.waiting import wait_until

pytestmark = pytest.mark.docker

MIB = 1024**2
#: More than a log may have on disk, and than a reader can follow: what a runner that hurts prints in some seconds.
FLOODED = 80 * 10**6
#: Lines of a kilobyte, 32 at once, as quickly as it goes; how many that were lies beside the socket.
FLOOD = """
line=$(printf '%01000d' 0); block=$line; n=0; i=1
while [ $i -lt 32 ]; do block="$block
$line"; i=$((i+1)); done
while [ ! -e "$0/calm" ]; do
    i=0; while [ $i -lt 32 ]; do echo "$block"; i=$((i+1)); done
    n=$((n+1024)); echo "$n" > "$0/printed.new"; mv "$0/printed.new" "$0/printed"
done
while :; do echo "and calm again"; sleep 1; done
"""
#: Of one container, by the profile: three files of ten megabytes, and one that is being compressed.
LOG_LIMIT = 45 * 10**6


@pytest.fixture
def harness(short_tmp: Path, docker_host: str, llamacpp_image: str) -> Iterator[Harness]:
    short_tmp.chmod(0o755)
    made = harnesses.docker(short_tmp, address=docker_host, images={Engine.LLAMACPP: llamacpp_image})
    yield made
    harnesses.clear(made)


def resident() -> int:
    """Bytes of this process in memory."""
    fields = Path("/proc/self/statm").read_text().split()
    return int(fields[1]) * os.sysconf("SC_PAGE_SIZE")


def on_disk(address: str, name: str) -> int:
    """Bytes of the container's log, where the Engine's directory can be seen from here."""
    client = docker.APIClient(base_url=address)
    try:
        root = Path(client.info()["DockerRootDir"]) / "containers" / client.inspect_container(name)["Id"]
    finally:
        client.close()
    if not root.is_dir():
        pytest.skip("the Engine's files are on another machine")
    return sum(file.stat().st_size for file in root.rglob("*") if file.is_file())


def test_a_flood_costs_bounded_memory_and_disk_and_a_slow_reader_is_told_what_it_missed(
    harness: Harness, docker_host: str, committed_cast: Cast
) -> None:
    alice = committed_cast.alice
    deployment = services.apply(
        organization=alice.organization, name="demo", compose_text=COMPOSE, by=alice.actor
    ).deployment
    spec = harness.spec(script=FLOOD, cpu_millis=1000)
    harness.runtime.ensure(spec)
    replica = Replica.objects.create(
        deployment=deployment,
        revision=deployment.target,
        model_key="llm",
        status=ReplicaStatus.READY,
        container_name=spec.name,
        ready_at=clock.now(),
    )
    printed = spec.socket_dir / "printed"
    wait_until(printed.exists)
    following = logs.Following(deployment)
    stop = threading.Event()
    watch = threading.Thread(target=log_following.watch, args=(lambda: harness.runtime,), kwargs={"stop": stop})
    watch.start()
    sizes: list[int] = []
    disk: list[int] = []
    seen: list[logs.Event] = []
    try:
        wait_until(RunnerLine.objects.exists)
        before, began, kept = resident(), clock.now(), 0
        first = int(printed.read_text())
        bytes_a_second = 0.0
        # A reader that looks around between lines: much slower than what is printed.
        for event in following:
            seen.append(event)
            sizes.append(resident())
            if len(seen) % 10 == 1:
                disk.append(on_disk(docker_host, spec.name))
            passed = (clock.now() - began).total_seconds()
            flooded = 1001 * (int(printed.read_text()) - first)
            if flooded >= FLOODED and not bytes_a_second:
                bytes_a_second = flooded / passed
                kept = RunnerLine.objects.count()
                (spec.socket_dir / "calm").touch()
            if event.text == "and calm again" or passed > 240:
                break
    finally:
        following.close()
        LogFollower.objects.all().delete()
        stop.set()
        watch.join()
        wait_until(lambda: not log_following.is_following(replica.pk))

    told = [event.text for event in seen if event.stream == log_following.OURS]
    print(
        f"{bytes_a_second * 60 / 1e9:.2f} GB a minute, memory +{(max(sizes) - before) / MIB:.0f} MiB,"
        f" log {max(disk) / 1e6:.0f} MB, {kept} lines kept, {len(seen)} read, told: {told[:3]} {seen[-1].text[:40]}"
    )
    assert bytes_a_second, "the flood was never as large as was to be seen"
    assert max(sizes) - before < 64 * MIB
    assert max(disk) < LOG_LIMIT
    assert kept <= log_following.RING + log_following.RING // 5 + LINES_A_SECOND
    assert any(text.startswith("… more than ") for text in told)
    assert seen[-1].text == "and calm again", "what comes after the flood is read like anything else"
