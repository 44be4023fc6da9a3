"""What a revision pins of each model: digest, engine, served name, and the sizes that follow. Pure.

A pin is decided once, when the revision is made; replicas of a revision never look at a tag or a header again.
"""

import dataclasses
from typing import Any, Final

from moorage.artifacts import memory
from moorage.artifacts.facts import ModelFacts
from moorage.artifacts.models import Artifact
from moorage.compose import flags as compose_flags
from moorage.compose import problems
from moorage.compose.spec import ModelSpec
from moorage.fleet import engines, placement

#: Requests one replica serves at once, where the Compose file's flags do not say.
SLOTS: Final = 4
#: Used where the Compose file names no context size; a model with a shorter one keeps its own.
DEFAULT_CONTEXT: Final = 8192
MIB: Final = 1024**2
GIB: Final = 1024**3
#: vLLM on a CPU: Python with torch, and one GiB of KV cache, the least it takes.
_VLLM_CPU_FLOOR: Final = 4 * GIB
_LLAMACPP_FLOOR: Final = 256 * 1024**2

Kind = engines.ModelKind


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pin:
    """One model of a revision, decided."""

    model_key: str
    served_name: str
    reference: str
    artifact_id: str
    digest: str
    format: str
    quantization: str
    engine: str
    kind: Kind
    context_size: int
    slots: int
    memory_bytes: int
    cpu_millis: int
    gpus: int
    size_bytes: int
    has_chat_template: bool = True
    has_tools: bool = True
    is_all_gpus: bool = False  #: of its node, however many those are
    gpu_total_bytes: int = 0  #: that its devices must have together
    gpu_share_bytes: int = 0  #: instead of whole devices: so much of one
    heads: int = 0  #: its count of devices has to divide them
    priority: placement.Priority = "normal"
    node_labels: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """JSON types only. What came later is left out where it says nothing: the same file stays the same revision."""
        document = dataclasses.asdict(self)
        return {name: value for name, value in document.items() if name not in _LATER or value != _LATER[name]}

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Pin":
        """The inverse of to_json."""
        labels = tuple((name, value) for name, value in document.get("node_labels", ()))
        return cls(**{**document, "node_labels": labels})


#: Fields that pins of old do not have, and what they mean there.
_LATER: Final[dict[str, Any]] = {
    "is_all_gpus": False,
    "gpu_total_bytes": 0,
    "gpu_share_bytes": 0,
    "heads": 0,
    "priority": "normal",
    "node_labels": (),
}


def pin(
    model: ModelSpec, artifact: Artifact, *, served_name: str, lines: dict[str, int]
) -> tuple[Pin | None, tuple[problems.Problem, ...]]:
    """The pin of ``model`` as ``artifact``, or None with everything that stands against it, with lines."""
    found: list[problems.Problem] = []
    path = f"models.{model.key}"
    facts = artifact.model_facts
    engine = engines.for_format(artifact.format)
    if model.driver is not None and model.driver != engine.value:
        found.append(
            _problem(
                f"{path}.driver",
                lines,
                f"{model.reference} is a {artifact.format} model, which {engine.value} serves, not {model.driver}."
                " Remove driver or choose the other artifact.",
            )
        )
    elif model.driver is None:
        found += [
            _problem(f"{path}.runtime_flags", lines, f"{flaw.message} (The artifact is {artifact.format}.)")
            for flaw in compose_flags.check(engine.value, model.flags)
            if flaw.severity == "error"
        ]
    context = model.context_size or min(facts.context_length, DEFAULT_CONTEXT)
    if context > facts.context_length:
        found.append(
            _problem(
                f"{path}.context_size",
                lines,
                f"The model was trained for {facts.context_length} tokens. Ask for at most that many.",
            )
        )
    share = model.placement.gpu_memory_bytes or 0
    gpus = 1 if model.gpus == "all" or share else (model.gpus or 0)
    flags = [(flag.name, flag.value) for flag in model.flags]
    slots = engines.parallel(engine, flags, default=SLOTS)
    on_devices = device_memory(facts, engine=engine, context_size=context, slots=slots) if gpus else 0
    if share and on_devices > share:
        found.append(
            _problem(
                f"{path}.x-moorage.gpu_memory",
                lines,
                f"The model needs about {on_devices / GIB:.1f} GiB of a GPU, and gpu_memory gives it {share / GIB:.1f}."
                " Raise gpu_memory, or take a smaller context, fewer parallel requests or a smaller quantization.",
            )
        )
    if found:
        return None, tuple(found)
    return (
        Pin(
            model_key=model.key,
            served_name=served_name,
            reference=artifact.reference,
            artifact_id=artifact.pk,
            digest=artifact.digest,
            format=artifact.format,
            quantization=facts.quantization_derived,
            engine=engine.value,
            kind=engines.kind_of(engine, flags),
            context_size=context,
            slots=slots,
            memory_bytes=memory_demand(facts, engine=engine, context_size=context, slots=slots, gpus=gpus),
            cpu_millis=1000,
            gpus=gpus,
            size_bytes=artifact.size_bytes,
            has_chat_template=bool(facts.chat_template_digest),
            has_tools=engines.calls_tools(engine, flags, template_has_tools=facts.template_has_tools),
            is_all_gpus=model.gpus == "all",
            gpu_total_bytes=0 if share else on_devices,
            gpu_share_bytes=share,
            heads=facts.head_count if engine is engines.Engine.VLLM and (gpus > 1 or model.gpus == "all") else 0,
            priority=model.placement.priority,
            node_labels=model.placement.node_labels,
        ),
        (),
    )


def device_memory(facts: ModelFacts, *, engine: engines.Engine, context_size: int, slots: int) -> int:
    """Bytes that a model's devices must have together, in whole MiB: weights, cache and what the engine needs.

    vLLM is given nine tenths of each device and takes for its cache what the weights leave; one request of full length
    must fit.
    """
    is_vllm = engine is engines.Engine.VLLM
    estimate = memory.estimate(
        facts, context_size=context_size, parallel=1 if is_vllm else slots, engine=engine.value, element_bytes=2
    )
    needed = estimate.total_bytes * 10 // 9 if is_vllm else estimate.total_bytes
    return -(-needed // MIB) * MIB


def memory_demand(facts: ModelFacts, *, engine: engines.Engine, context_size: int, slots: int, gpus: int) -> int:
    """Bytes of main memory to reserve, rounded up to whole MiB."""
    is_vllm = engine is engines.Engine.VLLM
    estimate = memory.estimate(
        facts,
        context_size=context_size,
        # llama-server keeps a cache for each slot; vLLM's has a size of its own, which its requests share.
        parallel=SLOTS if is_vllm else slots,
        engine=engine.value,
        element_bytes=4 if is_vllm and not gpus else 2,
    )
    wanted = max(estimate.total_bytes, _LLAMACPP_FLOOR)
    if is_vllm:
        # The engine takes its KV cache in whole GiB, a quarter of the limit.
        wanted = max(estimate.weights_bytes + 4 * max(estimate.kv_bytes, GIB), _VLLM_CPU_FLOOR)
    return -(-wanted // MIB) * MIB


def _problem(path: str, lines: dict[str, int], message: str) -> problems.Problem:
    line = lines.get(path) or lines.get(path.rpartition(".")[0]) or 1
    return problems.Problem(path=path, line=line, column=1, message=message, severity="error")
