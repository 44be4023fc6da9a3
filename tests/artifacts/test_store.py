"""The store keeps only bytes that are what their digest says, resumes, and leaves nothing behind after a refusal."""

import errno
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import pytest
from django.conf import settings

from moorage.artifacts import reference, services
from moorage.artifacts.errors import ArtifactNotFound, DigestMismatch, DiskFull, RegistryUnreachable
from moorage.artifacts.manifest import ArtifactManifest, Descriptor
from moorage.artifacts.materialise import materialise
from moorage.artifacts.reference import Reference
from moorage.artifacts.source import BlobStream
from moorage.artifacts.source_layout import LayoutSource
from moorage.artifacts.source_memory import MemorySource
from moorage.artifacts.store import Store, open_unbuffered
from tests.artifacts import weights
from tests.artifacts.weights import Parcel

BIG = weights.gguf(tensors=[("token_embd.weight", (64, 4096)), ("blk.0.attn_q.weight", (64, 4096))])


class Shipped:
    """A parcel in a memory source, and an empty store."""

    def __init__(self, root: Path, parcel: Parcel) -> None:
        self.source = MemorySource()
        self.parcel = parcel
        self.reference = parcel.into(self.source)
        resolved = services.resolve_manifest(self.source, self.reference)
        self.manifest: ArtifactManifest = services.describe(self.source, self.reference, resolved)[0]
        self.store = Store(root)

    @property
    def weight_digest(self) -> str:
        return self.manifest.layers[0].digest


@pytest.fixture
def shipped(tmp_path: Path) -> Shipped:
    return Shipped(tmp_path / "store", weights.gguf_parcel(BIG))


def files_in(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir())


class Watched:
    """A source that remembers what was asked of it and may break a stream after some bytes."""

    def __init__(
        self, inner: MemorySource, *, break_after: list[int] | None = None, ignores_range: bool = False
    ) -> None:
        self._inner = inner
        self._break_after = break_after or []
        self._ignores_range = ignores_range
        self.offsets: list[tuple[str, int]] = []

    def resolve(self, reference: Reference) -> Any:
        return self._inner.resolve(reference)

    @contextmanager
    def open_blob(self, reference: Reference, descriptor: Descriptor, offset: int = 0) -> Iterator[BlobStream]:
        self.offsets.append((descriptor.digest, offset))
        breaks_at = self._break_after.pop(0) if self._break_after else None
        with self._inner.open_blob(reference, descriptor, 0 if self._ignores_range else offset) as stream:
            yield BlobStream(offset=stream.offset, chunks=self._broken(stream.chunks, breaks_at))

    def _broken(self, chunks: Iterator[bytes], breaks_at: int | None) -> Iterator[bytes]:
        given = 0
        for chunk in chunks:
            if breaks_at is not None and given + len(chunk) > breaks_at:
                yield chunk[: breaks_at - given]
                raise RegistryUnreachable
            given += len(chunk)
            yield chunk


def test_a_pulled_model_is_a_read_only_folder_of_hard_links(shipped: Shipped) -> None:
    seen: list[tuple[int, int]] = []

    shipped.store.fetch(
        shipped.source, shipped.reference, shipped.manifest, lambda done, total: seen.append((done, total))
    )
    folder = materialise(shipped.store, shipped.manifest)

    assert (folder / "model.gguf").read_bytes() == BIG
    assert os.path.samefile(folder / "model.gguf", shipped.store.blob_path(shipped.weight_digest))
    assert (folder / "model.gguf").stat().st_mode & 0o777 == 0o444
    assert folder.stat().st_mode & 0o777 == 0o555
    assert sorted(path.name for path in folder.iterdir()) == ["LICENSE", "model.gguf"]
    assert shipped.store.has(shipped.manifest)
    assert seen == sorted(seen)
    assert seen[-1] == (shipped.manifest.size_bytes, shipped.manifest.size_bytes)
    assert not [name for name in files_in(folder.parents[1]) if "lock" in name or "partial" in name]


def test_a_blob_that_is_there_is_not_fetched_again(shipped: Shipped) -> None:
    watched = Watched(shipped.source)
    shipped.store.fetch(watched, shipped.reference, shipped.manifest)

    shipped.store.fetch(watched, shipped.reference, shipped.manifest)

    assert len(watched.offsets) == len(shipped.manifest.layers)


@pytest.mark.parametrize(
    "lie",
    [BIG[:-1] + b"\x12", BIG + b"more", b"\0" * len(BIG)],
    ids=["one byte differs", "longer", "all different"],
)
def test_a_wrong_byte_means_refusal_with_nothing_left(shipped: Shipped, tmp_path: Path, lie: bytes) -> None:
    shipped.source.serve(shipped.weight_digest, lie)

    with pytest.raises(DigestMismatch):
        shipped.store.fetch(shipped.source, shipped.reference, shipped.manifest)

    assert files_in(tmp_path) == []


def test_a_wrong_byte_in_the_second_file_removes_the_first_too(tmp_path: Path) -> None:
    shipped = Shipped(tmp_path, weights.gguf_parcel(BIG))
    shipped.source.serve(shipped.manifest.layers[1].digest, b"Apache-3.0")

    with pytest.raises(DigestMismatch):
        shipped.store.fetch(shipped.source, shipped.reference, shipped.manifest)

    assert files_in(tmp_path) == []


def test_a_refusal_spares_blobs_that_another_model_uses(tmp_path: Path) -> None:
    first = Shipped(tmp_path, weights.gguf_parcel(BIG))
    first.store.fetch(first.source, first.reference, first.manifest)
    folder = materialise(first.store, first.manifest)
    second = Shipped(tmp_path, weights.gguf_parcel(BIG).add("license", b"MIT"))
    second.source.serve(second.manifest.layers[2].digest, b"GPL")

    with pytest.raises(DigestMismatch):
        second.store.fetch(second.source, second.reference, second.manifest)

    assert (folder / "model.gguf").read_bytes() == BIG
    assert not second.store.has(second.manifest)


def test_a_missing_blob_is_a_sentence(shipped: Shipped) -> None:
    empty = MemorySource()

    with pytest.raises(ArtifactNotFound, match="a blob is missing"):
        shipped.store.fetch(empty, shipped.reference, shipped.manifest)


def test_a_broken_stream_goes_on_where_it_broke(shipped: Shipped) -> None:
    watched = Watched(shipped.source, break_after=[100_000, 50_000])

    shipped.store.fetch(watched, shipped.reference, shipped.manifest)

    assert [offset for digest, offset in watched.offsets if digest == shipped.weight_digest] == [0, 100_000, 150_000]


def test_a_stream_that_brings_nothing_ends_the_pull_and_the_next_one_resumes(shipped: Shipped, tmp_path: Path) -> None:
    with pytest.raises(RegistryUnreachable):
        shipped.store.fetch(Watched(shipped.source, break_after=[70_000, 0]), shipped.reference, shipped.manifest)
    assert [Path(name).suffix for name in files_in(tmp_path)] == [".partial"]
    watched = Watched(shipped.source)

    shipped.store.fetch(watched, shipped.reference, shipped.manifest)

    assert watched.offsets[0] == (shipped.weight_digest, 70_000)
    assert not list(tmp_path.rglob("*.partial"))


def test_a_source_without_ranges_starts_over(shipped: Shipped) -> None:
    watched = Watched(shipped.source, break_after=[70_000], ignores_range=True)

    shipped.store.fetch(watched, shipped.reference, shipped.manifest)

    assert shipped.store.blob_path(shipped.weight_digest).read_bytes() == BIG


@pytest.mark.parametrize("rest", [b"garbage of an earlier life", b"\0" * (len(BIG) + 10), b"\0" * len(BIG)])
def test_a_spoilt_partial_file_is_replaced_by_the_right_bytes(shipped: Shipped, rest: bytes) -> None:
    path = shipped.store.blob_path(shipped.weight_digest)
    path.parent.mkdir(parents=True)
    path.with_name(path.name + ".partial").write_bytes(rest)

    shipped.store.fetch(shipped.source, shipped.reference, shipped.manifest)

    assert path.read_bytes() == BIG


class FullFile:
    """A file on a disk that has room for so many bytes."""

    def __init__(self, file: BinaryIO, room: int) -> None:
        self._file = file
        self._room = room

    def __enter__(self) -> "FullFile":
        return self

    def __exit__(self, *caught: object) -> None:
        self._file.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: bytes) -> int:
        if self._room < len(content):
            raise OSError(errno.ENOSPC, "No space left on device")
        self._room -= len(content)
        return self._file.write(content)


def test_a_disk_that_fills_up_is_one_sentence_with_nothing_left(shipped: Shipped, tmp_path: Path) -> None:
    full = Store(tmp_path / "store", opener=lambda path, mode: FullFile(open_unbuffered(path, mode), 100_000))  # type: ignore[arg-type, return-value]

    with pytest.raises(DiskFull) as refusal:
        full.fetch(shipped.source, shipped.reference, shipped.manifest)

    assert "no room" in str(refusal.value)
    assert files_in(tmp_path) == []


def test_a_disk_that_is_full_is_noticed_before_the_first_byte(shipped: Shipped, tmp_path: Path) -> None:
    watched = Watched(shipped.source)

    with pytest.raises(DiskFull, match=f"needs {shipped.manifest.size_bytes} bytes"):
        Store(tmp_path / "store", reserve_bytes=2**60).fetch(watched, shipped.reference, shipped.manifest)

    assert watched.offsets == []
    assert files_in(tmp_path) == []


def test_pulls_of_one_model_at_once_fetch_each_blob_once(tmp_path: Path) -> None:
    shipped = Shipped(tmp_path, weights.gguf_parcel(BIG))
    watched = Watched(shipped.source)
    together = threading.Barrier(8)
    folders: list[Path] = []

    def pull() -> None:
        store = Store(tmp_path)
        together.wait()
        store.fetch(watched, shipped.reference, shipped.manifest)
        folders.append(materialise(store, shipped.manifest))

    threads = [threading.Thread(target=pull) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert len(folders) == 8
    assert len(set(folders)) == 1
    assert sorted(watched.offsets) == sorted((layer.digest, 0) for layer in shipped.manifest.layers)
    assert list((tmp_path / "locks").iterdir()) == []


def test_a_tar_of_version_01_is_unpacked_beside_the_weights(tmp_path: Path) -> None:
    shipped = Shipped(tmp_path, weights.tarred_parcel())
    shipped.store.fetch(shipped.source, shipped.reference, shipped.manifest)

    folder = materialise(shipped.store, shipped.manifest)

    assert sorted(path.name for path in folder.iterdir()) == ["config.json", "model.safetensors", "tokenizer.json"]
    assert (folder / "config.json").read_bytes() == weights.config_json()
    assert (folder / "config.json").stat().st_mode & 0o777 == 0o444


def test_a_folder_left_half_built_by_a_crash_is_built_anew(shipped: Shipped) -> None:
    shipped.store.fetch(shipped.source, shipped.reference, shipped.manifest)
    final = shipped.store.model_path(shipped.manifest.digest)
    half = final.with_name(f".{final.name}.building")
    half.mkdir()
    (half / "model.gguf").write_bytes(b"half")
    half.chmod(0o555)

    folder = materialise(shipped.store, shipped.manifest)

    assert (folder / "model.gguf").read_bytes() == BIG
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_discarding_a_model_removes_what_no_other_needs(tmp_path: Path) -> None:
    one = Shipped(tmp_path, weights.gguf_parcel(BIG))
    other = Shipped(tmp_path, weights.gguf_parcel(BIG).add("license", b"MIT"))
    for shipped in (one, other):
        shipped.store.fetch(shipped.source, shipped.reference, shipped.manifest)
        materialise(shipped.store, shipped.manifest)

    other.store.discard(other.manifest)

    assert one.store.has(one.manifest)
    assert not other.store.has(other.manifest)
    assert one.store.blob_path(one.weight_digest).exists()
    assert not other.store.blob_path(other.manifest.layers[2].digest).exists()
    one.store.discard(one.manifest)
    assert files_in(tmp_path) == []


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of two mebibytes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(disk)], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system may be mounted here: {mounted.stderr.strip()}")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_real_full_disk_is_one_sentence_with_nothing_left(tmp_path: Path, tiny_disk: Path) -> None:
    rows = [("token_embd.weight", (64, 16384)), ("blk.0.attn_q.weight", (64, 16384))]
    shipped = Shipped(tmp_path / "elsewhere", weights.gguf_parcel(weights.gguf(tensors=rows)))

    for reserve_bytes in (0, -(2**30)):
        with pytest.raises(DiskFull):
            Store(tiny_disk, reserve_bytes=reserve_bytes).fetch(shipped.source, shipped.reference, shipped.manifest)

        assert files_in(tiny_disk) == []


def test_an_archive_that_does_not_fit_leaves_no_half_folder(tmp_path: Path, tiny_disk: Path) -> None:
    parcel = weights.tarred_parcel([("config.json", weights.config_json()), ("tokenizer.json", b"x" * 1_200_000)])
    shipped = Shipped(tmp_path / "elsewhere", parcel)
    store = Store(tiny_disk, reserve_bytes=0)
    store.fetch(shipped.source, shipped.reference, shipped.manifest)

    with pytest.raises(DiskFull):
        materialise(store, shipped.manifest)

    assert list((tiny_disk / "models").iterdir()) == []


KILLED_WHILE_PULLING = """
import json, os, signal, sys
from pathlib import Path
from moorage.artifacts import reference
from moorage.artifacts.manifest import ArtifactManifest
from moorage.artifacts.source_layout import LayoutSource
from moorage.artifacts.store import Store

def progress(done, total):
    if done > 200_000:
        os.kill(os.getpid(), signal.SIGKILL)

described = ArtifactManifest.from_json(json.loads(sys.argv[3]))
Store(Path(sys.argv[1])).fetch(LayoutSource(Path(sys.argv[2])), reference.parse("catalog/harbour"), described, progress)
"""


def test_a_pull_that_is_killed_is_finished_by_the_next_one(tmp_path: Path) -> None:
    catalogue = settings.REPOSITORY / "runners" / "demo" / "catalog"
    source, wanted = LayoutSource(catalogue), reference.parse("catalog/harbour")
    described, _ = services.describe(source, wanted, services.resolve_manifest(source, wanted))
    argument = json.dumps(described.to_json())
    environment = {**os.environ, "PYTHONPATH": str(settings.REPOSITORY / "platform")}

    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_PULLING, str(tmp_path), str(catalogue), argument],
        env=environment,
        check=False,
    )

    assert killed.returncode == -signal.SIGKILL
    partial = next(tmp_path.rglob("*.partial"))
    assert partial.stat().st_size > 200_000
    store, seen = Store(tmp_path), []
    store.fetch(source, wanted, described, lambda done, total: seen.append(done))
    assert seen[0] > 200_000
    assert (materialise(store, described) / described.entry_path).stat().st_size == described.layers[0].size_bytes
    assert not list(tmp_path.rglob("*.partial"))
    assert list((tmp_path / "locks").iterdir()) == []
