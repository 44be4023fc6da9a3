"""The two engines, and the exact argument list and environment each is started with.

Pure. Every argument of an engine has one of three owners: the platform sets it and nobody else may (paths, socket,
names, what is logged); the platform has a default that a tenant's flag replaces; or it is a tenant's alone. Anything
the allow-list of :mod:`moorage.compose.flags` does not name is refused, here as at upload.
"""

import dataclasses
import enum
import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, assert_never

from moorage.compose import flags as compose_flags
from moorage.compose import spec as compose
from moorage.fleet.errors import FlagRefused

Flag = tuple[str, str | None]
ModelKind = Literal["chat", "embedding", "rerank"]

GIB: Final = 1024**3


class Engine(enum.StrEnum):
    """The program that serves a model."""

    LLAMACPP = "llamacpp"
    VLLM = "vllm"


#: The flag that says how many requests an engine answers at once.
_PARALLEL: Final = {Engine.LLAMACPP: "--parallel", Engine.VLLM: "--max-num-seqs"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunnerPaths:
    """What a runner sees: inside an isolated container these are fixed, elsewhere they are the host's."""

    model: str  #: the GGUF file for llama-server, the directory for vLLM
    socket: str
    home: str = "/home/runner"  #: writable, empty at start, gone with the container
    program: tuple[str, ...] = ()  #: how the engine is called; empty: by its usual name


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """The typed choices behind an argument list. ``context_size`` is what one request may fill, in tokens."""

    served_name: str
    context_size: int
    parallel: int
    cpu_threads: int
    memory_bytes: int  #: the container's limit
    flags: tuple[Flag, ...] = ()  #: a tenant's, in the order of the Compose file
    devices: tuple[str, ...] = ()  #: vendor ids
    device_percent: int = 0  #: of its one device's memory, which it shares; 0: the devices are its own
    kind: ModelKind = "chat"
    has_chat_template: bool = True


@dataclasses.dataclass(frozen=True, kw_only=True)
class EngineCommand:
    """What is executed, whole: an argument list, and an environment to which nothing is added."""

    argv: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]


def for_format(model_format: str) -> Engine:
    """The engine that serves ``gguf`` or ``safetensors``. ValueError for any other format."""
    match model_format:
        case "gguf":
            return Engine.LLAMACPP
        case "safetensors":
            return Engine.VLLM
        case _:
            raise ValueError(f"no engine serves {model_format!r}")


def command(engine: Engine, *, paths: RunnerPaths, settings: EngineSettings) -> EngineCommand:
    """The argument list and environment of ``engine``. Raises FlagRefused for a flag that a tenant may not set."""
    match engine:
        case Engine.LLAMACPP:
            return _llamacpp(paths, settings)
        case Engine.VLLM:
            return _vllm(paths, settings)
        case _:
            assert_never(engine)


def parallel(engine: Engine, flags: Iterable[Flag], *, default: int) -> int:
    """How many requests ``engine`` answers at once with a tenant's flags."""
    return int(dict(flags).get(_PARALLEL[engine]) or default)


def kind_of(engine: Engine, flags: Iterable[Flag]) -> ModelKind:
    """What a model is for, which a tenant says in the engine's own flags."""
    chosen = dict(flags)
    match engine:
        case Engine.LLAMACPP:
            return "rerank" if "--reranking" in chosen else "embedding" if "--embeddings" in chosen else "chat"
        case Engine.VLLM:
            if chosen.get("--runner") != "pooling":
                return "chat"
            return "rerank" if chosen.get("--convert") == "classify" else "embedding"
        case _:
            assert_never(engine)


def calls_tools(engine: Engine, flags: Iterable[Flag], *, template_has_tools: bool) -> bool:
    """Whether a model can call tools: llama-server reads that off its template, vLLM has to be told how."""
    names = {name for name, _ in flags}
    return template_has_tools and (
        engine is Engine.LLAMACPP or names.issuperset({"--enable-auto-tool-choice", "--tool-call-parser"})
    )


def slots(argv: Sequence[str]) -> int:
    """How many requests a runner that was started with these arguments answers at once; 0 if they do not say."""
    for name, value in reversed(tuple(itertools.pairwise(argv))):
        if name in _PARALLEL.values():
            return int(value)
    return 0


def _llamacpp(paths: RunnerPaths, settings: EngineSettings) -> EngineCommand:
    parallel_requests = parallel(Engine.LLAMACPP, settings.flags, default=settings.parallel)
    owned: list[Flag] = [
        ("--model", paths.model),
        ("--host", paths.socket),
        ("--alias", settings.served_name),
        # The engine divides its context among the slots, and each request is promised the whole context_size.
        ("--ctx-size", str(settings.context_size * parallel_requests)),
        # Shrinking layers or context to what is free would make admission a guess.
        ("--fit", "off"),
        # The prompt cache in host memory has a default of 8 GiB, outside of what was reserved.
        ("--cache-ram", "0"),
        ("--metrics", None),
        ("--no-slots", None),
        ("--no-webui", None),
        ("--offline", None),
        ("--log-colors", "off"),
        # Errors only: its warnings quote the request that they complain of, and nobody's words may be at rest.
        ("--log-verbosity", "1"),
        # A thread serves a connection, also an idle one: those that gateways keep must not bar those that ask.
        ("--threads-http", str(32 + 4 * parallel_requests)),
    ]
    defaults: list[Flag] = [
        ("--parallel", str(parallel_requests)),
        # One slot cannot take another's share of the context.
        ("--no-kv-unified", None),
        ("--threads", str(settings.cpu_threads)),
        ("--threads-batch", str(settings.cpu_threads)),
    ]
    if settings.kind == "embedding":
        defaults.append(("--embeddings", None))
    elif settings.kind == "rerank":
        defaults.append(("--reranking", None))
    else:
        # Without a template of the model's own the engine falls back to one that it has built in.
        defaults.append(("--jinja" if settings.has_chat_template else "--no-jinja", None))
    if settings.devices:
        defaults.append(("--n-gpu-layers", "999"))
    return EngineCommand(
        argv=(
            *(paths.program or ("llama-server",)),
            *_arguments(Engine.LLAMACPP, settings.flags, owned=owned, defaults=defaults),
        ),
        environment=_environment(paths, settings),
    )


def _vllm(paths: RunnerPaths, settings: EngineSettings) -> EngineCommand:
    owned: list[Flag] = [
        ("--model", paths.model),
        ("--uds", paths.socket),
        ("--served-model-name", settings.served_name),
        ("--max-model-len", str(settings.context_size)),
        ("--load-format", "safetensors"),
        ("--enable-prompt-tokens-details", None),
        ("--disable-fastapi-docs", None),
        ("--disable-uvicorn-access-log", None),
        ("--no-enable-log-requests", None),
    ]
    defaults: list[Flag] = [("--max-num-seqs", str(settings.parallel)), ("--seed", "0")]
    if settings.kind != "chat":
        defaults.append(("--runner", "pooling"))
    if settings.devices:
        # A replica that nobody calls puts its weights away (engine_sleep.py).
        owned.append(("--enable-sleep-mode", None))
        defaults.append(("--tensor-parallel-size", str(len(settings.devices))))
        if settings.device_percent:
            # What is reserved of the device is all that it may take: the rest is its neighbours'.
            owned.append(("--gpu-memory-utilization", f"{settings.device_percent / 100:.2f}"))
        else:
            defaults.append(("--gpu-memory-utilization", "0.9"))
        defaults.append(("--dtype", "auto"))
    else:
        defaults.append(("--dtype", "float32"))
        defaults.append(("--enforce-eager", None))
    return EngineCommand(
        argv=(
            *(paths.program or ("python3", "-m", "vllm.entrypoints.openai.api_server")),
            *_arguments(Engine.VLLM, settings.flags, owned=owned, defaults=defaults),
        ),
        environment=_environment(paths, settings, _vllm_environment(paths, settings)),
    )


def _arguments(
    engine: Engine, tenant: tuple[Flag, ...], *, owned: Iterable[Flag], defaults: Iterable[Flag]
) -> tuple[str, ...]:
    """Ours first, then the defaults that no tenant's flag replaces, then the tenant's. Raises FlagRefused.

    The allow-list was asked when the file was read. It is asked again here, because what stands between the two is a
    database, and what comes after is a process.
    """
    owned = tuple(owned)
    problems = compose_flags.check(engine.value, [compose.Flag(name=name, value=value) for name, value in tenant])
    if problems:
        raise FlagRefused(" ".join(problem.message for problem in problems))
    taken = {name for name, _ in owned} & {name for name, _ in tenant}
    if taken:
        raise FlagRefused(f"Moorage sets {', '.join(sorted(taken))} itself. Remove it from runtime_flags.")
    chosen = {_question(name) for name, _ in tenant}
    kept = [flag for flag in defaults if _question(flag[0]) not in chosen]
    return tuple(part for flag in (*owned, *kept, *tenant) for part in flag if part is not None)


def _question(name: str) -> str:
    """A switch and its negation answer the same question."""
    return name.replace("--no-", "--", 1)


def _environment(
    paths: RunnerPaths, settings: EngineSettings, extra: Mapping[str, str] | None = None
) -> tuple[tuple[str, str], ...]:
    environment = {
        "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": paths.home,
        "TMPDIR": "/tmp",  # noqa: S108 - the container's own
        # A user id of our own has no line in /etc/passwd, where Python would look for the name.
        "USER": "runner",
        "LOGNAME": "runner",
        "LANG": "C.UTF-8",
        # Nothing but the reserved devices, also where the process could see all of them.
        "CUDA_VISIBLE_DEVICES": ",".join(settings.devices),
        **(extra or {}),
    }
    return tuple(sorted(environment.items()))


def _vllm_environment(paths: RunnerPaths, settings: EngineSettings) -> dict[str, str]:
    environment = {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "DO_NOT_TRACK": "1",
        # There is no network but loopback; without this the engine looks for an address of its own.
        "VLLM_HOST_IP": "127.0.0.1",
        "VLLM_MAX_N_SEQUENCES": "64",
        "VLLM_MEDIA_URL_ALLOW_REDIRECTS": "0",
        "VLLM_CACHE_ROOT": f"{paths.home}/.cache/vllm",
        "HF_HOME": f"{paths.home}/.cache/huggingface",
        "TORCHINDUCTOR_CACHE_DIR": f"{paths.home}/.cache/inductor",
        "TRITON_CACHE_DIR": f"{paths.home}/.cache/triton",
        "OMP_NUM_THREADS": str(settings.cpu_threads),
    }
    if settings.devices:
        # With the routes by which it is put to sleep; nobody but the worker can ask for them.
        environment["VLLM_SERVER_DEV_MODE"] = "1"
    else:
        environment["VLLM_TARGET_DEVICE"] = "cpu"
        # Left to itself, every replica binds its threads to the same first cores and leaves the others idle.
        environment["VLLM_CPU_OMP_THREADS_BIND"] = "nobind"
        # Whole GiB. A quarter of the limit leaves room for the weights and for Python with torch.
        environment["VLLM_CPU_KVCACHE_SPACE"] = str(max(1, settings.memory_bytes // 4 // GIB))
    return environment
