"""One promise for every ArtifactSource: memory, a catalogue on disk, and a real OCI registry."""

import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from moorage.artifacts import reference, services
from moorage.artifacts.errors import ArtifactNotFound, DigestMismatch
from moorage.artifacts.manifest import OCI_MANIFEST, Descriptor
from moorage.artifacts.materialise import materialise
from moorage.artifacts.reference import Reference
from moorage.artifacts.registry_oras import RegistrySource
from moorage.artifacts.source import ArtifactSource
from moorage.artifacts.source_layout import LAYOUT_VERSION, REF_NAME, LayoutSource
from moorage.artifacts.source_memory import MemorySource
from moorage.artifacts.store import Store
from tests.artifacts import weights
from tests.artifacts.weights import Parcel
from tests.conftest import missing
from tests.waiting import wait_until

NO_SUCH_DIGEST = "sha256:" + "0" * 64


@dataclass(frozen=True, kw_only=True)
class Quay:
    """A source under test and the way to put a parcel into it."""

    source: ArtifactSource
    name: str
    put: Callable[[Parcel, str], None]

    def reference(self, tag: str) -> Reference:
        return reference.parse(f"{self.name}:{tag}")


def memory() -> Quay:
    source = MemorySource()
    return Quay(
        source=source,
        name="catalog/tiny",
        put=lambda parcel, tag: parcel.into(source, f"catalog/tiny:{tag}") and None,
    )


def layout(catalogue: Path) -> Quay:
    folder = catalogue / "tiny"
    entries: list[dict[str, object]] = []

    def put(parcel: Parcel, tag: str) -> None:
        blobs = folder / "blobs" / "sha256"
        blobs.mkdir(parents=True, exist_ok=True)
        for content in [*parcel.blobs, parcel.config, parcel.content]:
            (blobs / weights.digest_of(content).removeprefix("sha256:")).write_bytes(content)
        entries.append(
            {
                "mediaType": OCI_MANIFEST,
                "digest": parcel.digest,
                "size": len(parcel.content),
                "annotations": {REF_NAME: tag},
            }
        )
        (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
        (folder / "oci-layout").write_text(json.dumps({"imageLayoutVersion": LAYOUT_VERSION}))

    return Quay(source=LayoutSource(catalogue), name="catalog/tiny", put=put)


def registry(host: str) -> Quay:
    repository = "acme/tiny"

    def upload(client: httpx.Client, content: bytes) -> None:
        begun = client.post(f"/v2/{repository}/blobs/uploads/")
        location = httpx.URL(begun.headers["Location"]).copy_merge_params({"digest": weights.digest_of(content)})
        client.put(location, content=content).raise_for_status()

    def put(parcel: Parcel, tag: str) -> None:
        with httpx.Client(base_url=f"http://{host}", trust_env=False) as client:
            for content in {*parcel.blobs, parcel.config}:
                upload(client, content)
            client.put(
                f"/v2/{repository}/manifests/{tag}", content=parcel.content, headers={"Content-Type": OCI_MANIFEST}
            ).raise_for_status()

    return Quay(source=RegistrySource(host, plain_registries=frozenset({host})), name=f"{host}/{repository}", put=put)


@pytest.fixture(scope="session")
def registry_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """`host:port` of a real registry on loopback over plain HTTP."""
    program = shutil.which("docker-registry")
    if program is None:
        missing("registry", "there is no docker-registry: apt-get install docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as chosen:
        chosen.bind(("127.0.0.1", 0))
        host = f"127.0.0.1:{chosen.getsockname()[1]}"
    settings = folder / "config.yml"
    settings.write_text(
        "version: 0.1\nlog: {level: error}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}}}}}\nhttp: {{addr: {host}}}\n"
    )
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([program, "serve", str(settings)], stdout=log, stderr=log)

    def answers() -> bool:
        try:
            return httpx.get(f"http://{host}/v2/", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    try:
        wait_until(answers, seconds=30, what="the registry")
        yield host
    finally:
        process.terminate()
        process.wait(timeout=10)


@pytest.fixture(params=["memory", "layout", "registry"])
def quay(request: pytest.FixtureRequest, tmp_path: Path) -> Quay:
    if request.param == "memory":
        return memory()
    if request.param == "layout":
        return layout(tmp_path / "catalogue")
    return registry(request.getfixturevalue("registry_host"))


def test_a_tag_resolves_to_the_digest_of_the_manifest_s_own_bytes(quay: Quay) -> None:
    parcel = weights.gguf_parcel()
    quay.put(parcel, "one")

    found = quay.source.resolve(quay.reference("one"))

    assert (found.digest, found.content) == (parcel.digest, parcel.content)


def test_a_digest_finds_the_manifest_after_its_tag_has_moved(quay: Quay) -> None:
    first, second = weights.gguf_parcel(), weights.safetensors_parcel()
    quay.put(first, "moving")
    quay.put(second, "moving")

    now = quay.source.resolve(quay.reference("moving"))
    pinned = quay.source.resolve(quay.reference("moving").at(first.digest))

    assert (now.digest, pinned.digest) == (second.digest, first.digest)


def test_what_is_not_there_is_not_found(quay: Quay) -> None:
    quay.put(weights.gguf_parcel(), "there")

    for unknown in (quay.reference("elsewhere"), quay.reference("there").at(NO_SUCH_DIGEST)):
        with pytest.raises(ArtifactNotFound):
            quay.source.resolve(unknown)
    with (
        pytest.raises(ArtifactNotFound),
        quay.source.open_blob(quay.reference("there"), Descriptor(digest=NO_SUCH_DIGEST, size_bytes=1)) as stream,
    ):
        list(stream.chunks)


@pytest.mark.parametrize("offset", [0, 1, 500])
def test_a_blob_is_given_from_the_offset_asked_for(quay: Quay, offset: int) -> None:
    parcel = weights.gguf_parcel()
    quay.put(parcel, "blob")
    content = parcel.blobs[0]

    with quay.source.open_blob(
        quay.reference("blob"), Descriptor(digest=weights.digest_of(content), size_bytes=len(content)), offset
    ) as stream:
        assert stream.offset == offset
        assert b"".join(stream.chunks) == content[offset:]


def test_a_blob_may_be_left_in_the_middle(quay: Quay) -> None:
    parcel = weights.gguf_parcel()
    quay.put(parcel, "left")
    descriptor = Descriptor(digest=weights.digest_of(parcel.blobs[0]), size_bytes=len(parcel.blobs[0]))

    for _ in range(20):
        with quay.source.open_blob(quay.reference("left"), descriptor) as stream:
            assert next(iter(stream.chunks))


@pytest.mark.parametrize(
    "make", [weights.gguf_parcel, weights.safetensors_parcel, weights.tarred_parcel], ids=lambda make: make.__name__
)
def test_a_whole_model_travels_to_a_node(quay: Quay, tmp_path: Path, make: Callable[[], Parcel]) -> None:
    parcel = make()
    quay.put(parcel, "whole")
    wanted = quay.reference("whole")

    described, facts = services.describe(quay.source, wanted, services.resolve_manifest(quay.source, wanted))
    store = Store(tmp_path / "store")
    store.fetch(quay.source, wanted, described)
    folder = materialise(store, described)

    assert facts.format == described.format
    assert (folder / described.layers[0].file_path).read_bytes() == parcel.blobs[0]


def test_a_pull_goes_on_where_an_earlier_one_stopped(quay: Quay, tmp_path: Path) -> None:
    parcel = weights.gguf_parcel()
    quay.put(parcel, "resumed")
    wanted = quay.reference("resumed")
    described, _ = services.describe(quay.source, wanted, services.resolve_manifest(quay.source, wanted))
    store = Store(tmp_path / "store")
    path = store.blob_path(described.layers[0].digest)
    path.parent.mkdir(parents=True)
    path.with_name(path.name + ".partial").write_bytes(parcel.blobs[0][:1000])
    seen: list[int] = []

    store.fetch(quay.source, wanted, described, lambda done, total: seen.append(done))

    assert path.read_bytes() == parcel.blobs[0]
    assert seen[0] > 1000


def test_a_layout_that_was_tampered_with_is_refused(tmp_path: Path) -> None:
    quay = layout(tmp_path)
    parcel = weights.gguf_parcel()
    quay.put(parcel, "latest")
    path = tmp_path / "tiny" / "blobs" / "sha256" / parcel.digest.removeprefix("sha256:")
    path.write_bytes(parcel.content + b" ")

    with pytest.raises(DigestMismatch):
        quay.source.resolve(quay.reference("latest"))


def test_a_layout_follows_no_link_and_waits_at_no_pipe(tmp_path: Path) -> None:
    quay = layout(tmp_path / "catalogue")
    parcel = weights.gguf_parcel()
    quay.put(parcel, "latest")
    path = tmp_path / "catalogue" / "tiny" / "blobs" / "sha256" / parcel.digest.removeprefix("sha256:")
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)

    for make in (lambda: path.symlink_to(elsewhere), lambda: os.mkfifo(path), lambda: path.mkdir()):
        make()

        with pytest.raises(ArtifactNotFound):
            quay.source.resolve(quay.reference("latest"))

        path.rmdir() if path.is_dir() else path.unlink()
