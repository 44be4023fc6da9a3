"""Both engines, started as production starts them, until one real token comes back over the socket."""

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from moorage.fleet import engines, probe, sockets
from moorage.fleet.engines import Engine, EngineSettings
from moorage.fleet.runtime import ContainerSpec
from moorage.kernel import ids
from tests.fleet import demo_model, harnesses
from tests.fleet.runners import Harness
from tests.waiting import wait_until

MIB = 1024**2


@pytest.fixture
def harness(request: pytest.FixtureRequest, short_tmp: Path) -> Iterator[Harness]:
    short_tmp.chmod(0o755)
    where, engine = request.param
    if where == "process":
        program = request.getfixturevalue("llama_server" if engine is Engine.LLAMACPP else "vllm_python")
        named = {"llama_server": program} if engine is Engine.LLAMACPP else {"vllm_python": program}
        made = harnesses.process(short_tmp, **named)
    else:
        image = request.getfixturevalue("llamacpp_image" if engine is Engine.LLAMACPP else "vllm_image")
        made = harnesses.docker(short_tmp, address=request.getfixturevalue("docker_host"), images={engine: image})
    yield made
    harnesses.clear(made)


def start(harness: Harness, engine: Engine, model_dir: Path, settings: EngineSettings) -> ContainerSpec:
    replica_id = ids.new("rep")
    socket_dir = harness.spec(replica_id=replica_id).socket_dir
    paths = harness.runtime.runner_paths(model_dir=model_dir, socket_dir=socket_dir, engine=engine)
    command = engines.command(engine, paths=paths, settings=settings)
    spec = harness.spec(
        replica_id=replica_id,
        engine=engine,
        argv=command.argv,
        environment=command.environment,
        model_dir=model_dir,
        memory_bytes=settings.memory_bytes,
        cpu_millis=min(2000, (os.cpu_count() or 1) * 1000),
        pids_limit=512,
    )
    harness.runtime.ensure(spec)
    return spec


def ready(harness: Harness, spec: ContainerSpec, served_name: str, kind: engines.ModelKind, *, seconds: float) -> None:
    socket = sockets.path(spec.socket_dir)

    def answer() -> bool:
        found = harness.runtime.inspect(spec.name)
        assert found is not None and found.status == "running", harness.runtime.logs(spec.name)
        return probe.health(socket).is_ok

    wait_until(answer, seconds=seconds)
    result = probe.first_token(socket, served_name, kind)
    assert result.is_ok, (result, harness.runtime.logs(spec.name))


@pytest.mark.engine
@pytest.mark.parametrize(
    "harness",
    [("process", Engine.LLAMACPP), pytest.param(("docker", Engine.LLAMACPP), marks=pytest.mark.docker)],
    indirect=True,
    ids=["process", "docker"],
)
@pytest.mark.parametrize(("kind", "flags"), [("chat", ()), ("embedding", (("--pooling", "mean"),))])
def test_llama_server_answers_over_its_socket(
    harness: Harness, demo_catalog: Path, short_tmp: Path, kind: engines.ModelKind, flags: tuple[engines.Flag, ...]
) -> None:
    model = demo_model.unpack(demo_catalog / "harbour", "q8_0", into=short_tmp / "harbour")
    settings = EngineSettings(
        served_name="quay/llm",
        context_size=256,
        parallel=2,
        cpu_threads=2,
        memory_bytes=512 * MIB,
        kind=kind,
        flags=flags,
    )

    spec = start(harness, Engine.LLAMACPP, model, settings)

    ready(harness, spec, "quay/llm", kind, seconds=60)
    transport = httpx.HTTPTransport(uds=str(sockets.path(spec.socket_dir)))
    with httpx.Client(transport=transport, base_url="http://runner") as client:
        assert [each["id"] for each in client.get("/v1/models").json()["data"]] == ["quay/llm"]
        assert client.get("/slots").status_code == 501
        assert client.get("/metrics").status_code == 200
        assert client.get("/").status_code == 404


@pytest.mark.vllm
@pytest.mark.parametrize(
    "harness",
    [("process", Engine.VLLM), pytest.param(("docker", Engine.VLLM), marks=pytest.mark.docker)],
    indirect=True,
    ids=["process", "docker"],
)
def test_vllm_answers_over_its_socket(harness: Harness, demo_catalog: Path, short_tmp: Path) -> None:
    model = demo_model.unpack(demo_catalog / "harbour-vllm", "latest", into=short_tmp / "harbour")
    settings = EngineSettings(
        served_name="quay/llm", context_size=256, parallel=2, cpu_threads=2, memory_bytes=4096 * MIB
    )

    spec = start(harness, Engine.VLLM, model, settings)

    ready(harness, spec, "quay/llm", "chat", seconds=240)
