"""The walls around a runner, tried from inside: by the program that an operator runs too, in a replica's own
container."""

import dataclasses
import io
import socket
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import docker
import pytest
from django.core.management import CommandError, call_command
from django.template.loader import render_to_string
from django.test import override_settings

from moorage.fleet import inside_probe, isolation_rows, probing, sockets
from moorage.fleet.engines import Engine
from moorage.fleet.inside_probe import Machine, Report
from moorage.fleet.runtime import ContainerSpec
from moorage.kernel import ids
from tests.fleet import demo_model, harnesses
from tests.fleet.runners import Harness
from tests.waiting import wait_until

#: Claims that do not need a Docker Engine to be read.
WHOLE = [f"{code}\tclosed\tfine" for code in inside_probe.CLAIMS if code != "kernel"]


def test_a_report_is_closed_only_if_every_door_was_tried_and_closed() -> None:
    assert inside_probe.read([*WHOLE, "kernel.mount\tclosed\tno", "done"]).is_closed

    assert not inside_probe.read([*WHOLE[1:], "done"]).is_closed
    assert not inside_probe.read(WHOLE).is_closed
    assert not inside_probe.read([]).is_closed
    open_report = inside_probe.read([*WHOLE, "kernel.mount\topen\tit was done", "done"])
    assert [finding.claim for finding in open_report.open] == ["The kernel refuses it: mount"]


def test_what_kept_a_probe_from_its_end_is_told() -> None:
    report = inside_probe.read([*WHOLE, "Can't locate object method"])

    assert "Can't locate object method" in report.trouble


@dataclasses.dataclass(frozen=True, kw_only=True)
class Place:
    """An Engine, the engine that is tried, its real model, and a neighbour of another organization that runs beside
    it."""

    harness: Harness
    engine: Engine
    model_dir: Path
    address: str

    def spec(self) -> ContainerSpec:
        return probing.replica_spec(
            self.engine,
            runtime=self.harness.runtime,
            instance=self.harness.instance,
            socket_root=self.harness.root / "s",
            model_dir=self.model_dir,
        )


@pytest.fixture(
    params=[
        pytest.param(Engine.LLAMACPP, marks=pytest.mark.docker),
        pytest.param(Engine.VLLM, marks=[pytest.mark.docker, pytest.mark.vllm]),
    ],
    ids=["llamacpp", "vllm"],
)
def place(request: pytest.FixtureRequest, short_tmp: Path, docker_host: str, demo_catalog: Path) -> Iterator[Place]:
    short_tmp.chmod(0o755)
    engine: Engine = request.param
    images = {Engine.LLAMACPP: request.getfixturevalue("llamacpp_image")}
    layout, tag = demo_catalog / "harbour", "q8_0"
    if engine is Engine.VLLM:
        images[engine] = request.getfixturevalue("vllm_image")
        layout, tag = demo_catalog / "harbour-vllm", "latest"
    harness = harnesses.docker(short_tmp, address=docker_host, images=images)
    yield Place(
        harness=harness,
        engine=engine,
        model_dir=demo_model.unpack(layout, tag, into=short_tmp / "weights"),
        address=docker_host,
    )
    harnesses.clear(harness)


@pytest.fixture
def machine(place: Place) -> Iterator[Machine]:
    """What must not be found: a listener on every address, a socket without a file, the host's and a neighbour's
    files."""
    neighbour = place.harness.root / "neighbour"
    neighbour.mkdir()
    (neighbour / "model.gguf").write_text("another's weights")
    name = f"moorage-canary-{uuid.uuid4().hex}"
    with socket.create_server(("0.0.0.0", 0)) as listener, socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind(f"\0{name}")
        abstract.listen()
        port = listener.getsockname()[1]
        own = socket.gethostbyname(socket.gethostname())
        yield Machine(
            addresses=(f"{own}:{port}", f"127.0.0.1:{port}", f"172.17.0.1:{port}"),
            hidden=(str(neighbour / "model.gguf"), str(place.harness.root), str(Path(__file__).resolve())),
            engine_sockets=(place.address.removeprefix("unix://"),),
            abstract_sockets=(name,),
        )


def test_every_door_is_closed_from_inside(place: Place, machine: Machine) -> None:
    report = probing.look(place.spec(), runtime=place.harness.runtime, machine=machine)

    assert report.open == ()
    assert report.trouble == ""
    assert {finding.code for finding in report.findings} >= set(inside_probe.CLAIMS) - {"kernel"}
    assert place.harness.runtime.list() == ()


def test_the_probe_runs_in_a_container_that_differs_in_its_arguments_alone(place: Place) -> None:
    spec = place.spec()
    probe = dataclasses.replace(spec, argv=inside_probe.argv(spec, machine=Machine()))
    client = docker.APIClient(base_url=place.address, timeout=20)
    bodies = []
    for each in (spec, probe):
        place.harness.runtime.ensure(each)
        inspected = client.inspect_container(each.name)
        place.harness.runtime.remove(each.name, grace_seconds=0)
        bodies.append({group: inspected[group] for group in ("Config", "HostConfig", "Mounts")})
    client.close()

    replica, probed = bodies
    for body in bodies:
        for name in ("Entrypoint", "Cmd", "Labels"):
            del body["Config"][name]
        body["Mounts"].sort(key=lambda mount: mount["Destination"])

    assert replica == probed


def test_a_fork_bomb_and_a_full_disk_do_not_reach_the_neighbour(place: Place) -> None:
    neighbour = place.harness.spec(script='i=0; while :; do echo "$i" > "$0/beat"; i=$((i+1)); sleep 0.05; done')
    place.harness.runtime.ensure(neighbour)
    beat = neighbour.socket_dir / "beat"

    with ThreadPoolExecutor(max_workers=1) as pool:
        spec = place.spec()
        looked = pool.submit(probing.look, spec, runtime=place.harness.again(), machine=Machine(), hold_seconds=3)
        wait_until(lambda: "limits.processes" in _said(place, spec), seconds=90)
        during = int(beat.read_text() or 0)
        wait_until(lambda: int(beat.read_text() or 0) > during + 5, seconds=20)
        report = looked.result()

    assert [
        finding.code for finding in report.findings if finding.code.startswith("limits") and not finding.is_closed
    ] == []
    found = place.harness.runtime.inspect(neighbour.name)
    assert found is not None and found.status == "running"


def _said(place: Place, spec: ContainerSpec) -> str:
    found = place.harness.runtime.inspect(spec.name)
    return place.harness.runtime.logs(spec.name, tail=100) if found else ""


@pytest.mark.docker
def test_the_probe_sees_the_doors_that_a_usual_container_leaves_open(docker_host: str, llamacpp_image: str) -> None:
    """What `docker run` gives by default, and more: were the probe blind, it would find nothing here either."""
    spec = ContainerSpec(
        name="moorage-t1-rep_1-1",
        replica_id=ids.new("rep"),
        organization_id="org_1",
        epoch=1,
        engine=Engine.LLAMACPP,
        argv=("/bin/true",),
        environment=(("PATH", "/usr/bin:/bin"),),
        model_dir=Path("/model"),
        socket_dir=Path("/run/moorage"),
        memory_bytes=1024**3,
        cpu_millis=1000,
        pids_limit=16,
    )
    client = docker.DockerClient(base_url=docker_host, timeout=60)
    # A network of its own: not every Engine has the usual bridge.
    network = client.networks.create(f"moorage-test-{spec.replica_id}", driver="bridge", internal=True)
    try:
        said = client.containers.run(
            llamacpp_image,
            entrypoint=list(inside_probe.argv(spec, machine=Machine(hidden=("/host",)))),
            volumes={"/tmp": {"bind": "/host", "mode": "rw"}},
            cap_add=["SYS_ADMIN", "NET_RAW"],
            environment={"LD_PRELOAD": ""},
            network=network.name,
            tmpfs={"/run/moorage": "rw,exec", "/home/runner": "rw,exec", "/model": "rw"},
            security_opt=["seccomp=unconfined"],
            user="0",
            remove=True,
        )
    finally:
        network.remove()
        client.close()

    report: Report = inside_probe.read(said.decode().splitlines())

    assert {finding.code for finding in report.open} >= {
        "network.interfaces",
        "network.routes",
        "network.raw",
        "network.vsock",
        "files.mounts",
        "files.root",
        "files.neighbours",
        "files.programs",
        "process.capabilities",
        "process.privileges",
        "process.system_calls",
        "process.user",
        "process.environment",
        "kernel.unshare_network",
        "kernel.mount",
        "kernel.ptrace",
        "kernel.io_uring",
        "limits.open_files",
        "limits.space_socket_dir",
        "limits.names_socket_dir",
        "limits.processes",
    }


@pytest.mark.docker
def test_a_runner_cannot_lead_the_gateway_to_another_door(
    short_tmp: Path, docker_host: str, llamacpp_image: str
) -> None:
    short_tmp.chmod(0o755)
    harness = harnesses.docker(short_tmp, address=docker_host, images={Engine.LLAMACPP: llamacpp_image})
    elsewhere = short_tmp / "another.sock"
    with socket.socket(socket.AF_UNIX) as another:
        another.bind(str(elsewhere))
        another.listen()
        spec = harness.spec(script=f'ln -s {elsewhere} "$0/{sockets.SOCKET_NAME}"; touch "$0/done"; sleep 60')
        try:
            harness.runtime.ensure(spec)
            wait_until(lambda: (spec.socket_dir / "done").exists())
            with socket.socket(socket.AF_UNIX) as gateway, pytest.raises(OSError, match="symbolic links"):
                gateway.connect(str(sockets.path(spec.socket_dir)))
        finally:
            harnesses.clear(harness)
    assert not spec.socket_dir.exists()


@pytest.mark.docker
@pytest.mark.django_db
def test_an_operator_reads_a_table_and_the_page_of_nodes_has_it_too(
    short_tmp: Path, docker_host: str, llamacpp_image: str
) -> None:
    short_tmp.chmod(0o755)
    said = io.StringIO()

    with override_settings(
        MOORAGE_RUNTIME="docker",
        DOCKER_HOST=docker_host,
        MOORAGE_SOCKET_DIR=short_tmp / "s",
        MOORAGE_INSTANCE=f"t{uuid.uuid4().hex[:8]}",
        MOORAGE_HOLDS_RUNTIME=False,
    ):
        call_command("probe_runner", engine="llamacpp", stdout=said)

    assert "llamacpp, started with runc" in said.getvalue()
    assert " 0 open" in said.getvalue() and "OPEN" not in said.getvalue()
    (walls,) = isolation_rows.host_walls()
    (kept,) = walls.probes
    assert kept.is_closed and kept.engine == "llamacpp"
    page = render_to_string("administrator/_host_walls.html", {"host_walls": [walls]})
    assert "It has no network interface but loopback" in page


def test_where_nothing_is_isolated_there_is_nothing_to_try() -> None:
    with override_settings(MOORAGE_RUNTIME="process"), pytest.raises(CommandError, match="not isolated at all"):
        call_command("probe_runner")
