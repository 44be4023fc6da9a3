"""Hostile safetensors headers and hostile neighbours are refused; honest models give their facts."""

import io
import json
import struct
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moorage.artifacts import neighbours, safetensors_facts
from moorage.artifacts.cursor import chunks_of
from moorage.artifacts.errors import HeaderRefused, UnsupportedArtifact
from moorage.artifacts.safetensors import SafetensorsHeader, read_safetensors
from tests.artifacts.weights import CONFIG_JSON, safetensors


def read(content: bytes) -> SafetensorsHeader:
    return read_safetensors(chunks_of(io.BytesIO(content)), size_bytes=len(content))


def one(shape: list[Any] | None = None, offsets: list[Any] | None = None, dtype: Any = "F16", **more: Any) -> bytes:
    entry = {"dtype": dtype, "shape": shape or [8, 8], "data_offsets": offsets or [0, 128], **more}
    return safetensors({"w": entry})


HOSTILE = {
    "empty": (b"", "ends inside"),
    "length 2**63": (struct.pack("<Q", 2**63) + b"{}", "header claims"),
    "length 100 MB": (struct.pack("<Q", 100_000_000) + b"{}", "header claims"),
    "length past the end": (struct.pack("<Q", 1000) + b"{}", "ends inside"),
    "no object": (safetensors(raw=b"[1]"), "not a JSON object"),
    "no JSON": (safetensors(raw=b"{nonsense"), "not valid JSON"),
    "not UTF-8": (safetensors(raw=b'{"\xff": 1}'), "not valid JSON"),
    "deep nesting": (safetensors(raw=b'{"w":' + b"[" * 200_000 + b"]" * 200_000 + b"}"), "not valid JSON"),
    "overlapping": (
        safetensors(
            {
                "a": {"dtype": "F16", "shape": [8, 4], "data_offsets": [0, 64]},
                "b": {"dtype": "F16", "shape": [8, 6], "data_offsets": [32, 128]},
            }
        ),
        "overlaps",
    ),
    "a hole": (one(shape=[8, 4], offsets=[64, 128]), "hole"),
    "something appended": (safetensors(data=b"\0" * 4096), "fill the file"),
    "cut short": (safetensors(data=b"\0" * 64), "fill the file"),
    "unknown dtype": (one(dtype="PICKLE"), "unknown dtype"),
    "dtype as a list": (one(dtype=["F16"]), "unknown dtype"),
    "wrong size": (one(shape=[8, 9]), "size that its shape"),
    "bits that fill no byte": (one(shape=[3], offsets=[0, 1], dtype="F4"), "size that its shape"),
    "negative": (one(offsets=[-128, 0]), "whole numbers"),
    "float": (one(offsets=[0, 128.0]), "whole numbers"),
    "truth value": (one(shape=[True, 64]), "whole numbers"),
    "number of 5,000 digits": (safetensors(raw=b'{"w":' + b"9" * 5000 + b"}"), "digits"),
    "NaN": (safetensors(raw=b'{"w":NaN}'), "NaN"),
    "duplicate names": (safetensors(raw=b'{"w":{},"w":{}}'), "twice"),
    "nested metadata": (safetensors({"__metadata__": {"a": {"b": "c"}}}), "map of texts"),
    "a member too many": (one(hidden=1), "exactly dtype"),
}


@pytest.mark.parametrize(("content", "reason"), HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_header_is_refused_with_a_sentence(content: bytes, reason: str) -> None:
    with pytest.raises(HeaderRefused) as refusal:
        read(content)

    assert reason in str(refusal.value)
    assert len(str(refusal.value)) < 300


@settings(max_examples=200, deadline=2000)
@given(position=st.integers(0, 280), replacement=st.binary(min_size=1, max_size=8), cut=st.integers(0, 16))
def test_a_mutated_header_is_read_or_refused_and_nothing_else(position: int, replacement: bytes, cut: int) -> None:
    whole = safetensors()
    mutated = whole[:position] + replacement + whole[position + len(replacement) + cut :]

    try:
        read(mutated)
    except HeaderRefused as refusal:
        assert len(str(refusal)) < 400


def test_an_honest_model_gives_its_facts() -> None:
    facts = safetensors_facts.facts_of({"model.safetensors": read(safetensors())}, CONFIG_JSON)

    assert (facts.architecture, facts.context_length, facts.kv_heads_total) == ("LlamaForCausalLM", 512, 4)
    assert (facts.parameters, facts.tensor_bytes, facts.quantization_derived) == (64, 128, "F16")


def test_a_scalar_and_an_empty_tensor_are_legal() -> None:
    content = safetensors(
        {
            "empty": {"dtype": "F32", "shape": [0, 4], "data_offsets": [0, 0]},
            "scalar": {"dtype": "F32", "shape": [], "data_offsets": [0, 4]},
        },
        b"\0" * 4,
    )

    assert [tensor.elements for tensor in read(content).tensors] == [0, 1]


def test_an_index_must_agree_with_the_shards() -> None:
    files = {"a.safetensors": read(one())}
    good, bad = {"w": "a.safetensors"}, {"w": "../../etc/passwd"}

    safetensors_facts.facts_of(files, CONFIG_JSON, {"weight_map": good})

    with pytest.raises(HeaderRefused, match="not part of the model"):
        safetensors_facts.facts_of(files, CONFIG_JSON, {"weight_map": bad})
    with pytest.raises(HeaderRefused, match="does not agree"):
        safetensors_facts.facts_of(files, CONFIG_JSON, {"weight_map": {**good, "other": "a.safetensors"}})


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"architectures": []}, HeaderRefused),
        ({"architectures": ["A", "B"]}, HeaderRefused),
        ({"architectures": ["rm -rf"]}, UnsupportedArtifact),
        ({"num_hidden_layers": True}, HeaderRefused),
        ({"num_hidden_layers": 10**9}, HeaderRefused),
        ({"hidden_size": None}, HeaderRefused),
        ({"max_position_embeddings": "512"}, HeaderRefused),
    ],
)
def test_impossible_configurations_are_refused(changes: dict[str, Any], error: type[Exception]) -> None:
    files = {"model.safetensors": read(safetensors())}

    with pytest.raises(error):
        safetensors_facts.facts_of(files, {**CONFIG_JSON, **changes})


@pytest.mark.parametrize(
    "path",
    [
        "modeling_llama.py", "pytorch_model.bin", "weights.PT", "x.pkl", "a.npy", "m.h5", "libx.so", "inner/run.sh",
        "model.tar.gz", "x.zip", "../config.json", "/etc/passwd", "a//b.json", "./../x.json", ".git/config.json",
        ".env", "a b.json", "a\nb.json", "ünder.json", "-rf.json", "a/b/c/d/e.json", "x" * 129 + ".json", "", "noext",
    ],
)  # fmt: skip
def test_a_dangerous_neighbour_is_refused(path: str) -> None:
    with pytest.raises(HeaderRefused):
        neighbours.check_path(path)


@pytest.mark.parametrize("path", ["config.json", "tokenizer.model", "inner/model.safetensors", "LICENSE", "README.md"])
def test_a_harmless_neighbour_is_let_in(path: str) -> None:
    assert neighbours.check_path(path) == path


def test_names_that_collide_are_refused() -> None:
    with pytest.raises(HeaderRefused, match="twice"):
        neighbours.check_collisions(["Config.json", "config.JSON"])
    with pytest.raises(HeaderRefused, match="as a file and as a folder"):
        neighbours.check_collisions(["a.json", "a.json/b.json"])


@pytest.mark.parametrize("asked", ["auto_map", "custom_pipelines", "trust_remote_code"])
def test_a_configuration_that_asks_for_code_is_refused_at_any_depth(asked: str) -> None:
    nested = json.loads(json.dumps({"text_config": [{"inner": {asked: {"AutoModel": "evil.Model"}}}]}))

    with pytest.raises(HeaderRefused, match=asked):
        neighbours.check_config("config.json", nested)
