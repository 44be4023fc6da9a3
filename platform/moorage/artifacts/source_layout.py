"""The catalogue on disk: one OCI image layout a model, `<catalogue>/<name>/`, tags in its index.json.

The layout belongs to the operator, its bytes are still hashed like anybody's. No name from outside becomes a path
before it has matched the reference grammar, and no symbolic link is followed inside a layout.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from moorage.artifacts import strict_json
from moorage.artifacts.cursor import chunks_of
from moorage.artifacts.errors import ArtifactNotFound, HeaderRefused
from moorage.artifacts.manifest import MAX_MANIFEST_BYTES, Descriptor
from moorage.artifacts.reference import DEFAULT_TAG, Reference, is_digest
from moorage.artifacts.source import BlobStream, ResolvedManifest, checked_manifest

REF_NAME = "org.opencontainers.image.ref.name"
LAYOUT_VERSION = "1.0.0"


class LayoutSource:
    """An ArtifactSource over a folder of OCI image layouts."""

    def __init__(self, catalogue: Path) -> None:
        self._catalogue = catalogue

    def names(self) -> list[str]:
        """The models of the catalogue as `<name>:<tag>`, sorted."""
        if not self._catalogue.is_dir():
            return []
        folders = sorted(folder.name for folder in self._catalogue.iterdir() if (folder / "oci-layout").is_file())
        return [f"{name}:{tag}" for name in folders for tag in sorted(self._tags(self._catalogue / name))]

    def resolve(self, reference: Reference) -> ResolvedManifest:
        """See ArtifactSource."""
        folder = self._folder(reference)
        digest = reference.digest or self._tags(folder).get(reference.tag or DEFAULT_TAG)
        if digest is None:
            known = ", ".join(self.names()) or "nothing"
            raise ArtifactNotFound(f"There is no {reference} in the catalogue. It holds {known}.")
        with _opened(_blob_path(folder, digest), reference) as file:
            content = file.read(MAX_MANIFEST_BYTES + 1)
        return checked_manifest(content, reference.at(digest))

    @contextmanager
    def open_blob(self, reference: Reference, descriptor: Descriptor, offset: int = 0) -> Iterator[BlobStream]:
        """See ArtifactSource."""
        with _opened(_blob_path(self._folder(reference), descriptor.digest), reference) as file:
            file.seek(offset)
            yield BlobStream(offset=offset, chunks=chunks_of(file))

    def _folder(self, reference: Reference) -> Path:
        folder = self._catalogue / reference.repository
        if "/" in reference.repository or not (folder / "oci-layout").is_file():
            known = ", ".join(self.names()) or "nothing"
            raise ArtifactNotFound(f"There is no {reference} in the catalogue. It holds {known}.")
        return folder

    def _tags(self, folder: Path) -> dict[str, str]:
        """Tag -> digest, from the layout's index."""
        path = folder / "index.json"
        with _opened(path, folder.name) as file:
            index = strict_json.parse(file.read(MAX_MANIFEST_BYTES), what=f"{path.name} of {folder.name}")
        entries = index.get("manifests")
        if not isinstance(entries, list):
            raise HeaderRefused(f"index.json of {folder.name} has no list of manifests.")
        tags: dict[str, str] = {}
        for entry in entries:
            annotations = entry.get("annotations") if isinstance(entry, dict) else None
            tag = annotations.get(REF_NAME) if isinstance(annotations, dict) else None
            digest = entry.get("digest") if isinstance(entry, dict) else None
            if isinstance(tag, str) and isinstance(digest, str) and is_digest(digest):
                # Some tools write the whole reference here; the tag is what follows the last colon.
                tags[tag.rpartition(":")[2]] = digest
        return tags


def _blob_path(folder: Path, digest: str) -> Path:
    assert is_digest(digest), digest
    return folder / "blobs" / "sha256" / digest.removeprefix("sha256:")


@contextmanager
def _opened(path: Path, what: object) -> Iterator[BinaryIO]:
    """A regular file, opened without following a link or waiting at a pipe."""
    try:
        number = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise ArtifactNotFound(f"The model {what} is incomplete in the catalogue. Pack it again.") from error
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise ArtifactNotFound(f"The model {what} has something that is not a file. Pack it again.")
    with os.fdopen(number, "rb") as file:
        yield file
