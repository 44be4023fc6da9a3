"""What only Docker has to prove: the walls, looked at from inside, and the refusal of anything less."""

import dataclasses
import io
import secrets
from collections.abc import Iterator
from pathlib import Path

import docker
import pytest

from moorage.fleet.engines import Engine
from moorage.fleet.errors import ContainerConflict, ImageMissing, ProfileMismatch
from tests.fleet import harnesses
from tests.fleet.runners import Harness
from tests.waiting import wait_until

pytestmark = pytest.mark.docker

LOOK_AROUND = """
echo "uid $(id -u) $(id -g) $(id -G)"
grep -E '^(CapEff|CapBnd|NoNewPrivs|Seccomp):' /proc/self/status
echo "interfaces $(tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' ' | tr '\\n' ' ')"
try() { name=$1; shift; if "$@" >/dev/null 2>&1; then echo "$name allowed"; else echo "$name denied"; fi; }
try root touch /x
try model touch /model/x
try socket touch /run/moorage/x
try tmp touch /tmp/x
try home touch "$HOME/x"
cp /bin/true /tmp/true; chmod +x /tmp/true; try exec_tmp /tmp/true
cp /bin/true "$HOME/true"; chmod +x "$HOME/true"; try exec_home "$HOME/true"
try docker_socket test -e /var/run/docker.sock
try mount mount -t tmpfs none /tmp
try unshare unshare -U true
try mknod mknod /tmp/m c 1 3
try sysctl sh -c 'echo 1 > /proc/sys/kernel/panic'
try tmp_limit dd if=/dev/zero of=/tmp/big bs=1M count=300
echo "first $(cat /proc/1/comm)"
"""
FORKS = "i=0; while [ $i -lt 200 ]; do sleep 600 & i=$((i+1)); done"
EATER = "x=$(head -c 400000000 /dev/zero | tr '\\0' a); echo survived"


@pytest.fixture
def harness(short_tmp: Path, docker_host: str, llamacpp_image: str) -> Iterator[Harness]:
    short_tmp.chmod(0o755)
    made = harnesses.docker(short_tmp, address=docker_host, images={Engine.LLAMACPP: llamacpp_image})
    yield made
    harnesses.clear(made)


@pytest.fixture
def hostile_image(docker_host: str, llamacpp_image: str) -> Iterator[str]:
    """An image that brings variables, a volume, labels and a user of its own."""
    client = docker.DockerClient(base_url=docker_host, timeout=60)
    name = f"moorage/tests-hostile:{secrets.token_hex(4)}"
    lines = (
        f"FROM {llamacpp_image}",
        "ENV LD_PRELOAD=/evil.so NVIDIA_VISIBLE_DEVICES=all",
        "LABEL moorage.instance=another",
        "USER 0",
    )
    try:
        client.images.build(
            fileobj=io.BytesIO("\n".join(lines).encode()), tag=name, network_mode="none", rm=True, forcerm=True
        )
        yield name
        client.images.remove(name)
    finally:
        client.close()


def ended(harness: Harness, name: str) -> str:
    def is_over() -> bool:
        found = harness.runtime.inspect(name)
        assert found is not None
        return found.status == "exited"

    wait_until(is_over, seconds=60)
    return harness.runtime.logs(name)


def test_a_runner_finds_itself_walled_in(harness: Harness) -> None:
    spec = harness.spec(script=LOOK_AROUND)
    harness.runtime.ensure(spec)

    seen = ended(harness, spec.name).replace("\t", " ").splitlines()

    uid, gid, groups = seen[0].split()[1:]
    assert int(uid) != 0 and uid == gid == groups
    assert {
        "CapEff: 0000000000000000",
        "CapBnd: 0000000000000000",
        "NoNewPrivs: 1",
        "Seccomp: 2",
        "interfaces lo ",
        "root denied",
        "model denied",
        "socket allowed",
        "tmp allowed",
        "home allowed",
        "exec_tmp denied",
        "exec_home denied",
        "docker_socket denied",
        "mount denied",
        "unshare denied",
        "mknod denied",
        "sysctl denied",
        "tmp_limit denied",
    } <= set(seen), seen


def test_two_runners_are_two_users(harness: Harness) -> None:
    first, second = harness.spec(script="id -u"), harness.spec(script="id -u")

    for spec in (first, second):
        harness.runtime.ensure(spec)

    assert ended(harness, first.name) != ended(harness, second.name)


def test_a_fork_bomb_stops_at_the_limit(harness: Harness) -> None:
    spec = harness.spec(script=FORKS)
    harness.runtime.ensure(spec)

    said = ended(harness, spec.name)

    assert "Cannot fork" in said or "Resource temporarily unavailable" in said


def test_a_runner_that_takes_too_much_memory_is_known_to_have(harness: Harness) -> None:
    spec = harness.spec(script=EATER)
    harness.runtime.ensure(spec)

    said = ended(harness, spec.name)

    found = harness.runtime.inspect(spec.name)
    assert "survived" not in said
    assert found is not None and found.is_oom_killed and found.exit_code != 0


def test_an_image_adds_neither_variables_nor_a_user(harness: Harness, docker_host: str, hostile_image: str) -> None:
    hostile = harnesses.docker(harness.root, address=docker_host, images={Engine.LLAMACPP: hostile_image})
    spec = hostile.spec(script="env; id -u")
    try:
        hostile.runtime.ensure(spec)

        said = ended(hostile, spec.name)
    finally:
        harnesses.clear(hostile)

    assert "LD_PRELOAD" not in said and "NVIDIA" not in said
    assert said.splitlines()[-1] != "0"


def test_a_container_that_is_not_what_was_asked_for_never_runs(
    harness: Harness, docker_host: str, llamacpp_image: str
) -> None:
    client = docker.DockerClient(base_url=docker_host, timeout=60)
    name = f"moorage/tests-volume:{secrets.token_hex(4)}"
    body = f"FROM {llamacpp_image}\nVOLUME /extra\n"
    client.images.build(fileobj=io.BytesIO(body.encode()), tag=name, network_mode="none", rm=True, forcerm=True)
    hostile = harnesses.docker(harness.root, address=docker_host, images={Engine.LLAMACPP: name})
    spec = hostile.spec(script="touch /run/moorage/ran")
    try:
        with pytest.raises(ProfileMismatch, match=r"Mounts\./extra: not asked for"):
            hostile.runtime.ensure(spec)

        assert hostile.runtime.list() == ()
        assert not spec.socket_dir.exists()
    finally:
        client.images.remove(name)
        client.close()


def test_a_container_that_was_changed_behind_our_back_is_removed_when_adopted(
    harness: Harness, docker_host: str
) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    client = docker.APIClient(base_url=docker_host, timeout=20)
    client.update_container(spec.name, mem_limit="1g", memswap_limit="1g")
    client.close()

    with pytest.raises(ProfileMismatch, match=r"HostConfig\.Memory"):
        harness.again().ensure(spec)

    assert harness.runtime.inspect(spec.name) is None


def test_a_foreign_container_of_that_name_stays(harness: Harness, docker_host: str, llamacpp_image: str) -> None:
    spec = harness.spec()
    client = docker.APIClient(base_url=docker_host, timeout=20)
    client.create_container(llamacpp_image, command=["--version"], name=spec.name)
    try:
        for act in (lambda: harness.runtime.ensure(spec), lambda: harness.runtime.remove(spec.name)):
            with pytest.raises(ContainerConflict):
                act()

        assert client.inspect_container(spec.name)["State"]["Status"] == "created"
        assert harness.runtime.inspect(spec.name) is None
    finally:
        client.remove_container(spec.name, force=True)
        client.close()


def test_an_image_that_is_not_there_is_named_and_leaves_nothing(harness: Harness, docker_host: str) -> None:
    absent = harnesses.docker(harness.root, address=docker_host, images={Engine.LLAMACPP: "moorage/absent:1"})
    spec = absent.spec()

    with pytest.raises(ImageMissing, match="moorage/absent:1"):
        absent.runtime.ensure(spec)

    assert absent.runtime.list() == ()
    assert not spec.socket_dir.exists()


def test_a_worker_that_died_before_the_start_is_continued(harness: Harness, docker_host: str) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    client = docker.APIClient(base_url=docker_host, timeout=20)
    config = client.inspect_container(spec.name)
    client.remove_container(spec.name, force=True)
    body = config["Config"] | {"HostConfig": config["HostConfig"]}
    client.create_container_from_config(body, spec.name)
    client.close()

    created = harness.runtime.inspect(spec.name)
    started = harness.runtime.ensure(spec)

    assert created is not None and created.status == "created"
    assert started.status == "running"


def test_the_socket_directory_of_a_container_removed_by_hand_goes_too(harness: Harness, docker_host: str) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    client = docker.APIClient(base_url=docker_host, timeout=20)
    client.remove_container(spec.name, force=True)
    client.close()

    harness.runtime.remove(spec.name)

    assert not spec.socket_dir.exists()


def test_labels_of_a_tenant_are_kept_beside_ours(harness: Harness, docker_host: str) -> None:
    spec = dataclasses.replace(harness.spec(), labels=(("team", "blue"),))
    harness.runtime.ensure(spec)

    client = docker.APIClient(base_url=docker_host, timeout=20)
    labels = client.inspect_container(spec.name)["Config"]["Labels"]
    client.close()

    assert labels["team"] == "blue"
    assert labels["moorage.instance"] == harness.instance
