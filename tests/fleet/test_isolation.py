"""What a runner really got is read back, stored and told as it is; who may ask for a runtime, and which one it gets."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import override_settings

from moorage.accounts.actor import Actor
from moorage.accounts.models import AuditEntry
from moorage.fleet import advisories, engine_host, isolation_rows, runtime_classes, runtimes, sockets
from moorage.fleet.engines import Engine
from moorage.fleet.errors import NotTheProvisioner, RuntimeClassMissing
from moorage.fleet.models import ReplicaIsolation
from moorage.kernel.errors import InvalidInput
from tests.cast import Cast
from tests.fleet import harnesses
from tests.fleet.runners import Harness

ADA = Actor(id="usr_ada", label="ada@example.com")


@pytest.fixture
def harness(short_tmp: Path, docker_host: str, llamacpp_image: str) -> Iterator[Harness]:
    short_tmp.chmod(0o755)
    made = harnesses.docker(short_tmp, address=docker_host, images={Engine.LLAMACPP: llamacpp_image})
    yield made
    harnesses.clear(made)


@pytest.mark.docker
def test_a_containers_walls_are_read_back_from_engine_and_kernel(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)

    found = harness.runtime.isolation(spec.name)

    walls = {wall.code: wall for wall in found.walls}
    assert (found.level, found.runtime, found.container_runtime) == ("container", "docker", "runc")
    assert {code for code, wall in walls.items() if wall.holds is False} == set()
    assert walls["network"].found == "none"
    assert walls["capabilities"].found == "none"
    assert "platform's list" in walls["system_calls"].found
    assert walls["processes"].found == "at most 32"
    assert found.host["kernel"] and found.host["engine"] and found.host["runc"]


@pytest.mark.docker
def test_a_socket_directory_is_a_file_system_of_its_own_and_goes_with_its_container(harness: Harness) -> None:
    spec = harness.spec()
    harness.runtime.ensure(spec)
    wall = next(wall for wall in harness.runtime.isolation(spec.name).walls if wall.code == "socket_directory")

    harness.runtime.stop(spec.name, grace_seconds=0)
    harness.runtime.start(spec.name)
    again = next(wall for wall in harness.runtime.isolation(spec.name).walls if wall.code == "socket_directory")
    harness.runtime.remove(spec.name, grace_seconds=0)

    assert wall == again
    assert wall.holds is True and wall.found == "memory of its own, size=64k"
    assert str(spec.socket_dir) not in Path("/proc/self/mountinfo").read_text()


def test_a_directory_may_be_made_anew_and_discarded_twice(short_tmp: Path) -> None:
    directory = short_tmp / "s" / "rep_1-1"

    for _ in range(2):
        sockets.prepare(directory, uid=None)
    for _ in range(2):
        sockets.discard(directory)

    assert not directory.exists()


def test_a_plain_process_has_no_walls_and_says_so(short_tmp: Path) -> None:
    harness = harnesses.process(short_tmp)
    spec = harness.spec()
    harness.runtime.ensure(spec)

    found = harness.runtime.isolation(spec.name)
    harnesses.clear(harness)

    assert found.level == "none" and found.walls == ()
    assert found.sentence.startswith("None: it is a process of this machine")


@pytest.mark.django_db
def test_what_was_read_back_is_stored_and_a_silent_runtime_stores_nothing(short_tmp: Path) -> None:
    harness = harnesses.memory(short_tmp)
    spec = harness.spec()
    harness.runtime.ensure(spec)

    isolation_rows.read_back(replica_id=spec.replica_id, container_name=spec.name, runtime=harness.runtime)
    isolation_rows.read_back(replica_id="rep_other", container_name=spec.name, runtime=harness.unreachable())

    assert isolation_rows.of_replicas([spec.replica_id])[spec.replica_id]["level"] == "none"
    assert not ReplicaIsolation.objects.filter(pk="rep_other").exists()


@pytest.mark.parametrize(
    ("version", "build", "is_safe", "missing"),
    [
        ("1.1.5+ds1", "1.1.5+ds1-1+deb12u1", False, ["CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"]),
        ("1.1.5", "", False, ["CVE-2024-21626", "CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"]),
        ("1.1.12", "", False, ["CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"]),
        ("1.2.7", "", False, ["CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"]),
        ("1.2.8", "", True, []),
        ("v1.3.3", "", True, []),
        ("1.3.2", "", False, ["CVE-2025-31133", "CVE-2025-52565", "CVE-2025-52881"]),
        ("1.5.0", "", True, []),
        ("", "", None, []),
    ],
)
def test_runcs_version_is_judged_by_what_is_known_against_it(
    version: str, build: str, is_safe: bool | None, missing: list[str]
) -> None:
    verdict = advisories.verdict("runc", version=version, build=build)

    assert verdict.is_safe is is_safe
    assert sorted(verdict.open_advisories) == sorted(missing)
    assert all(each in verdict.sentence for each in missing)


def test_an_engine_says_what_it_is_made_of() -> None:
    info = {
        "ServerVersion": "29.3.1",
        "KernelVersion": "6.12.9",
        "OperatingSystem": "Debian",
        "CgroupVersion": "2",
        "SwapLimit": True,
        "SecurityOptions": ["name=apparmor", "name=seccomp,profile=builtin", "name=userns"],
        "Runtimes": {"runc": {}, "runsc": {}, "io.containerd.runc.v2": {}},
    }
    version = {"Components": [{"Name": "runc", "Version": "1.3.3", "Details": {}}]}

    host = engine_host.read(info, version)
    facts = engine_host.facts(info, api_version="1.52")

    assert (host.has_apparmor, host.has_user_namespaces, host.is_rootless) == (True, True, False)
    assert host.runc.is_safe is True and host.runtimes == ("runc", "runsc")
    assert facts.has_apparmor and facts.seccomp == "builtin" and "runsc" in facts.runtimes


@pytest.mark.parametrize("name", ["docker", "process", "memory"])
def test_no_process_but_the_provisioning_worker_is_given_a_runtime(name: str) -> None:
    with override_settings(MOORAGE_RUNTIME=name, MOORAGE_HOLDS_RUNTIME=False), pytest.raises(NotTheProvisioner):
        runtimes.configured()


CLASSES = {"default": "runc", "untrusted": "runsc"}


@pytest.mark.django_db
@override_settings(MOORAGE_RUNTIME_CLASSES=CLASSES)
def test_an_administrator_puts_an_organization_into_a_class_and_it_is_written_down(cast: Cast) -> None:
    organization = cast.alice.organization
    assert runtime_classes.container_runtime(organization.pk) == "runc"

    runtime_classes.set_class(organization=organization, trust_class="untrusted", by=ADA)

    assert runtime_classes.container_runtime(organization.pk) == "runsc"
    entry = AuditEntry.objects.get(action="organization.trust_class_changed")
    assert entry.detail["from"] == "default" and entry.detail["to"] == "untrusted"
    with pytest.raises(InvalidInput, match="default, untrusted"):
        runtime_classes.set_class(organization=organization, trust_class="sandboxed", by=ADA)


@pytest.mark.django_db
def test_a_class_that_the_policy_no_longer_names_is_refused_and_not_replaced(cast: Cast) -> None:
    with override_settings(MOORAGE_RUNTIME_CLASSES=CLASSES):
        runtime_classes.set_class(organization=cast.alice.organization, trust_class="untrusted", by=ADA)

    with override_settings(MOORAGE_RUNTIME_CLASSES={"default": "runc"}), pytest.raises(RuntimeClassMissing):
        runtime_classes.container_runtime(cast.alice.organization.pk)


@pytest.mark.docker
def test_a_runtime_that_the_engine_lacks_is_refused_in_a_sentence(harness: Harness) -> None:
    spec = harness.spec(container_runtime="runsc-of-nobody")

    with pytest.raises(RuntimeClassMissing, match="runsc-of-nobody"):
        harness.runtime.ensure(spec)

    assert harness.runtime.list() == ()
    assert not spec.socket_dir.exists()


def test_plain_processes_are_no_sandbox(short_tmp: Path) -> None:
    harness = harnesses.process(short_tmp)

    with pytest.raises(RuntimeClassMissing, match="not isolated"):
        harness.runtime.ensure(harness.spec(container_runtime="runsc"))

    with contextlib.suppress(FileNotFoundError):
        harnesses.clear(harness)
