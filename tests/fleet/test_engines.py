"""The argument lists, word by word."""

import dataclasses

import pytest

from moorage.compose.flag_rules import LLAMACPP, VLLM
from moorage.fleet import engines
from moorage.fleet.engines import Engine, EngineSettings, RunnerPaths
from moorage.fleet.errors import FlagRefused

GIB = 1024**3
LLAMA_PATHS = RunnerPaths(model="/model/model.gguf", socket="/run/moorage/engine.sock", home="/home/runner")
VLLM_PATHS = dataclasses.replace(LLAMA_PATHS, model="/model")
SETTINGS = EngineSettings(served_name="quay/llm", context_size=4096, parallel=4, cpu_threads=2, memory_bytes=8 * GIB)

LLAMA = [
    *("llama-server", "--model", "/model/model.gguf", "--host", "/run/moorage/engine.sock", "--alias", "quay/llm"),
    *("--ctx-size", "16384", "--fit", "off", "--cache-ram", "0", "--metrics", "--no-slots", "--no-webui"),
    *("--offline", "--log-colors", "off", "--log-verbosity", "1", "--threads-http", "48"),
]
VLLM_OWNED = [
    *("python3", "-m", "vllm.entrypoints.openai.api_server", "--model", "/model", "--uds", "/run/moorage/engine.sock"),
    *("--served-model-name", "quay/llm", "--max-model-len", "4096", "--load-format", "safetensors"),
    *("--enable-prompt-tokens-details", "--disable-fastapi-docs", "--disable-uvicorn-access-log"),
    "--no-enable-log-requests",
]
CPUS = ["--threads", "2", "--threads-batch", "2"]


@pytest.mark.parametrize(
    ("changes", "rest"),
    [
        ({}, ["--parallel", "4", "--no-kv-unified", *CPUS, "--jinja"]),
        ({"kind": "embedding"}, ["--parallel", "4", "--no-kv-unified", *CPUS, "--embeddings"]),
        ({"kind": "rerank"}, ["--parallel", "4", "--no-kv-unified", *CPUS, "--reranking"]),
        ({"has_chat_template": False}, ["--parallel", "4", "--no-kv-unified", *CPUS, "--no-jinja"]),
        (
            {"devices": ("GPU-1",)},
            ["--parallel", "4", "--no-kv-unified", *CPUS, "--jinja", "--n-gpu-layers", "999"],
        ),
        (
            {"flags": (("--temp", "0.2"), ("--no-jinja", None))},
            ["--parallel", "4", "--no-kv-unified", *CPUS, "--temp", "0.2", "--no-jinja"],
        ),
        (
            {"flags": (("--threads", "1"), ("--kv-unified", None))},
            ["--parallel", "4", "--threads-batch", "2", "--jinja", "--threads", "1", "--kv-unified"],
        ),
    ],
    ids=["chat", "embedding", "rerank", "no template", "gpu", "tenant flags", "tenant flags in place of defaults"],
)
def test_llama_server_is_started_with_exactly_these_words(changes: dict[str, object], rest: list[str]) -> None:
    settings = dataclasses.replace(SETTINGS, **changes)  # type: ignore[arg-type]

    command = engines.command(Engine.LLAMACPP, paths=LLAMA_PATHS, settings=settings)

    assert list(command.argv) == LLAMA + rest


@pytest.mark.parametrize(
    ("engine", "flags", "kind"),
    [
        (Engine.LLAMACPP, (), "chat"),
        (Engine.LLAMACPP, (("--embeddings", None), ("--pooling", "mean")), "embedding"),
        (Engine.LLAMACPP, (("--embeddings", None), ("--reranking", None)), "rerank"),
        (Engine.VLLM, (("--runner", "generate"),), "chat"),
        (Engine.VLLM, (("--runner", "pooling"),), "embedding"),
        (Engine.VLLM, (("--convert", "classify"), ("--runner", "pooling")), "rerank"),
    ],
)
def test_a_tenants_flags_say_what_a_model_is_for(engine: Engine, flags: tuple[engines.Flag, ...], kind: str) -> None:
    assert engines.kind_of(engine, flags) == kind


@pytest.mark.parametrize(
    ("engine", "flags", "template_has_tools", "can"),
    [
        (Engine.LLAMACPP, (), True, True),
        (Engine.LLAMACPP, (), False, False),
        (Engine.VLLM, (), True, False),
        (Engine.VLLM, (("--enable-auto-tool-choice", None),), True, False),
        (Engine.VLLM, (("--enable-auto-tool-choice", None), ("--tool-call-parser", "hermes")), True, True),
        (Engine.VLLM, (("--enable-auto-tool-choice", None), ("--tool-call-parser", "hermes")), False, False),
    ],
)
def test_tools_need_a_template_with_a_place_for_them_and_vllm_a_parser(
    engine: Engine, flags: tuple[engines.Flag, ...], template_has_tools: bool, can: bool
) -> None:
    assert engines.calls_tools(engine, flags, template_has_tools=template_has_tools) == can


@pytest.mark.parametrize(
    ("engine", "flags", "slots"),
    [
        (Engine.LLAMACPP, (), 4),
        (Engine.LLAMACPP, (("--parallel", "7"),), 7),
        (Engine.VLLM, (), 4),
        (Engine.VLLM, (("--max-num-seqs", "16"),), 16),
    ],
)
def test_the_places_of_a_runner_are_read_from_how_it_was_started(
    engine: Engine, flags: tuple[tuple[str, str], ...], slots: int
) -> None:
    settings = dataclasses.replace(SETTINGS, flags=flags)

    argv = engines.command(engine, paths=LLAMA_PATHS, settings=settings).argv

    assert engines.slots(argv) == slots == engines.parallel(engine, flags, default=4)


def test_more_parallel_requests_get_more_context_in_all() -> None:
    settings = dataclasses.replace(SETTINGS, flags=(("--parallel", "2"),))

    argv = engines.command(Engine.LLAMACPP, paths=LLAMA_PATHS, settings=settings).argv

    assert argv[argv.index("--ctx-size") + 1] == "8192"
    assert argv.count("--parallel") == 1


@pytest.mark.parametrize(
    ("changes", "rest"),
    [
        ({}, ["--max-num-seqs", "4", "--seed", "0", "--dtype", "float32", "--enforce-eager"]),
        (
            {"kind": "embedding"},
            ["--max-num-seqs", "4", "--seed", "0", "--runner", "pooling", "--dtype", "float32", "--enforce-eager"],
        ),
        (
            {"devices": ("GPU-1", "GPU-2")},
            [
                "--enable-sleep-mode",
                *("--max-num-seqs", "4", "--seed", "0", "--tensor-parallel-size", "2"),
                *("--gpu-memory-utilization", "0.9", "--dtype", "auto"),
            ],
        ),
        (
            {"devices": ("GPU-1",), "flags": (("--gpu-memory-utilization", "0.5"), ("--max-num-seqs", "8"))},
            [
                "--enable-sleep-mode",
                *("--seed", "0", "--tensor-parallel-size", "1", "--dtype", "auto"),
                *("--gpu-memory-utilization", "0.5", "--max-num-seqs", "8"),
            ],
        ),
    ],
    ids=["chat", "embedding", "two gpus", "tenant flags in place of defaults"],
)
def test_vllm_is_started_with_exactly_these_words(changes: dict[str, object], rest: list[str]) -> None:
    settings = dataclasses.replace(SETTINGS, **changes)  # type: ignore[arg-type]

    command = engines.command(Engine.VLLM, paths=VLLM_PATHS, settings=settings)

    assert list(command.argv) == VLLM_OWNED + rest


def test_the_program_is_the_one_the_runtime_names() -> None:
    paths = dataclasses.replace(LLAMA_PATHS, program=("/opt/llama-server",))

    command = engines.command(Engine.LLAMACPP, paths=paths, settings=SETTINGS)

    assert command.argv[:2] == ("/opt/llama-server", "--model")


def test_a_served_name_stays_one_argument_whatever_is_in_it() -> None:
    settings = dataclasses.replace(SETTINGS, served_name="a b; rm -rf / --rpc x")

    argv = engines.command(Engine.LLAMACPP, paths=LLAMA_PATHS, settings=settings).argv

    assert argv[argv.index("--alias") + 1] == "a b; rm -rf / --rpc x"


@pytest.mark.parametrize(
    ("engine", "name", "value"),
    [
        (Engine.LLAMACPP, "--rpc", "10.0.0.1:50052"),
        (Engine.LLAMACPP, "--slots", None),
        (Engine.LLAMACPP, "--ctx-size", "999999"),
        (Engine.LLAMACPP, "--log-file", "x"),
        (Engine.LLAMACPP, "--threads", "a lot"),
        (Engine.LLAMACPP, "--max-num-seqs", "4"),
        (Engine.VLLM, "--trust-remote-code", None),
        (Engine.VLLM, "--trust_remote_code", None),
        (Engine.VLLM, "--served-model-name", "somebody-else"),
        (Engine.VLLM, "--load-format", "pt"),
        (Engine.VLLM, "--seed", None),
    ],
)
def test_a_flag_that_got_past_the_upload_is_refused_again(engine: Engine, name: str, value: str | None) -> None:
    settings = dataclasses.replace(SETTINGS, flags=((name, value),))

    with pytest.raises(FlagRefused) as refusal:
        engines.command(engine, paths=VLLM_PATHS, settings=settings)

    assert name in refusal.value.message


@pytest.mark.parametrize(
    ("engine", "names"), [(Engine.LLAMACPP, LLAMACPP), (Engine.VLLM, VLLM)], ids=["llamacpp", "vllm"]
)
def test_no_allowed_flag_is_one_that_the_platform_sets(engine: Engine, names: dict[str, object]) -> None:
    paths = LLAMA_PATHS if engine is Engine.LLAMACPP else VLLM_PATHS
    owned = LLAMA if engine is Engine.LLAMACPP else VLLM_OWNED

    argv = engines.command(engine, paths=paths, settings=SETTINGS).argv

    assert list(argv[: len(owned)]) == owned
    assert not set(owned) & set(names)


def test_the_environment_is_whole_and_names_nothing_of_the_host() -> None:
    llama = dict(engines.command(Engine.LLAMACPP, paths=LLAMA_PATHS, settings=SETTINGS).environment)
    vllm = dict(engines.command(Engine.VLLM, paths=VLLM_PATHS, settings=SETTINGS).environment)

    assert set(llama) == {"PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "LANG", "CUDA_VISIBLE_DEVICES"}
    assert llama["HOME"] == "/home/runner"
    assert vllm["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert vllm["HF_HUB_OFFLINE"] == "1" and vllm["VLLM_NO_USAGE_STATS"] == "1"
    assert vllm["VLLM_MAX_N_SEQUENCES"] == "64" and vllm["VLLM_MEDIA_URL_ALLOW_REDIRECTS"] == "0"
    assert "VLLM_SERVER_DEV_MODE" not in vllm and "VLLM_ALLOW_RUNTIME_LORA_UPDATING" not in vllm


def test_a_runner_sees_the_devices_it_reserved_and_no_others() -> None:
    with_device = dataclasses.replace(SETTINGS, devices=("GPU-1",))

    seen = dict(engines.command(Engine.VLLM, paths=VLLM_PATHS, settings=with_device).environment)
    none = dict(engines.command(Engine.VLLM, paths=VLLM_PATHS, settings=SETTINGS).environment)

    assert seen["CUDA_VISIBLE_DEVICES"] == "GPU-1"
    assert "VLLM_TARGET_DEVICE" not in seen
    assert none["CUDA_VISIBLE_DEVICES"] == ""
    assert none["VLLM_TARGET_DEVICE"] == "cpu"


def test_the_engine_follows_from_the_format() -> None:
    assert engines.for_format("gguf") is Engine.LLAMACPP
    assert engines.for_format("safetensors") is Engine.VLLM
    with pytest.raises(ValueError, match="pickle"):
        engines.for_format("pickle")
