"""Artifacts held in memory: for tools that make a model on the spot, and for tests."""

from collections.abc import Iterator
from contextlib import contextmanager

from moorage.artifacts.errors import ArtifactNotFound
from moorage.artifacts.manifest import Descriptor
from moorage.artifacts.reference import DEFAULT_TAG, Reference
from moorage.artifacts.source import BlobStream, ResolvedManifest, checked_manifest, sha256_digest

CHUNK_BYTES = 64 * 1024


class MemorySource:
    """An ArtifactSource over dictionaries. `serve` puts bytes under a digest of choice, even a wrong one."""

    def __init__(self) -> None:
        self._tags: dict[tuple[str, str], str] = {}
        self._blobs: dict[str, bytes] = {}

    def put_blob(self, content: bytes) -> str:
        """Keep a blob and return its digest."""
        digest = sha256_digest(content)
        self._blobs[digest] = content
        return digest

    def put_manifest(self, reference: Reference, content: bytes) -> str:
        """Keep a manifest under the reference's tag (latest if it has none) and return its digest."""
        digest = self.put_blob(content)
        self._tags[reference.name, reference.tag or DEFAULT_TAG] = digest
        return digest

    def serve(self, digest: str, content: bytes) -> None:
        """Answer with these bytes when this digest is asked for."""
        self._blobs[digest] = content

    def resolve(self, reference: Reference) -> ResolvedManifest:
        """See ArtifactSource."""
        digest = reference.digest or self._tags.get((reference.name, reference.tag or DEFAULT_TAG))
        if digest is None or digest not in self._blobs:
            raise ArtifactNotFound(f"There is no model {reference}. Check the name and the tag.")
        return checked_manifest(self._blobs[digest], reference.at(digest))

    @contextmanager
    def open_blob(self, reference: Reference, descriptor: Descriptor, offset: int = 0) -> Iterator[BlobStream]:
        """See ArtifactSource."""
        content = self._blobs.get(descriptor.digest)
        if content is None:
            raise ArtifactNotFound(f"The model {reference} is incomplete: a blob is missing. Push it again.")
        rest = memoryview(content)[offset:]
        yield BlobStream(
            offset=offset, chunks=(bytes(rest[at : at + CHUNK_BYTES]) for at in range(0, len(rest), CHUNK_BYTES))
        )
