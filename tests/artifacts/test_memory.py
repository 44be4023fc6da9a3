"""The memory estimate is an upper bound that grows with what is asked for."""

import dataclasses
import io

from hypothesis import given
from hypothesis import strategies as st

from moorage.artifacts import gguf_facts, memory
from moorage.artifacts.cursor import chunks_of
from moorage.artifacts.gguf import read_gguf
from tests.artifacts import weights

CONTENT = weights.gguf()
FACTS = gguf_facts.facts_of([read_gguf(chunks_of(io.BytesIO(CONTENT)), size_bytes=len(CONTENT))])


def test_weights_and_cache_are_exact() -> None:
    needed = memory.estimate(FACTS, context_size=512, parallel=2, engine="llamacpp")

    # 2 layers of 2 KV heads, keys and values of 16 elements of 2 bytes
    assert needed.kv_bytes == 2 * 2 * (16 + 16) * 2 * 512 * 2
    assert needed.weights_bytes == FACTS.tensor_bytes
    assert needed.total_bytes == needed.weights_bytes + needed.kv_bytes + needed.overhead_bytes


def test_an_engine_that_computes_in_float32_holds_wider_weights_and_a_wider_cache() -> None:
    narrow = memory.estimate(FACTS, context_size=512, parallel=1, engine="vllm")
    wide = memory.estimate(FACTS, context_size=512, parallel=1, engine="vllm", element_bytes=4)

    assert wide.weights_bytes == FACTS.parameters * 4
    assert wide.kv_bytes == 2 * narrow.kv_bytes


def test_a_projector_counts_as_weights() -> None:
    seeing = dataclasses.replace(FACTS, projector_bytes=1_000_000)

    plain = memory.estimate(FACTS, context_size=1, parallel=1, engine="llamacpp")

    assert memory.estimate(seeing, context_size=1, parallel=1, engine="llamacpp").weights_bytes == (
        plain.weights_bytes + 1_000_000
    )


@given(context=st.integers(1, 1_000_000), parallel=st.integers(1, 256))
def test_more_context_or_more_parallel_requests_never_need_less(context: int, parallel: int) -> None:
    less = memory.estimate(FACTS, context_size=context, parallel=parallel, engine="llamacpp")
    more_context = memory.estimate(FACTS, context_size=context + 1, parallel=parallel, engine="llamacpp")
    more_parallel = memory.estimate(FACTS, context_size=context, parallel=parallel + 1, engine="llamacpp")

    assert less.total_bytes < more_context.total_bytes
    assert less.total_bytes < more_parallel.total_bytes
