"""How much memory a model needs to be served: weights, the KV cache at full length, what the engine needs around it.

An upper bound on purpose: sliding windows, latent attention and recurrent layers need less than this. The figures come
from headers that were checked, so nothing here can overflow or be negative.
"""

from dataclasses import dataclass

from moorage.artifacts.facts import ModelFacts
from moorage.compose.spec import Driver

# What the program holds before any model: measured resident size, rounded up.
_PROGRAM_BYTES: dict[Driver, int] = {"llamacpp": 64 * 1024**2, "vllm": 700 * 1024**2}
# Tokens that are computed at once; the compute buffer grows with it.
_BATCH: dict[Driver, int] = {"llamacpp": 512, "vllm": 2048}
_MARGIN_PERCENT = 10


@dataclass(frozen=True, kw_only=True)
class MemoryEstimate:
    """Bytes, each part an upper bound; `total_bytes` is what a placement must reserve."""

    weights_bytes: int
    kv_bytes: int
    overhead_bytes: int

    @property
    def total_bytes(self) -> int:
        """All of it."""
        return self.weights_bytes + self.kv_bytes + self.overhead_bytes


def estimate(
    facts: ModelFacts, *, context_size: int, parallel: int, engine: Driver, element_bytes: int = 2
) -> MemoryEstimate:
    """What serving needs with `parallel` requests of `context_size` tokens each.

    `element_bytes` is the width in which the engine keeps the cache and unquantized weights: 2, or 4 where it computes
    in float32 (vLLM on a CPU).
    """
    assert context_size >= 1 and parallel >= 1 and element_bytes in (1, 2, 4), (context_size, parallel, element_bytes)
    weights = facts.tensor_bytes + facts.projector_bytes
    if engine == "vllm" and element_bytes == 4:
        # Half-precision weights are widened when they are loaded.
        weights = max(weights, facts.parameters * 4)
    per_token = facts.kv_heads_total * (facts.key_length + facts.value_length) * element_bytes
    kv = per_token * context_size * parallel
    buffers = _BATCH[engine] * 4 * (facts.vocabulary_size + 8 * facts.embedding_length)
    overhead = _PROGRAM_BYTES[engine] + buffers
    overhead += (weights + kv + overhead) * _MARGIN_PERCENT // 100
    return MemoryEstimate(weights_bytes=weights, kv_bytes=kv, overhead_bytes=overhead)
