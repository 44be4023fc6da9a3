"""Where replicas run: Docker where an Engine answers, else plain processes, which are not isolated; said plainly."""

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from moorage.config.instance import docker_engine, llama_server
from moorage.config.instance.errors import PartMissing
from moorage.config.instance.home import Home

NAMES: Final = ("docker", "process")
_BASE_IMAGE: Final = "debian:bookworm-slim"
_DOCKERFILE: Final = "runners/llamacpp/Dockerfile"
NOT_ISOLATED: Final = (
    "NOT ISOLATED: no Docker Engine answers, so replicas run as plain processes of this user. Serve only models "
    "you trust; start a Docker Engine and run `./manage.py up` again for isolation."
)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The chosen runtime, what it adds to the environment of the processes, and what a person should know."""

    name: str
    environment: Mapping[str, str]
    warning: str | None = None


def choose(
    *, forced: str | None, environ: Mapping[str, str], answers: Callable[[str], bool] = docker_engine.answers
) -> str:
    """`docker` or `process`. Raises PartMissing where Docker was asked for and does not answer."""
    host = engine_host(environ)
    if forced == "process":
        return "process"
    if answers(host):
        return "docker"
    if forced == "docker":
        raise PartMissing(f"No Docker Engine answers at {host}. Start it, set DOCKER_HOST, or use --runtime process.")
    return "process"


def engine_host(environ: Mapping[str, str]) -> str:
    """The Engine that the operator named, or the usual one."""
    return environ.get("DOCKER_HOST") or docker_engine.DEFAULT_HOST


def make_ready(
    name: str, *, home: Home, root: Path, environ: Mapping[str, str], is_forced: bool, say: Callable[[str], None]
) -> Runtime:
    """Get what the runtime ``name`` needs: a llama-server, and for Docker an image with it inside."""
    if name == "process":
        binary = llama_server.get(root=root, cache=home.llama_server, environ=environ, say=say)
        warning = (
            NOT_ISOLATED.replace("no Docker Engine answers, so", "as --runtime process asks,")
            if is_forced
            else NOT_ISOLATED
        )
        return Runtime(name=name, environment={"MOORAGE_LLAMA_SERVER": str(binary)}, warning=warning)
    host = engine_host(environ)
    image = environ.get("MOORAGE_LLAMACPP_IMAGE")
    if image:
        if not docker_engine.has_image(host, image):
            raise PartMissing(f"MOORAGE_LLAMACPP_IMAGE names {image}, which the Docker Engine at {host} does not have.")
    else:
        image = _runner_image(host, home=home, root=root, environ=environ, say=say)
    say(f"Docker Engine at {host}, runner image {image}")
    return Runtime(name=name, environment={"DOCKER_HOST": host, "MOORAGE_LLAMACPP_IMAGE": image})


def _runner_image(host: str, *, home: Home, root: Path, environ: Mapping[str, str], say: Callable[[str], None]) -> str:
    """The tag of the llama.cpp runner image, built now if the Engine has none made from the same parts."""
    base = environ.get("MOORAGE_RUNNER_BASE_IMAGE") or _BASE_IMAGE
    files = {
        f"runners/llamacpp/{path.name}": path for path in (root / "runners" / "llamacpp").iterdir() if path.is_file()
    }
    files["deploy/requirements-llama.lock"] = root / "deploy" / "requirements-llama.lock"
    named = environ.get("MOORAGE_LLAMA_SERVER")
    digest = hashlib.sha256(f"{base} {llama_server.recipe(root)}".encode())
    for path in (root / "runners" / "llamacpp" / "Dockerfile", *((Path(named),) if named else ())):
        digest.update(path.read_bytes())
    tag = f"moorage/runner-llamacpp:{digest.hexdigest()[:12]}"
    if docker_engine.has_image(host, tag):
        return tag
    files["prebuilt/llama-server"] = llama_server.get(root=root, cache=home.llama_server, environ=environ, say=say)
    say(f"building the runner image {tag} from {base}")
    arguments = {"BASE_IMAGE": base, "BUILD_IMAGE": base, "LLAMA_SERVER": "prebuilt"}
    context = docker_engine.context(files)
    docker_engine.build(host, tag=tag, context=context, dockerfile=_DOCKERFILE, arguments=arguments, say=say)
    return tag
