"""Makes the folder that a runner reads: hard links to verified blobs, archives unpacked by us, all or nothing.

The folder is built under another name and renamed when it is complete, so whoever sees it sees all of it.
"""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from moorage.artifacts import locks, neighbours, tar
from moorage.artifacts.cursor import chunks_of
from moorage.artifacts.errors import DigestMismatch
from moorage.artifacts.manifest import ArtifactManifest, Layer, Role
from moorage.artifacts.store import Store, remove_folder

FILE_MODE = 0o444
FOLDER_MODE = 0o555


def materialise(store: Store, manifest: ArtifactManifest) -> Path:
    """The model's folder, made now if it is not there, from blobs in the store. Raises DiskFull, HeaderRefused."""
    final = store.model_path(manifest.digest)
    with locks.held(store.locks_path / f"{final.name}.model"):
        if final.is_dir():
            return final
        building = final.with_name(f".{final.name}.building")
        if building.exists():
            remove_folder(building)
        try:
            with store.full_disk_is_a_sentence():
                _build(store, manifest, building)
                building.rename(final)
        finally:
            if building.exists():
                remove_folder(building)
    return final


def _build(store: Store, manifest: ArtifactManifest, building: Path) -> None:
    building.mkdir(mode=0o755)
    paths: list[str] = []
    for layer in manifest.layers:
        blob = store.blob_path(layer.digest)
        if layer.role is Role.ARCHIVE:
            paths += _unpack(blob, layer, building)
            continue
        target = building / layer.file_path
        target.parent.mkdir(parents=True, exist_ok=True)
        os.link(blob, target)
        paths.append(layer.file_path)
    neighbours.check_collisions(paths)
    for folder in [*(path for path in building.rglob("*") if path.is_dir()), building]:
        folder.chmod(FOLDER_MODE)


def _unpack(blob: Path, layer: Layer, building: Path) -> list[str]:
    """Write the members of one archive. They were checked for names and kinds by the reader; nothing is overwritten."""
    paths = []
    hashed = hashlib.sha256()

    def watched(chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            hashed.update(chunk)
            yield chunk

    with blob.open("rb") as file:
        seen = watched(chunks_of(file))
        for member in tar.members(seen, size_bytes=layer.size_bytes):
            target = building / member.path
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("xb") as written:
                for chunk in member.chunks:
                    written.write(chunk)
                written.flush()
                os.fsync(written.fileno())
            target.chmod(FILE_MODE)
            paths.append(member.path)
        for _ in seen:
            pass
    if "sha256:" + hashed.hexdigest() != layer.digest:
        raise DigestMismatch("An archive in the weight store has changed on disk. Pull the model again.")
    return paths
