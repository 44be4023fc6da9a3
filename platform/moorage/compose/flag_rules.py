"""Which engine flags an organization may set: everything not listed here is refused.

Each rule is typed and bounded, so that no value can name a file, an address or code. Names are those of the engines
that Moorage runs (llama.cpp as vendored by llama-cpp-python 0.3.36, vLLM 0.32); canonical names are the long forms.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

Kind = Literal["switch", "integer", "number", "choice", "numbers"]


@dataclass(frozen=True, kw_only=True)
class FlagRule:
    """One allowed flag: its type, its bounds or choices, and what it does in a few words."""

    name: str
    kind: Kind
    meaning: str
    aliases: tuple[str, ...] = ()
    low: Decimal = Decimal(0)
    high: Decimal = Decimal(0)
    choices: tuple[str, ...] = ()

    @property
    def takes_value(self) -> bool:
        """Whether a value follows the name."""
        return self.kind != "switch"


def _switch(name: str, meaning: str, *aliases: str) -> FlagRule:
    return FlagRule(name=name, kind="switch", meaning=meaning, aliases=aliases)


def _integer(name: str, low: int, high: int, meaning: str, *aliases: str) -> FlagRule:
    return FlagRule(name=name, kind="integer", meaning=meaning, aliases=aliases, low=Decimal(low), high=Decimal(high))


def _number(name: str, low: str, high: str, meaning: str, *aliases: str) -> FlagRule:
    return FlagRule(name=name, kind="number", meaning=meaning, aliases=aliases, low=Decimal(low), high=Decimal(high))


def _choice(name: str, choices: str, meaning: str, *aliases: str) -> FlagRule:
    return FlagRule(name=name, kind="choice", meaning=meaning, aliases=aliases, choices=tuple(choices.split()))


def _table(*rules: FlagRule) -> Mapping[str, FlagRule]:
    return {rule.name: rule for rule in rules}


_CACHE_TYPES = "f32 f16 bf16 q8_0 q4_0 q4_1 iq4_nl q5_0 q5_1"

LLAMACPP = _table(
    _integer("--threads", 1, 256, "CPU threads while generating", "-t"),
    _integer("--threads-batch", 1, 256, "CPU threads while reading prompts", "-tb"),
    _integer("--batch-size", 32, 16_384, "prompt tokens taken at once", "-b"),
    _integer("--ubatch-size", 32, 16_384, "prompt tokens computed at once", "-ub"),
    _integer("--parallel", 1, 64, "requests answered at the same time", "-np"),
    _integer("--predict", 1, 1_048_576, "most tokens of one answer", "-n", "--n-predict"),
    _integer("--keep", 0, 1_048_576, "prompt tokens kept when the context is shifted"),
    _integer("--cache-reuse", 0, 65_536, "smallest chunk reused from the prompt cache"),
    _switch("--cont-batching", "mix requests in one batch", "-cb"),
    _switch("--no-cont-batching", "never mix requests in one batch", "-nocb"),
    _switch("--cache-prompt", "reuse the prefix of earlier prompts"),
    _switch("--no-cache-prompt", "compute every prompt from its start"),
    _switch("--context-shift", "drop the oldest tokens when the context is full"),
    _switch("--no-context-shift", "end the answer when the context is full"),
    _switch("--kv-unified", "one cache shared by all slots", "-kvu"),
    _switch("--no-kv-unified", "one cache for each slot", "-no-kvu"),
    _switch("--warmup", "run once before serving"),
    _switch("--no-warmup", "serve without a first run"),
    _choice("--flash-attn", "on off auto", "flash attention", "-fa"),
    _choice("--cache-type-k", _CACHE_TYPES, "type of cached keys", "-ctk"),
    _choice("--cache-type-v", _CACHE_TYPES, "type of cached values", "-ctv"),
    _choice("--load-mode", "auto none mmap", "how weights are read from disk", "-lm"),
    _integer("--n-gpu-layers", 0, 999, "layers kept on the GPU", "-ngl", "--gpu-layers"),
    _choice("--split-mode", "none layer row", "how several GPUs share the model", "-sm"),
    FlagRule(name="--tensor-split", kind="numbers", meaning="share of each GPU", aliases=("-ts",)),
    _integer("--main-gpu", 0, 15, "GPU for what is not split", "-mg"),
    _switch("--cpu-moe", "keep experts on the CPU", "-cmoe"),
    _integer("--n-cpu-moe", 0, 999, "layers whose experts stay on the CPU", "-ncmoe"),
    _switch("--check-tensors", "check the weights for invalid numbers"),
    _integer("--seed", -1, 4_294_967_295, "default seed", "-s"),
    _number("--temp", "0", "10", "default temperature", "--temperature"),
    _integer("--top-k", 0, 1_000, "default top-k"),
    _number("--top-p", "0", "1", "default top-p"),
    _number("--min-p", "0", "1", "default min-p"),
    _number("--typical", "0", "1", "default typical-p", "--typical-p"),
    _integer("--repeat-last-n", 0, 65_536, "tokens looked at for repetition"),
    _number("--repeat-penalty", "0.01", "10", "default repetition penalty"),
    _number("--presence-penalty", "-2", "2", "default presence penalty"),
    _number("--frequency-penalty", "-2", "2", "default frequency penalty"),
    _number("--dry-multiplier", "0", "10", "DRY sampler strength"),
    _number("--dry-base", "1", "10", "DRY sampler base"),
    _integer("--dry-allowed-length", 0, 1_024, "DRY sampler free length"),
    _integer("--dry-penalty-last-n", 0, 65_536, "tokens the DRY sampler looks at"),
    _number("--xtc-probability", "0", "1", "XTC sampler probability"),
    _number("--xtc-threshold", "0", "1", "XTC sampler threshold"),
    _number("--dynatemp-range", "0", "10", "dynamic temperature range"),
    _number("--dynatemp-exp", "0", "10", "dynamic temperature exponent"),
    _integer("--mirostat", 0, 2, "Mirostat version"),
    _number("--mirostat-lr", "0", "1", "Mirostat learning rate"),
    _number("--mirostat-ent", "0", "20", "Mirostat target entropy"),
    _choice("--rope-scaling", "none linear yarn", "method of stretching the context"),
    _number("--rope-scale", "0.01", "1000", "factor of stretching the context"),
    _number("--rope-freq-base", "0", "100000000", "RoPE base frequency"),
    _number("--rope-freq-scale", "0", "1000", "RoPE frequency scale"),
    _integer("--yarn-orig-ctx", 0, 1_048_576, "context the model was trained with"),
    _number("--yarn-ext-factor", "-1", "100", "YaRN extrapolation mix"),
    _number("--yarn-attn-factor", "-1", "100", "YaRN attention scale"),
    _number("--yarn-beta-slow", "-1", "1000", "YaRN high correction"),
    _number("--yarn-beta-fast", "-1", "1000", "YaRN low correction"),
    _switch("--embeddings", "serve embeddings only", "--embedding"),
    _switch("--reranking", "serve reranking", "--rerank"),
    _choice("--pooling", "none mean cls last rank", "how embeddings are pooled"),
    _switch("--jinja", "use the model's own chat template engine"),
    _switch("--no-jinja", "use the built-in chat templates"),
    _choice("--reasoning-format", "none auto deepseek deepseek-legacy", "where thoughts go in the answer"),
    _choice("--reasoning", "on off auto", "let the model think first", "-rea"),
    _integer("--reasoning-budget", -1, 1_048_576, "most tokens of thinking, -1 for no bound"),
    _switch("--prefill-assistant", "continue a last message of the assistant"),
    _switch("--no-prefill-assistant", "answer a last message of the assistant"),
)

_TOOL_PARSERS = (
    "cohere_command3 deepseek_v3 deepseek_v31 deepseek_v32 ernie45 functiongemma gemma4 gigachat3 glm45 glm47 granite"
    " granite-20b-fc granite4 hermes hunyuan_a13b internlm jamba kimi_k2 lfm2 llama3_json llama4_json llama4_pythonic"
    " longcat mimo minimax_m2 mistral olmo3 openai phi4_mini_json pythonic qwen3_coder qwen3_json qwen3_xml seed_oss"
    " step3 step3p5 xlam"
)
_REASONING_PARSERS = (
    "cohere_command3 deepseek_r1 deepseek_v3 ernie45 gemma4 glm45 glm47 granite holo2 hunyuan_a13b kimi_k2 mimo"
    " minimax_m2 minimax_m2_append_think mistral nemotron_v3 olmo3 openai_gptoss qwen3 seed_oss step3 step3p5"
)

VLLM = _table(
    _integer("--tensor-parallel-size", 1, 16, "GPUs that share each layer", "-tp"),
    _integer("--pipeline-parallel-size", 1, 16, "GPUs that share the layers in turn", "-pp"),
    _number("--gpu-memory-utilization", "0.1", "0.95", "share of the GPU's memory"),
    _integer("--max-num-seqs", 1, 1_024, "requests answered at the same time"),
    _integer("--max-num-batched-tokens", 64, 262_144, "tokens computed in one step"),
    _choice("--block-size", "8 16 32 64 128", "tokens in one cache block"),
    _choice("--dtype", "auto half float16 bfloat16 float float32", "type of weights and activations"),
    _choice(
        "--quantization",
        "awq awq_marlin auto_awq gptq gptq_marlin auto_gptq fp8 modelopt modelopt_fp4 compressed-tensors experts_int8"
        " quark moe_wna16 torchao mxfp4 gpt_oss_mxfp4 fp8_per_tensor fp8_per_block",
        "how the weights are quantized",
        "-q",
    ),
    _choice("--kv-cache-dtype", "auto float16 bfloat16 fp8 fp8_e4m3 fp8_e5m2", "type of the cache"),
    _switch("--enforce-eager", "run without captured graphs"),
    _switch("--enable-prefix-caching", "reuse the prefix of earlier prompts"),
    _switch("--no-enable-prefix-caching", "compute every prompt from its start"),
    _switch("--enable-chunked-prefill", "read long prompts in pieces"),
    _switch("--no-enable-chunked-prefill", "read long prompts at once"),
    _switch("--enable-expert-parallel", "spread experts over the GPUs"),
    _switch("--disable-custom-all-reduce", "use the plain way between GPUs"),
    _switch("--disable-sliding-window", "always use the full context"),
    _integer("--seed", 0, 4_294_967_295, "default seed"),
    _integer("--max-logprobs", 0, 20, "most log probabilities for one token"),
    _choice("--tokenizer-mode", "auto hf mistral", "which tokenizer code reads the text"),
    _choice("--generation-config", "auto vllm", "whose sampling defaults are used"),
    _choice("--runner", "auto generate pooling", "generate text or pool embeddings"),
    _choice("--convert", "auto none embed classify", "adapt the model to pooling"),
    _switch("--enable-auto-tool-choice", "let the model call tools"),
    _choice("--tool-call-parser", _TOOL_PARSERS, "how tool calls are written"),
    _choice("--reasoning-parser", _REASONING_PARSERS, "how thoughts are written"),
)

# Harmless in the pages people copy from, and decided by the platform: read past with a warning.
DROPPED: Mapping[str, str] = {
    "--verbose-prompt": "prompts must not reach the logs",
    "--log-prefix": "Moorage sets how the engine logs",
    "--log-timestamps": "Moorage sets how the engine logs",
    "--log-colors": "Moorage sets how the engine logs",
    "--disable-log-stats": "Moorage sets how the engine logs",
    "--disable-log-requests": "Moorage sets how the engine logs",
}

_SCALE = "Set by Moorage. Use x-moorage.scale of this model."
_CONTEXT = "Set by Moorage. Use context_size of this model."
_ARTIFACT = "Set by Moorage from the model's artifact. Package what you need into the artifact."
_DOOR = "Set by Moorage: the engine has one private door, and the gateway is in front of it. Remove it."
_CODE = "Refused: it runs code or tools inside the engine. Remove it."
_LOGS = "Set by Moorage: prompts and answers must not reach logs. Remove it."
_MEMORY = "Set by Moorage from the memory that the replica has. Remove it."
_WEB = "Set by Moorage: engines serve the gateway only, without pages or extra endpoints. Remove it."

# Why a flag that engines do have is not yours to set. Names ending in * stand for all that begin so.
OWNED: Mapping[str, str] = {
    "--ctx-size": _CONTEXT, "-c": _CONTEXT, "--max-model-len": _CONTEXT, "--fit*": _MEMORY,
    "--served-model-name": "Set by Moorage. Use name of this model.",
    "--alias": "Set by Moorage. Use name of this model.", "-a": "Set by Moorage. Use name of this model.",
    "--sleep-idle-seconds": _SCALE, "--enable-sleep-mode": _SCALE, "--data-parallel*": _SCALE, "-dp": _SCALE,
    "--model": "Set by Moorage. Use model of this model.", "-m": "Set by Moorage. Use model of this model.",
    "--model-*": _ARTIFACT, "--hf-*": _ARTIFACT, "-hf": _ARTIFACT, "--docker-repo": _ARTIFACT, "--mmproj*": _ARTIFACT,
    "--lora*": _ARTIFACT, "--enable-lora": _ARTIFACT, "--control-vector*": _ARTIFACT, "--tokenizer": _ARTIFACT,
    "--tokenizer-revision": _ARTIFACT, "--revision": _ARTIFACT, "--code-revision": _ARTIFACT,
    "--load-format": _ARTIFACT,
    "--download-dir": _ARTIFACT, "--chat-template*": _ARTIFACT, "--grammar*": _ARTIFACT, "--json-schema*": _ARTIFACT,
    "--config": _ARTIFACT, "--speculative-config": _ARTIFACT, "--spec-*": _ARTIFACT, "--draft*": _ARTIFACT,
    "--host": _DOOR, "--port": _DOOR, "--uds": _DOOR, "--ssl-*": _DOOR, "--root-path": _DOOR, "--rpc": _DOOR,
    "--reuse-port": _DOOR, "--api-key*": _DOOR, "--api-prefix": _DOOR, "--cors-*": _DOOR, "--allowed-*": _DOOR,
    "--kv-transfer*": _DOOR, "--kv-ip": _DOOR, "--kv-port": _DOOR, "--nnodes": _DOOR, "--master-*": _DOOR,
    "--distributed-executor-backend": _DOOR, "--otlp-traces-endpoint": _DOOR, "--timeout": _DOOR,
    "--threads-http": _DOOR,
    "--trust-remote-code": _CODE, "--trust-request-chat-template": _CODE, "--tool-parser-plugin": _CODE,
    "--reasoning-parser-plugin": _CODE, "--logits-processor*": _CODE, "--middleware": _CODE, "--worker-*": _CODE,
    "--scheduler-cls": _CODE, "--compilation-config": _CODE, "--additional-config": _CODE, "--tools*": _CODE,
    "--tool-server": _CODE, "--agent": _CODE, "--mcp-*": _CODE, "--ui-mcp-proxy": _CODE,
    "--enable-prompt-embeds": _CODE,
    "--verbose": _LOGS, "-v": _LOGS, "--log-*": _LOGS, "--enable-log-*": _LOGS, "--profiler*": _LOGS,
    "--webui*": _WEB, "--ui*": _WEB, "--metrics": _WEB, "--props": _WEB, "--slots": _WEB, "--no-slots": _WEB,
    "--slot-*": _WEB, "--path": _WEB, "--media-path": _WEB, "--models-*": _WEB, "--lookup-cache-*": _WEB,
    "--cache-ram": _MEMORY, "--mlock": _MEMORY, "--device": _MEMORY, "--override-*": _MEMORY, "--swap-space": _MEMORY,
    "--kv-cache-memory-bytes": _MEMORY, "--cpu-offload-gb": _MEMORY,
    "--mmap": "This llama.cpp spells it differently. Write --load-mode mmap.",
    "--no-mmap": "This llama.cpp spells it differently. Write --load-mode none.",
}  # fmt: skip
