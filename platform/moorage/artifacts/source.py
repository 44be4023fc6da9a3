"""The port through which bytes of models come: a registry, a catalogue on disk, memory. It moves bytes and proves none.

The store hashes what a source gives; a source that lies is caught there. `resolve` is the exception: a manifest is
small, so each adapter compares it with its digest before handing it out.
"""

import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from moorage.artifacts.errors import DigestMismatch
from moorage.artifacts.manifest import Descriptor
from moorage.artifacts.reference import Reference


@dataclass(frozen=True, kw_only=True)
class ResolvedManifest:
    """The raw bytes of a manifest (or index) and their sha256 digest."""

    digest: str
    content: bytes


@dataclass(frozen=True, kw_only=True)
class BlobStream:
    """Bytes of a blob from `offset` on. The offset may be smaller than the one asked for: then begin again there."""

    offset: int
    chunks: Iterator[bytes]


class ArtifactSource(Protocol):
    """Where artifacts come from. All methods may be called from several threads, each with its own source."""

    def resolve(self, reference: Reference) -> ResolvedManifest:
        """Fetch the manifest that the reference names now: by its digest if it has one, else by its tag.

        Idempotent. The content has been hashed and agrees with the digest returned, and with the one asked for.
        Raises ArtifactNotFound, RegistryDenied, RegistryRefused, RegistryUnreachable, DigestMismatch.
        """
        ...

    def open_blob(
        self, reference: Reference, descriptor: Descriptor, offset: int = 0
    ) -> AbstractContextManager[BlobStream]:
        """Open one blob of the reference's repository for reading, from `offset` on if the source can.

        Leaving the context frees connection or file, also in the middle. Never gives more bytes than the descriptor's
        size allows plus one chunk; what it gives is *not* verified. A stream that breaks raises RegistryUnreachable
        while it is read. Raises on opening like `resolve`.
        """
        ...


def sha256_digest(content: bytes) -> str:
    """`sha256:` and the hexadecimal hash of the bytes."""
    return "sha256:" + hashlib.sha256(content).hexdigest()


def checked_manifest(content: bytes, reference: Reference) -> ResolvedManifest:
    """The manifest with its digest. Raises DigestMismatch if the reference asks for another digest."""
    digest = sha256_digest(content)
    if reference.digest is not None and digest != reference.digest:
        raise DigestMismatch(f"The manifest of {reference} is not the one that the digest names. Nothing was kept.")
    return ResolvedManifest(digest=digest, content=content)


def blob_content(source: ArtifactSource, reference: Reference, descriptor: Descriptor) -> bytes:
    """A small blob whole and verified: size and digest. The caller has bounded the size."""
    held = bytearray()
    with source.open_blob(reference, descriptor) as stream:
        for chunk in stream.chunks:
            held += chunk
            if len(held) > descriptor.size_bytes:
                break
    content = bytes(held)
    if len(content) != descriptor.size_bytes or sha256_digest(content) != descriptor.digest:
        raise DigestMismatch(f"A blob of {reference} is not the one that its digest names. Nothing was kept.")
    return content
