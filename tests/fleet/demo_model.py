"""The demo models as directories an engine can read, taken from the catalogue by hand."""

import json
import shutil
from pathlib import Path
from typing import Any


def unpack(layout: Path, tag: str, *, into: Path) -> Path:
    """The files of ``tag`` in an OCI layout, under the names their layers say; readable for everybody."""
    manifests = _json(layout / "index.json")["manifests"]
    entry = next(each for each in manifests if each["annotations"]["org.opencontainers.image.ref.name"] == tag)
    into.mkdir(parents=True)
    for layer in _json(_blob(layout, entry["digest"]))["layers"]:
        named = layer.get("annotations", {}).get("org.cncf.model.filepath")
        name = named or ("model.gguf" if "gguf" in layer["mediaType"] else None)
        if name is not None:
            shutil.copyfile(_blob(layout, layer["digest"]), into / name)
            (into / name).chmod(0o444)
    into.chmod(0o755)
    return into


def _blob(layout: Path, digest: str) -> Path:
    return layout / "blobs" / "sha256" / digest.removeprefix("sha256:")


def _json(file: Path) -> Any:
    return json.loads(file.read_text())
