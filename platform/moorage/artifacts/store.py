"""The node's store of weights, addressed by content: whatever lies under a digest has been hashed and is that digest.

    <root>/blobs/sha256/<hex>             whole, verified, read-only
    <root>/blobs/sha256/<hex>.partial     on its way; resumed after a crash or a broken connection
    <root>/models/<manifest hex>/         one folder a model, hard links to blobs, read-only, complete once it exists
    <root>/locks/<hex>                    who is fetching what now

A wrong byte, a header that is refused or a full disk leaves nothing of that pull behind; a broken connection leaves the
partial file, because the next attempt goes on there.
"""

import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from moorage.artifacts import locks
from moorage.artifacts.errors import DigestMismatch, DiskFull, RegistryUnreachable
from moorage.artifacts.manifest import ArtifactManifest, Descriptor
from moorage.artifacts.reference import Reference, is_digest
from moorage.artifacts.source import ArtifactSource

Progress = Callable[[int, int], None]
Opener = Callable[[Path, str], BinaryIO]

MAX_BREAKS = 5
# Left free for the database and the journals that share the disk.
RESERVE_BYTES = 64 * 1024 * 1024
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def no_progress(bytes_done: int, bytes_total: int) -> None:
    """The progress of a pull that nobody watches."""


def open_unbuffered(path: Path, mode: str) -> BinaryIO:
    """A file whose writes reach the file system, and its complaints, at once."""
    return path.open(mode, buffering=0)  # type: ignore[return-value]


class Store:
    """One store of one node. Safe to use from several threads and processes on the same root."""

    def __init__(self, root: Path, *, opener: Opener = open_unbuffered, reserve_bytes: int = RESERVE_BYTES) -> None:
        self._root = root
        self._opener = opener
        self._reserve_bytes = reserve_bytes
        self._blobs = root / "blobs" / "sha256"
        self._models = root / "models"
        self._locks = self.locks_path = root / "locks"

    def has(self, manifest: ArtifactManifest) -> bool:
        """Whether the model's folder is there, complete."""
        return self.model_path(manifest.digest).is_dir()

    def model_path(self, digest: str) -> Path:
        """Where the model of this manifest digest lies, or would."""
        return self._models / _hex(digest)

    def blob_path(self, digest: str) -> Path:
        """Where a verified blob lies, or would."""
        return self._blobs / _hex(digest)

    def bytes_here(self, wanted: Descriptor) -> int:
        """How much of a blob is here: all of it, or the part that an earlier fetch left."""
        for path in (self.blob_path(wanted.digest), _partial(self.blob_path(wanted.digest))):
            with suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    def fetch(
        self,
        source: ArtifactSource,
        reference: Reference,
        manifest: ArtifactManifest,
        progress: Progress = no_progress,
    ) -> None:
        """Bring all layers into the store, verified; blobs that are there cost nothing.

        `progress(bytes_done, bytes_total)` is called as bytes arrive; what it raises ends the pull, which a later one
        resumes. Raises DigestMismatch, DiskFull, and what the source raises.
        """
        for folder in (self._blobs, self._models, self._locks):
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        layers = {layer.digest: layer for layer in manifest.layers}.values()
        total, done = manifest.size_bytes, 0
        added: list[Path] = []
        try:
            self._require_room(manifest)
            for layer in layers:
                before = done
                if self._fetch_blob(source, reference, layer, lambda got, at=before: progress(at + got, total)):  # type: ignore[misc]
                    added.append(self.blob_path(layer.digest))
                done += layer.size_bytes
                progress(done, total)
        except (DigestMismatch, DiskFull):
            self.remove_unused(added)
            raise

    def remove_unused(self, blobs: list[Path]) -> None:
        """Remove blobs that no model's folder links to."""
        for path in blobs:
            with locks.held(self._locks / path.name):
                if path.exists() and path.stat().st_nlink == 1:
                    path.unlink()

    def discard(self, manifest: ArtifactManifest) -> None:
        """Remove the model's folder, if it is there, and every blob of it that no other model needs."""
        folder = self.model_path(manifest.digest)
        if folder.is_dir():
            with locks.held(self._locks / f"{folder.name}.model"):
                remove_folder(folder)
        self.remove_unused(sorted({self.blob_path(layer.digest) for layer in manifest.layers}))

    @contextmanager
    def full_disk_is_a_sentence(self) -> Iterator[None]:
        """Turn the system's complaint about a full disk into DiskFull."""
        try:
            yield
        except OSError as error:
            if error.errno not in _FULL:
                raise
            raise DiskFull from error

    def _require_room(self, manifest: ArtifactManifest) -> None:
        needed = 0
        for digest, size in {layer.digest: layer.size_bytes for layer in manifest.layers}.items():
            path = self.blob_path(digest)
            if not path.exists():
                partial = _partial(path)
                needed += size - (partial.stat().st_size if partial.exists() else 0)
        free = shutil.disk_usage(self._root).free
        if needed and needed + self._reserve_bytes > free:
            raise DiskFull(
                f"The model needs {needed} bytes on the node and {max(0, free - self._reserve_bytes)} are free. "
                "Free some space in the weight store and try again."
            )

    def _fetch_blob(
        self, source: ArtifactSource, reference: Reference, wanted: Descriptor, progress: Callable[[int], None]
    ) -> bool:
        """Fetch one blob unless it is there. Returns whether it was fetched."""
        path = self.blob_path(wanted.digest)
        with locks.held(self._locks / path.name):
            if path.exists():
                return False
            partial = _partial(path)
            try:
                with self.full_disk_is_a_sentence():
                    if not self._download(source, reference, wanted, partial, progress):
                        # A part from an earlier life was wrong: bytes may have been lost in a crash. Once more, whole.
                        partial.unlink()
                        self._download(source, reference, wanted, partial, progress)
                    partial.chmod(0o444)
                    partial.rename(path)
                    _sync_folder(path.parent)
            except (DigestMismatch, DiskFull):
                partial.unlink(missing_ok=True)
                raise
            return True

    def _download(
        self,
        source: ArtifactSource,
        reference: Reference,
        wanted: Descriptor,
        partial: Path,
        progress: Callable[[int], None],
    ) -> bool:
        """Fill the partial file. False if it is wrong and began with bytes of an earlier attempt.

        1. Hash what is already there. 2. Ask for the rest. 3. Hash while writing, never past the size.
        4. On a broken stream go on a few times, as long as each attempt brings something. 5. Compare, sync.
        """
        if partial.exists():
            partial.chmod(0o644)
        with self._opener(partial, "r+b" if partial.exists() else "w+b") as file:
            hashed = _Hashed()
            hashed.begin_with(file, wanted.size_bytes)
            began_with, breaks = hashed.size, 0
            while hashed.size < wanted.size_bytes:
                before = hashed.size
                try:
                    self._append(source, reference, wanted, file, hashed, progress)
                except RegistryUnreachable:
                    breaks += 1
                    if breaks > MAX_BREAKS or hashed.size <= before:
                        os.fsync(file.fileno())
                        raise
            if hashed.digest == wanted.digest:
                os.fsync(file.fileno())
                return True
        if began_with:
            return False
        raise DigestMismatch(
            f"A file of {reference} is not the one that its digest names. Nothing was kept; push the model again."
        )

    def _append(
        self,
        source: ArtifactSource,
        reference: Reference,
        wanted: Descriptor,
        file: BinaryIO,
        hashed: "_Hashed",
        progress: Callable[[int], None],
    ) -> None:
        """Ask for what is missing and write it; `hashed` is in step with the file also when this raises."""
        with source.open_blob(reference, wanted, hashed.size) as stream:
            if stream.offset != hashed.size:
                # The source cannot go on where we are; begin where it does, and only the beginning makes sense.
                if stream.offset != 0:
                    raise DigestMismatch(f"The registry sends another part of {reference} than it was asked for.")
                hashed.begin_anew(file)
            file.seek(hashed.size)
            for chunk in stream.chunks:
                if hashed.size + len(chunk) > wanted.size_bytes:
                    raise DigestMismatch(f"A file of {reference} is longer than the manifest says. Nothing was kept.")
                _write_all(file, chunk)
                hashed.add(chunk)
                progress(hashed.size)
        if hashed.size < wanted.size_bytes:
            raise RegistryUnreachable(f"A file of {reference} ended early. Try again.")


class _Hashed:
    """A running hash and how many bytes are in it."""

    def __init__(self) -> None:
        self._hash = hashlib.sha256()
        self.size = 0

    @property
    def digest(self) -> str:
        return "sha256:" + self._hash.hexdigest()

    def add(self, chunk: bytes) -> None:
        self._hash.update(chunk)
        self.size += len(chunk)

    def begin_with(self, file: BinaryIO, most: int) -> None:
        """Take in what a partial file holds; one that is too long is emptied."""
        file.seek(0)
        while chunk := file.read(1024 * 1024):
            self.add(chunk)
            if self.size > most:
                self.begin_anew(file)
                return

    def begin_anew(self, file: BinaryIO) -> None:
        """Empty the file and the hash."""
        file.truncate(0)
        self._hash, self.size = hashlib.sha256(), 0


def remove_folder(folder: Path) -> None:
    """Remove a read-only folder: first out of sight in one step, then bit by bit."""
    doomed = folder.with_name(f".{folder.name.lstrip('.')}.doomed")
    if doomed.exists():
        _remove_tree(doomed)
    folder.rename(doomed)
    _remove_tree(doomed)


def _remove_tree(folder: Path) -> None:
    for inner in [folder, *(path for path in folder.rglob("*") if path.is_dir() and not path.is_symlink())]:
        inner.chmod(0o755)
    shutil.rmtree(folder)


def _write_all(file: BinaryIO, chunk: bytes) -> None:
    """Unbuffered files may take less than they are given."""
    view = memoryview(chunk)
    while view:
        view = view[file.write(view) :]


def _partial(path: Path) -> Path:
    return path.with_name(path.name + ".partial")


def _sync_folder(folder: Path) -> None:
    """Make names durable: a rename is only safe once its folder is."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)


def _hex(digest: str) -> str:
    # The digest becomes a path here; nothing but 64 hexadecimal digits may get this far.
    assert is_digest(digest), digest
    return digest.removeprefix("sha256:")
