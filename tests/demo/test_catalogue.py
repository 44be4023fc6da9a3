"""The committed catalogue: whole, small, and the same bytes whenever its own files are packed again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from runners.demo import package

CATALOG = Path(package.__file__).parent / "catalog"
LAYOUTS = ("harbour", "harbour-vllm")
TAGS = {
    "harbour": {"f16-gguf", "q8_0", "latest"},
    "harbour-vllm": {"f16", "f16-v0.1", "latest"},
}


def blob(layout: str, digest: str) -> bytes:
    return (CATALOG / layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes()


def entries(layout: str) -> dict[str, dict]:
    index = json.loads((CATALOG / layout / "index.json").read_bytes())
    return {entry["annotations"][package.REF_NAME]: entry for entry in index["manifests"]}


def manifest(layout: str, tag: str) -> dict:
    return json.loads(blob(layout, entries(layout)[tag]["digest"]))


def contents(folder: Path) -> dict[str, str]:
    """Path in the folder -> SHA-256 of the file, of every file below."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_layout_has_the_tags_that_people_are_told(layout):
    assert set(entries(layout)) == TAGS[layout]
    assert json.loads((CATALOG / layout / "oci-layout").read_bytes()) == {"imageLayoutVersion": "1.0.0"}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_blob_is_named_by_its_digest(layout):
    files = list((CATALOG / layout / "blobs" / "sha256").iterdir())

    assert files
    for file in files:
        assert hashlib.sha256(file.read_bytes()).hexdigest() == file.name


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_blob_is_reached_from_the_index_and_has_the_size_it_says(layout):
    reached = set()

    for entry in entries(layout).values():
        held = json.loads(blob(layout, entry["digest"]))
        for descriptor in (entry, held["config"], *held["layers"]):
            assert len(blob(layout, descriptor["digest"])) == descriptor["size"]
            reached.add(descriptor["digest"].removeprefix("sha256:"))

    assert reached == {file.name for file in (CATALOG / layout / "blobs" / "sha256").iterdir()}


def test_the_whole_catalogue_is_under_12_megabytes():
    total = sum(file.stat().st_size for file in CATALOG.rglob("*") if file.is_file())

    assert total < 12_000_000


@pytest.mark.parametrize(
    ("layout", "tag", "config_type", "layer_types"),
    [
        ("harbour", "f16-gguf", package.CONFIG_V01, [package.GGUF, package.LICENSE]),
        ("harbour", "q8_0", package.CONFIG_V01, [package.GGUF, package.LICENSE]),
        (
            "harbour-vllm",
            "f16",
            package.CONFIG_V02,
            [package.SAFETENSORS, *[package.MODEL_FILE] * len(package.NEIGHBOURS), package.LICENSE],
        ),
        (
            "harbour-vllm",
            "f16-v0.1",
            package.CONFIG_V01,
            [package.SAFETENSORS, package.CONFIG_TAR, package.LICENSE],
        ),
    ],
)
def test_a_tag_is_a_docker_model_artifact(layout, tag, config_type, layer_types):
    held = manifest(layout, tag)
    config = json.loads(blob(layout, held["config"]["digest"]))

    assert held["mediaType"] == package.MANIFEST
    assert held["config"]["mediaType"] == config_type
    assert [layer["mediaType"] for layer in held["layers"]] == layer_types
    assert config["rootfs"] == {
        "type": "rootfs",
        "diff_ids": [layer["digest"] for layer in held["layers"]],
    }
    assert config["descriptor"] == {"created": package.CREATED}
    assert set(config["config"]) == {
        "architecture",
        "context_size",
        "format",
        "parameters",
        "quantization",
        "size",
    }


def test_a_v02_layer_carries_the_path_of_its_file_and_a_v01_layer_carries_none():
    new = manifest("harbour-vllm", "f16")["layers"]
    old = manifest("harbour-vllm", "f16-v0.1")["layers"] + manifest("harbour", "q8_0")["layers"]

    assert [layer["annotations"][package.FILEPATH] for layer in new] == [
        package.WEIGHTS,
        *package.NEIGHBOURS,
        "LICENSE",
    ]
    assert all("annotations" not in layer for layer in old)


def test_the_latest_tags_are_the_smallest_gguf_and_the_safetensors():
    assert entries("harbour")["latest"]["digest"] == entries("harbour")["q8_0"]["digest"]
    assert entries("harbour-vllm")["latest"]["digest"] == entries("harbour-vllm")["f16"]["digest"]


def test_both_safetensors_tags_share_their_weights():
    shared = {manifest("harbour-vllm", tag)["layers"][0]["digest"] for tag in ("f16", "f16-v0.1")}

    assert len(shared) == 1


def test_packing_the_committed_files_again_gives_the_same_bytes(tmp_path):
    package.unpack(CATALOG / "harbour-vllm", "f16", tmp_path / "model")
    (tmp_path / "gguf").mkdir()
    for tag, name in (("f16-gguf", "harbour-f16.gguf"), ("q8_0", "harbour-q8_0.gguf")):
        package.unpack(CATALOG / "harbour", tag, tmp_path / tag)
        (tmp_path / tag / "model.gguf").rename(tmp_path / "gguf" / name)

    package.pack(tmp_path / "model", tmp_path / "gguf", tmp_path / "catalog")

    assert contents(tmp_path / "catalog") == contents(CATALOG)


def test_the_v01_and_v02_tags_unpack_to_the_same_folder(tmp_path):
    package.unpack(CATALOG / "harbour-vllm", "f16", tmp_path / "new")
    package.unpack(CATALOG / "harbour-vllm", "f16-v0.1", tmp_path / "old")

    assert contents(tmp_path / "new") == contents(tmp_path / "old")
