"""From a reference to verified files, with rows that belong to one organization; credentials that nobody sees again."""

import base64
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from moorage.accounts.models import AuditEntry
from moorage.artifacts import queries, services
from moorage.artifacts.errors import (
    ArtifactNotFound,
    CredentialNotFound,
    DigestMismatch,
    DiskFull,
    EnvelopeBroken,
    HeaderRefused,
    InvalidCredential,
    InvalidReference,
    PlainHttpRefused,
    RegistryDenied,
    UnsupportedArtifact,
)
from moorage.artifacts.models import Artifact, RegistryCredential
from moorage.artifacts.store import Store
from tests.artifacts import weights
from tests.artifacts.harbour_master import Answer, Asked, Running, serving
from tests.artifacts.weights import Parcel
from tests.cast import Cast


class Port:
    """A registry that holds one parcel and may lie about single blobs."""

    def __init__(self, parcel: Parcel) -> None:
        self.tags: dict[str, Parcel] = {"latest": parcel}
        self.lies: dict[str, bytes] = {}
        self.basic: str | None = None

    def answer(self, asked: Asked) -> Answer:
        if self.basic is not None and asked.headers.get("authorization") != self.basic:
            return Answer(status=401, headers={"WWW-Authenticate": 'Basic realm="port"'})
        kind, name = asked.path.split("/")[-2:]
        for parcel in self.tags.values():
            if kind == "manifests" and (name == parcel.digest or self.tags.get(name) is parcel):
                return Answer(body=parcel.content)
            for content in [*parcel.blobs, parcel.config] if kind == "blobs" else []:
                if weights.digest_of(content) == name:
                    return Answer(body=self.lies.get(name, content))
        return Answer(status=404)


@contextmanager
def port(settings: Any, parcel: Parcel) -> Iterator[tuple[Port, Running]]:
    made = Port(parcel)
    with serving(made.answer) as running:
        settings.MOORAGE_PLAIN_REGISTRIES = frozenset({running.host})
        yield made, running


@pytest.fixture(autouse=True)
def own_store(settings: Any, tmp_path: Path) -> Path:
    settings.MOORAGE_STORE = tmp_path / "store"
    return tmp_path / "store"


def files_in(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if not path.is_dir()]


def test_a_reference_becomes_an_artifact_and_then_files(cast: Cast, settings: Any) -> None:
    parcel = weights.gguf_parcel()
    with port(settings, parcel) as (_, running):
        artifact = services.resolve(organization=cast.alice.organization, reference=f"{running.host}/acme/tiny")
        folder = services.pull(artifact=artifact)

    assert (artifact.digest, artifact.format, artifact.size_bytes) == (parcel.digest, "gguf", len(weights.gguf()) + 10)
    assert artifact.reference == f"{running.host}/acme/tiny:latest"
    assert artifact.model_facts.architecture == "llama"
    assert (folder / "model.gguf").read_bytes() == weights.gguf()


def test_a_model_that_is_on_the_node_needs_no_registry(cast: Cast, settings: Any) -> None:
    with port(settings, weights.gguf_parcel()) as (_, running):
        artifact = services.resolve(organization=cast.alice.organization, reference=f"{running.host}/acme/tiny")
        first = services.pull(artifact=artifact)
        shutil.rmtree(settings.MOORAGE_STORE / "blobs")
        asked = len(running.asked)

        again = services.pull(artifact=artifact)

    assert again == first
    assert len(running.asked) == asked


def test_only_the_beginning_of_the_weights_travels_before_a_pull(cast: Cast, settings: Any) -> None:
    big = weights.gguf(tensors=[("token_embd.weight", (64, 400_000))])
    with port(settings, weights.gguf_parcel(big)) as (made, running):
        made.lies[weights.digest_of(big)] = big[:100_000]

        artifact = services.resolve(organization=cast.alice.organization, reference=f"{running.host}/acme/tiny")

    assert artifact.model_facts.parameters == 64 * 400_000


def test_a_tag_is_resolved_once_and_a_moved_tag_makes_a_new_artifact(cast: Cast, settings: Any) -> None:
    with port(settings, weights.gguf_parcel()) as (made, running):
        written = f"{running.host}/acme/tiny"
        first = services.resolve(organization=cast.alice.organization, reference=written)
        asked_before = len(running.asked)
        again = services.resolve(organization=cast.alice.organization, reference=written)
        asked_again = len(running.asked) - asked_before
        made.tags = {"latest": weights.gguf_parcel().add("license", b"MIT"), "old": weights.gguf_parcel()}
        moved = services.resolve(organization=cast.alice.organization, reference=written)
        folder = services.pull(artifact=first)

    assert (again.pk, asked_again) == (first.pk, 1)
    assert again.resolved_at > first.resolved_at
    assert moved.digest != first.digest
    assert sorted(path.name for path in folder.iterdir()) == ["LICENSE", "model.gguf"]


def test_a_stranger_finds_nothing(cast: Cast, settings: Any) -> None:
    with port(settings, weights.gguf_parcel()) as (_, running):
        artifact = services.resolve(organization=cast.alice.organization, reference=f"{running.host}/acme/tiny")

    assert queries.artifact(organization=cast.bob.organization, artifact_id=artifact.pk) == artifact
    assert list(queries.artifacts(organization=cast.alice.organization)) == [artifact]
    assert list(queries.artifacts(organization=cast.charlie.organization)) == []
    with pytest.raises(ArtifactNotFound):
        queries.artifact(organization=cast.charlie.organization, artifact_id=artifact.pk)


def test_a_lying_digest_is_refused_with_nothing_left(cast: Cast, settings: Any, own_store: Path) -> None:
    with port(settings, weights.gguf_parcel()) as (made, running):
        artifact = services.resolve(organization=cast.alice.organization, reference=f"{running.host}/acme/tiny")
        made.lies[weights.digest_of(weights.gguf())] = weights.gguf()[:-1] + b"!"

        with pytest.raises(DigestMismatch):
            services.pull(artifact=artifact)

    assert files_in(own_store) == []


def test_a_registry_that_shows_one_header_and_sends_another_is_caught(
    cast: Cast, settings: Any, own_store: Path
) -> None:
    true = weights.gguf()
    shown = weights.gguf({**weights.LLAMA_KEYS, "llama.context_length": weights.u32(1)})
    with port(settings, weights.gguf_parcel(true)) as (made, running):
        made.lies[weights.digest_of(true)] = shown
        artifact = services.resolve(organization=cast.alice.organization, reference=f"{running.host}/acme/tiny")
        made.lies.clear()

        with pytest.raises(DigestMismatch, match="another header"):
            services.pull(artifact=artifact)

        assert files_in(own_store) == []
        artifact.refresh_from_db()
        assert artifact.model_facts.context_length == 512
        assert services.pull(artifact=artifact).is_dir()


def test_a_full_disk_is_one_sentence_with_nothing_left(cast: Cast, settings: Any, own_store: Path) -> None:
    with port(settings, weights.gguf_parcel()) as (_, running):
        artifact = services.resolve(organization=cast.alice.organization, reference=f"{running.host}/acme/tiny")

        with pytest.raises(DiskFull, match="Free some space"):
            services.pull(artifact=artifact, store=Store(own_store, reserve_bytes=2**60))

    assert files_in(own_store) == []


@pytest.mark.parametrize(
    ("parcel", "error"),
    [
        (weights.gguf_parcel(b"GGUF" + b"\xff" * 100), HeaderRefused),
        (weights.safetensors_parcel(evil__py=b"import os"), HeaderRefused),
        (weights.gguf_parcel().add("dduf", b"x"), UnsupportedArtifact),
    ],
)
def test_a_refused_model_leaves_no_row_and_no_file(
    cast: Cast, settings: Any, own_store: Path, parcel: Parcel, error: type[Exception]
) -> None:
    with port(settings, parcel) as (_, running), pytest.raises(error):
        services.resolve(organization=cast.alice.organization, reference=f"{running.host}/acme/tiny")

    assert not Artifact.objects.exists()
    assert files_in(own_store) == []


def test_an_unknown_model_a_broken_reference_and_an_unlisted_registry_are_told_apart(cast: Cast, settings: Any) -> None:
    organization = cast.alice.organization
    with (
        port(settings, weights.gguf_parcel()) as (_, running),
        pytest.raises(ArtifactNotFound, match="Check the name and the tag"),
    ):
        services.resolve(organization=organization, reference=f"{running.host}/acme/tiny:unknown")
    with pytest.raises(InvalidReference):
        services.resolve(organization=organization, reference="https://ghcr.io/acme/tiny")
    with pytest.raises(ArtifactNotFound, match="in the catalogue"):
        services.resolve(organization=organization, reference="catalog/nothing")


def test_a_stored_credential_opens_the_registry_for_its_organization_only(cast: Cast, settings: Any) -> None:
    with port(settings, weights.gguf_parcel()) as (made, running):
        made.basic = "Basic " + base64.b64encode(b"alice:open sesame").decode()
        written = f"{running.host}/acme/tiny"
        with pytest.raises(RegistryDenied, match="add a credential"):
            services.resolve(organization=cast.alice.organization, reference=written)
        services.store_credential(
            organization=cast.alice.organization,
            host=running.host,
            username="alice",
            secret="open sesame",
            by=cast.alice.actor,
        )

        artifact = services.resolve(organization=cast.alice.organization, reference=written)

        assert services.pull(artifact=artifact).is_dir()
        with pytest.raises(RegistryDenied):
            services.resolve(organization=cast.charlie.organization, reference=written)


def store(cast: Cast, **changes: Any) -> RegistryCredential:
    values = {"host": "ghcr.io", "username": "alice", "secret": "open sesame", **changes}
    return services.store_credential(organization=cast.alice.organization, by=cast.alice.actor, **values)


def test_a_credential_is_stored_sealed_replaced_and_forgotten_with_an_audit_line_each(cast: Cast) -> None:
    first = store(cast)
    second = store(cast, username="alice2", secret="another")

    assert first.pk == second.pk
    assert b"sesame" not in bytes(first.secret_encrypted)
    assert [row.username for row in queries.credentials(organization=cast.alice.organization)] == ["alice2"]
    assert not queries.credentials(organization=cast.charlie.organization).exists()

    with pytest.raises(CredentialNotFound):
        services.delete_credential(organization=cast.charlie.organization, host="ghcr.io", by=cast.charlie.actor)
    services.delete_credential(organization=cast.alice.organization, host="GHCR.io", by=cast.alice.actor)
    with pytest.raises(CredentialNotFound):
        services.delete_credential(organization=cast.alice.organization, host="ghcr.io", by=cast.alice.actor)

    lines = AuditEntry.objects.filter(action__startswith="registry_credential").order_by("id")
    assert [line.action.partition(".")[2] for line in lines] == ["stored", "stored", "deleted"]
    assert "sesame" not in json.dumps([line.detail for line in lines])


def test_a_row_copied_to_another_organization_does_not_open(cast: Cast) -> None:
    stolen = store(cast)
    RegistryCredential.objects.create(
        organization=cast.charlie.organization,
        host="ghcr.io",
        username="alice",
        secret_encrypted=bytes(stolen.secret_encrypted),
        created_by=cast.charlie.user.pk,
    )

    with pytest.raises(EnvelopeBroken):
        services.resolve(organization=cast.charlie.organization, reference="ghcr.io/acme/tiny")


@pytest.mark.parametrize(
    ("written", "canonical"),
    [("GHCR.io", "ghcr.io"), ("docker.io", "docker.io"), ("index.docker.io", "docker.io"), ("a.b:5000", "a.b:5000")],
)
def test_a_credential_s_host_is_spelt_as_references_spell_it(written: str, canonical: str) -> None:
    assert services.canonical_host(written) == canonical


@pytest.mark.parametrize(
    "changes",
    [
        {"host": ""}, {"host": "catalog"}, {"host": "https://ghcr.io"}, {"host": "ghcr.io/acme"}, {"host": "acme"},
        {"username": ""}, {"secret": ""}, {"username": "a:b"}, {"secret": "x" * 20_000},
    ],
    ids=str,
)  # fmt: skip
def test_a_credential_that_no_registry_could_take_is_refused(cast: Cast, changes: dict[str, str]) -> None:
    with pytest.raises(InvalidCredential):
        store(cast, **changes)


def test_a_listed_registry_that_redirects_elsewhere_is_refused(cast: Cast, settings: Any) -> None:
    with (
        serving(lambda asked: Answer(body=b"{}")) as inside,
        serving(lambda asked: Answer(status=302, headers={"Location": f"http://{inside.host}/"})) as running,
    ):
        settings.MOORAGE_PLAIN_REGISTRIES = frozenset({running.host})

        with pytest.raises(PlainHttpRefused):
            services.resolve(organization=cast.alice.organization, reference=f"{running.host}/acme/tiny")

    assert inside.asked == []


def test_every_model_of_the_catalogue_resolves_and_arrives(cast: Cast) -> None:
    names = queries.catalogue()
    assert names, "the demo catalogue is part of the repository"

    for name in names:
        artifact = services.resolve(organization=cast.alice.organization, reference=name)
        folder = services.pull(artifact=artifact)

        assert (folder / f"model.{artifact.format}").is_file()
        assert artifact.model_facts.parameters > 100_000
