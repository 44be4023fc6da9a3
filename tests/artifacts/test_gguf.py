"""Hostile GGUF headers are refused with one sentence, in bounded time and memory; honest ones give their facts."""

import io
import struct
import time
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.artifacts import gguf_facts
from moorage.artifacts.cursor import chunks_of
from moorage.artifacts.errors import HeaderRefused, UnsupportedArtifact
from moorage.artifacts.facts import ModelFacts
from moorage.artifacts.gguf import GgufHeader, read_gguf
from tests.artifacts import weights
from tests.artifacts.weights import ARRAY, LLAMA_KEYS, STRING, U32, key, string, strings, text, u32


def read(content: bytes, *, size_bytes: int | None = None, chunk_bytes: int = 4096) -> GgufHeader:
    chunks = chunks_of(io.BytesIO(content), chunk_bytes)
    return read_gguf(chunks, size_bytes=len(content) if size_bytes is None else size_bytes)


def header(tensors: int, keys: int, rest: bytes = b"", version: int = 3) -> bytes:
    return b"GGUF" + struct.pack("<IQQ", version, tensors, keys) + rest


def one_key(value: bytes, name: str | bytes = "general.name") -> bytes:
    return header(0, 1, key(name, value) + b"\0" * 64)


def one_tensor(
    name: str | bytes = "w", dimensions: tuple[int, ...] = (32,), kind: int = 1, offset: int = 0, data: int = 64
) -> bytes:
    head = header(1, 0, weights.tensor(name, dimensions, kind, offset))
    return head + b"\0" * (-len(head) % 32) + b"\0" * data


DEEP = struct.pack("<IIQ", ARRAY, ARRAY, 1) * 5000

HOSTILE = {
    "empty": (b"", "ends inside"),
    "magic only": (b"GGUF", "ends inside"),
    "another magic": (b"PK\x03\x04" + b"\0" * 60, "does not begin with GGUF"),
    "version 2**32-1": (header(0, 0, version=2**32 - 1), "version"),
    "version 1": (header(0, 0, version=1), "version"),
    "big-endian": (b"GGUF" + struct.pack(">IQQ", 3, 0, 0), "big-endian"),
    "2**63 tensors": (header(2**63, 0), "tensors"),
    "2**63 keys": (header(0, 2**63), "keys"),
    "more keys than bytes": (header(0, 4000), "ends inside"),
    "string of 2**61 bytes": (one_key(struct.pack("<IQ", STRING, 2**61)), "string claims"),
    "string past the end": (one_key(struct.pack("<IQ", STRING, 2**20)), "ends inside"),
    "array of 2**60": (one_key(struct.pack("<IIQ", ARRAY, U32, 2**60)), "elements"),
    "array past the end": (one_key(struct.pack("<IIQ", ARRAY, U32, 2**20)), "ends inside"),
    "array of strings past the end": (one_key(struct.pack("<IIQ", ARRAY, STRING, 2**20)), "ends inside"),
    "more strings than time": (one_key(struct.pack("<IIQ", ARRAY, STRING, 2**23)), "strings in arrays"),
    "nested arrays 5,000 deep": (one_key(DEEP), "array of arrays"),
    "value type 99": (one_key(struct.pack("<I", 99)), "unknown value type"),
    "element type 99": (one_key(struct.pack("<IIQ", ARRAY, 99, 1)), "unknown element type"),
    "alignment 0": (one_key(u32(0), "general.alignment"), "alignment"),
    "alignment 3": (one_key(u32(3), "general.alignment"), "alignment"),
    "alignment 2**31": (one_key(u32(2**31), "general.alignment"), "alignment"),
    "alignment as text": (one_key(string("32"), "general.alignment"), "alignment"),
    "dimensions that overflow": (one_tensor(dimensions=(2**32, 2**32, 2**32, 2**32)), "impossible"),
    "a dimension of zero": (one_tensor(dimensions=(0,)), "impossible"),
    "2**31 dimensions": (header(1, 0, text("w") + struct.pack("<I", 2**31) + b"\0" * 64), "dimensions"),
    "offset 2**63": (one_tensor(offset=2**63), "does not follow"),
    "offset into another": (one_tensor(offset=32), "does not follow"),
    "tensor type 99": (one_tensor(kind=99), "unknown type"),
    "a removed tensor type": (one_tensor(kind=4), "unknown type"),
    "rows that fill no block": (one_tensor(kind=8, dimensions=(33,)), "whole blocks"),
    "duplicate keys": (header(0, 2, key("a", u32(1)) * 2), "twice"),
    "duplicate tensors": (
        header(2, 0, weights.tensor("w", (32,), 1, 0) + weights.tensor("w", (32,), 1, 64)) + b"\0" * 256,
        "twice",
    ),
    "bad UTF-8 in a value": (one_key(string(b"\xff\xfe")), "UTF-8"),
    "bad UTF-8 in a tensor's name": (one_tensor(name=b"\xff"), "UTF-8"),
    "a key that is no text": (one_key(u32(1), b"\xffkey"), "printable ASCII"),
    "a key of no length": (one_key(u32(1), ""), "0 bytes"),
    "a key of 2**62 bytes": (header(0, 1, struct.pack("<Q", 2**62) + b"\0" * 64), "A key has"),
    "a name of 64 bytes": (one_tensor(name="w" * 64), "name has 64 bytes"),
    "a number that is not finite": (one_key(struct.pack("<If", 6, float("nan"))), "finite"),
    "a truth value of 2": (one_key(struct.pack("<IB", 7, 2)), "true nor false"),
    "a template of 1 MiB": (one_key(string(b" " * 2**20), "tokenizer.chat_template"), "chat template"),
    "data cut short": (one_tensor(data=32), "past the end"),
    "a zip behind the data": (one_tensor(data=64 + 4096), "belong to nothing"),
}


@pytest.mark.parametrize(("content", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_header_is_refused_with_a_sentence(content: bytes, reason: str) -> None:
    with pytest.raises(HeaderRefused) as refusal:
        read(content)

    assert reason in str(refusal.value)
    assert str(refusal.value).endswith((".", "again"))
    assert len(str(refusal.value)) < 300


def test_a_valid_file_cut_anywhere_in_its_header_is_refused() -> None:
    whole = weights.gguf()
    header_bytes = whole.index(b"\x11" * 64)

    for length in range(header_bytes):
        with pytest.raises(HeaderRefused):
            read(whole[:length])


def test_a_stream_that_ends_before_its_promised_size_is_refused() -> None:
    whole = weights.gguf()

    with pytest.raises(HeaderRefused, match="shorter than its descriptor"):
        read(whole[:200], size_bytes=len(whole))


def test_a_sparse_file_of_two_gigabytes_costs_no_time(tmp_path: Path) -> None:
    path = tmp_path / "sparse.gguf"
    with path.open("wb") as file:
        file.write(header(60_000, 4_000))
        file.truncate(2 * 1024**3)
    began = time.monotonic()

    with path.open("rb") as file, pytest.raises(HeaderRefused):
        read_gguf(chunks_of(file), size_bytes=2 * 1024**3)

    assert time.monotonic() - began < 1


def _costly(strings_in_all: int) -> bytes:
    many = struct.pack("<IIQ", ARRAY, STRING, strings_in_all) + b"\0" * (8 * strings_in_all)
    return header(0, 2, key("tokenizer.ggml.merges", many))


def test_the_longest_list_of_strings_costs_bounded_time() -> None:
    content = _costly(2 * 1024 * 1024)
    began = time.process_time()

    with pytest.raises(HeaderRefused):
        read(content, chunk_bytes=256 * 1024)

    assert time.process_time() - began < 5


def test_a_long_list_of_strings_costs_no_memory() -> None:
    content = _costly(64 * 1024)
    tracemalloc.start()

    with pytest.raises(HeaderRefused):
        read(content)

    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 1024 * 1024


@pytest.mark.parametrize("chunk_bytes", [1, 7, 8, 9, 64])
def test_strings_are_passed_over_wherever_the_chunks_end(chunk_bytes: int) -> None:
    words = ["", "a", "seven..", "eight...", "a longer one that spans several chunks", ""]
    content = weights.gguf({**LLAMA_KEYS, "tokenizer.ggml.merges": strings(words), "last": string("here")})

    assert read(content, chunk_bytes=chunk_bytes).values["last"] == "here"


@settings(max_examples=300, deadline=2000)
@given(
    position=st.integers(0, 900),
    replacement=st.binary(min_size=1, max_size=16),
    cut=st.integers(0, 64),
)
def test_a_mutated_header_is_read_or_refused_and_nothing_else(position: int, replacement: bytes, cut: int) -> None:
    whole = weights.gguf()
    mutated = whole[:position] + replacement + whole[position + len(replacement) + cut :]

    try:
        gguf_facts.facts_of([read(mutated, size_bytes=len(whole))])
    except (HeaderRefused, UnsupportedArtifact) as refusal:
        assert len(str(refusal)) < 400


def test_an_honest_file_gives_its_facts() -> None:
    content = weights.gguf()

    facts = gguf_facts.facts_of([read(content, chunk_bytes=7)])

    assert (facts.architecture, facts.context_length, facts.block_count) == ("llama", 512, 2)
    assert (facts.head_count, facts.head_count_kv, facts.kv_heads_total, facts.key_length) == (4, 2, 4, 16)
    assert (facts.parameters, facts.tensor_bytes, facts.file_bytes) == (4352, 8704, len(content))
    assert (facts.quantization_claimed, facts.quantization_derived) == ("F16", "F16")
    assert facts.vocabulary_size == 4
    assert facts.chat_template_digest == weights.digest_of(b"{{ messages }}")
    assert not facts.template_has_tools


def test_a_template_with_a_place_for_tools_is_known() -> None:
    keys = {**LLAMA_KEYS, "tokenizer.chat_template": string("{% if tools %}{{ tools }}{% endif %}")}

    assert gguf_facts.facts_of([read(weights.gguf(keys))]).template_has_tools


def test_facts_that_were_read_before_tools_were_asked_for_say_yes() -> None:
    stored = gguf_facts.facts_of([read(weights.gguf())]).to_json()
    del stored["template_has_tools"]

    assert ModelFacts.from_json(stored).template_has_tools


def test_the_quantization_is_derived_from_the_tensors_and_not_from_the_claim() -> None:
    facts = gguf_facts.facts_of([read(weights.gguf(kind=weights.Q8_0_TYPE))])

    assert facts.quantization_claimed == "F16"
    assert facts.quantization_derived == "Q8_0"


def test_layers_without_attention_count_no_cache() -> None:
    per_layer = struct.pack("<IIQ2I", ARRAY, U32, 2, 0, 2)

    facts = gguf_facts.facts_of([read(weights.gguf({**LLAMA_KEYS, "llama.attention.head_count_kv": per_layer}))])

    assert (facts.head_count_kv, facts.kv_heads_total) == (2, 2)


def test_two_shards_add_up() -> None:
    split = {"split.count": u32(2), "split.tensors.count": u32(2)}
    first = weights.gguf({**LLAMA_KEYS, **split, "split.no": u32(0)}, tensors=[("a.weight", (64, 4))])
    second = weights.gguf({**split, "split.no": u32(1)}, tensors=[("b.weight", (64, 4))])

    facts = gguf_facts.facts_of([read(first), read(second)])

    assert (facts.tensor_count, facts.parameters) == (2, 512)
    with pytest.raises(HeaderRefused, match="Shard 1 of 2"):
        gguf_facts.facts_of([read(second), read(first)])
    with pytest.raises(HeaderRefused, match="Shard 1 of 1"):
        gguf_facts.facts_of([read(first)])


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"llama.context_length": u32(0)}, "context_length"),
        ({"llama.context_length": u32(2**31)}, "context_length"),
        ({"llama.block_count": u32(100_000)}, "block_count"),
        ({"llama.attention.head_count": u32(0)}, "head_count"),
        ({"llama.attention.head_count": string("four")}, "head_count"),
        ({"llama.embedding_length": strings([])}, "embedding_length"),
        ({"general.architecture": string("sleeper")}, "does not serve the architecture 'sleeper'"),
        ({"general.type": string("adapter")}, "adapter"),
    ],
)
def test_impossible_facts_are_refused(changes: dict[str, bytes], reason: str) -> None:
    parsed = read(weights.gguf({**LLAMA_KEYS, **changes}))

    with pytest.raises((HeaderRefused, UnsupportedArtifact), match=reason):
        gguf_facts.facts_of([parsed])


def test_the_tables_of_types_are_the_ones_that_ggml_publishes() -> None:
    constants = pytest.importorskip("gguf.constants", reason="the gguf package is installed with the demo extra only")
    from moorage.artifacts.gguf_types import TENSOR_TYPES

    theirs = {kind.value: (kind.name, *sizes) for kind, sizes in constants.GGML_QUANT_SIZES.items()}

    assert {number: theirs[number] for number in TENSOR_TYPES if number in theirs} == {
        number: entry for number, entry in TENSOR_TYPES.items() if number in theirs
    }
