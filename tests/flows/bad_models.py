"""Models that lie, as layouts of a catalogue: a wrong byte behind a right digest, and a hostile header."""

import json
import shutil
import struct
from pathlib import Path

from runners.demo import package


def make_catalog(folder: Path, *, honest: Path) -> None:
    """Copies the ``honest`` catalogue to ``folder`` and adds ``liar`` and ``hostile``, both with the tag q8_0."""
    shutil.copytree(honest, folder)
    liar = folder / "liar"
    shutil.copytree(honest / "harbour", liar)
    weights = liar / "blobs" / "sha256" / layer_digest(liar, "q8_0").removeprefix("sha256:")
    content = bytearray(weights.read_bytes())
    # The last byte is a weight: the header that is read at first stays what it was, and the size too.
    content[-1] ^= 1
    weights.write_bytes(content)
    _pack_hostile(folder / "hostile")


def layer_digest(layout: Path, tag: str) -> str:
    """The digest of the weights behind a tag."""
    entries = json.loads((layout / "index.json").read_bytes())["manifests"]
    digest = next(entry["digest"] for entry in entries if entry["annotations"][package.REF_NAME] == tag)
    manifest = json.loads((layout / "blobs" / "sha256" / digest.removeprefix("sha256:")).read_bytes())
    return str(next(layer["digest"] for layer in manifest["layers"] if layer["mediaType"] == package.GGUF))


def _pack_hostile(folder: Path) -> None:
    """A GGUF file that promises more keys and tensors than there are atoms in it, and a first key of 2^62 bytes."""
    header = b"GGUF" + struct.pack("<IQQ", 3, 1 << 60, 1 << 60) + struct.pack("<Q", 1 << 62) + b"\0" * 4096
    layout = package.Layout(folder=folder)
    layer = layout.add(header, package.GGUF)
    described = {"architecture": "llama", "format": "gguf", "quantization": "Q8_0"}
    config = {"config": described, "rootfs": {"type": "rootfs", "diff_ids": [layer["digest"]]}}
    manifest = {
        "schemaVersion": 2,
        "mediaType": package.MANIFEST,
        "config": layout.add(json.dumps(config).encode(), package.CONFIG_V01),
        "layers": [layer],
    }
    layout.tag(layout.add(json.dumps(manifest).encode(), package.MANIFEST), "q8_0")
    layout.close()
