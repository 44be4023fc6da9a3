"""Packs the demo model as OCI image layouts on disk: the catalogue that a fresh instance can serve from.

    python -m runners.demo.package --model /tmp/harbour/hf --gguf /tmp/harbour --catalog runners/demo/catalog

The manifests follow Docker's model artifacts, configuration types v0.1 and v0.2. The same files give the same bytes:
time stamps are fixed, JSON is written in one way, and the standard library suffices.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG_V01 = "application/vnd.docker.ai.model.config.v0.1+json"
CONFIG_V02 = "application/vnd.docker.ai.model.config.v0.2+json"
GGUF = "application/vnd.docker.ai.gguf.v3"
SAFETENSORS = "application/vnd.docker.ai.safetensors"
CONFIG_TAR = "application/vnd.docker.ai.vllm.config.tar"
LICENSE = "application/vnd.docker.ai.license"
MODEL_FILE = "application/vnd.docker.ai.model.file"
FILEPATH = "org.cncf.model.filepath"
REF_NAME = "org.opencontainers.image.ref.name"

CREATED = "2026-11-21T00:00:00Z"
WEIGHTS = "model.safetensors"
LICENSE_FILE = Path(__file__).parent / "LICENSE"
# What an engine reads beside the weights, in the order of the layers.
NEIGHBOURS = (
    "config.json",
    "generation_config.json",
    "special_tokens_map.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@dataclass(frozen=True, kw_only=True)
class Layer:
    """One layer: its media type, its bytes and, in v0.2, the path of the file inside the model's folder."""

    media_type: str
    content: bytes
    filepath: str = ""


@dataclass(kw_only=True)
class Layout:
    """An OCI image layout that is being written: blobs at once, the index at the end."""

    folder: Path
    entries: list[dict[str, Any]] = field(default_factory=list)

    def add(self, content: bytes, media_type: str) -> dict[str, Any]:
        """Stores a blob and answers its descriptor."""
        digest = hashlib.sha256(content).hexdigest()
        blobs = self.folder / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        (blobs / digest).write_bytes(content)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(content)}

    def tag(self, manifest: dict[str, Any], *names: str) -> None:
        """Names a stored manifest; a layout may give one manifest several names."""
        self.entries += [manifest | {"annotations": {REF_NAME: name}} for name in names]

    def close(self) -> None:
        """Writes the two files that make the folder an OCI image layout."""
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.entries}
        (self.folder / "index.json").write_bytes(_json(index))
        (self.folder / "oci-layout").write_bytes(_json({"imageLayoutVersion": "1.0.0"}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the folder that train.py wrote")
    parser.add_argument("--gguf", type=Path, required=True, help="the folder that convert.py wrote")
    parser.add_argument("--catalog", type=Path, required=True, help="folder of the layouts; replaced")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.catalog, ignore_errors=True)
    pack(arguments.model, arguments.gguf, arguments.catalog)
    sizes = [path.stat().st_size for path in arguments.catalog.rglob("*") if path.is_file()]
    print(f"{sum(sizes) / 1e6:.2f} MB in {len(sizes)} files")


def pack(model: Path, gguf: Path, catalog: Path) -> None:
    """Writes both layouts, `harbour` (GGUF) and `harbour-vllm` (safetensors), into the folder `catalog`."""
    weights = (model / WEIGHTS).read_bytes()
    facts = {
        "architecture": "llama",
        "parameters": f"{parameter_count(weights) / 1e6:.2f} M",
        "context_size": json.loads((model / "config.json").read_bytes())["max_position_embeddings"],
    }
    licence = LICENSE_FILE.read_bytes()

    layout = Layout(folder=catalog / "harbour")
    for quantization, tags in (("F16", ("f16-gguf",)), ("Q8_0", ("q8_0", "latest"))):
        content = (gguf / f"harbour-{quantization.lower()}.gguf").read_bytes()
        layers = [
            Layer(media_type=GGUF, content=content),
            Layer(media_type=LICENSE, content=licence),
        ]
        described = facts | {"format": "gguf", "quantization": quantization, "size": _megabytes(content)}
        layout.tag(_manifest(layout, CONFIG_V01, described, layers), *tags)
    layout.close()

    layout = Layout(folder=catalog / "harbour-vllm")
    neighbours = {name: (model / name).read_bytes() for name in NEIGHBOURS}
    described = facts | {"format": "safetensors", "quantization": "F16", "size": _megabytes(weights)}
    layers = [
        Layer(media_type=SAFETENSORS, content=weights, filepath=WEIGHTS),
        *(Layer(media_type=MODEL_FILE, content=content, filepath=name) for name, content in neighbours.items()),
        Layer(media_type=LICENSE, content=licence, filepath="LICENSE"),
    ]
    layout.tag(_manifest(layout, CONFIG_V02, described, layers), "f16", "latest")
    layers = [
        Layer(media_type=SAFETENSORS, content=weights),
        Layer(media_type=CONFIG_TAR, content=tar(neighbours)),
        Layer(media_type=LICENSE, content=licence),
    ]
    layout.tag(_manifest(layout, CONFIG_V01, described, layers), "f16-v0.1")
    layout.close()


def unpack(layout: Path, tag: str, folder: Path) -> None:
    """Writes the files of a tag of a layout of ours into `folder`: the way back, for hand trials and for tests.

    Raises LookupError where the layout has no such tag.
    """
    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    named = {entry["annotations"][REF_NAME]: entry for entry in entries}
    manifest = json.loads(_blob(layout, named[tag]))
    folder.mkdir(parents=True, exist_ok=True)
    for layer in manifest["layers"]:
        content = _blob(layout, layer)
        match layer["mediaType"]:
            case kind if kind == CONFIG_TAR:
                with tarfile.open(fileobj=io.BytesIO(content)) as archive:
                    archive.extractall(folder, filter="data")
            case kind:
                names = {GGUF: "model.gguf", SAFETENSORS: WEIGHTS, LICENSE: "LICENSE"}
                name = layer.get("annotations", {}).get(FILEPATH) or names[kind]
                (folder / name).write_bytes(content)


def parameter_count(weights: bytes) -> int:
    """How many numbers a safetensors file holds, by its header."""
    length = int.from_bytes(weights[:8], "little")
    header: dict[str, Any] = json.loads(weights[8 : 8 + length])
    return sum(math.prod(entry["shape"]) for name, entry in header.items() if name != "__metadata__")


def tar(files: dict[str, bytes]) -> bytes:
    """A tar of the files without owner, time or mode of this machine."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def _manifest(layout: Layout, config_type: str, described: dict[str, Any], layers: Iterable[Layer]) -> dict[str, Any]:
    descriptors = []
    for layer in layers:
        descriptor = layout.add(layer.content, layer.media_type)
        if layer.filepath:
            descriptor["annotations"] = {FILEPATH: layer.filepath}
        descriptors.append(descriptor)
    config = {
        "config": described,
        "descriptor": {"created": CREATED},
        "rootfs": {"type": "rootfs", "diff_ids": [descriptor["digest"] for descriptor in descriptors]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": layout.add(_json(config), config_type),
        "layers": descriptors,
    }
    return layout.add(_json(manifest), MANIFEST)


def _blob(layout: Path, descriptor: dict[str, Any]) -> bytes:
    return (layout / "blobs" / "sha256" / descriptor["digest"].removeprefix("sha256:")).read_bytes()


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def _megabytes(content: bytes) -> str:
    return f"{len(content) / 1e6:.2f} MB"


if __name__ == "__main__":
    main()
