"""The verbs: resolve a reference to a checked artifact, pull it to this node, keep and forget credentials.

Registries are spoken to outside any transaction; what was learnt is written afterwards in one short statement.
"""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from django.conf import settings
from django.db import transaction

from moorage.accounts import audit
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization
from moorage.artifacts import envelope, inspection, manifest_reader, quantization
from moorage.artifacts import reference as references
from moorage.artifacts.cursor import chunks_of
from moorage.artifacts.errors import (
    CredentialNotFound,
    DigestMismatch,
    DiskFull,
    EnvelopeBroken,
    HeaderRefused,
    InvalidCredential,
    InvalidReference,
    RegistryUnreachable,
    UnsupportedArtifact,
)
from moorage.artifacts.facts import ModelFacts
from moorage.artifacts.manifest import ArtifactManifest, Layer
from moorage.artifacts.materialise import materialise
from moorage.artifacts.models import Artifact, RegistryCredential
from moorage.artifacts.reference import Reference
from moorage.artifacts.source import ArtifactSource, ResolvedManifest, blob_content
from moorage.artifacts.sources import source_for
from moorage.artifacts.store import Progress, Store, no_progress
from moorage.kernel import clock

_MAX_CREDENTIAL_LENGTH = 16 * 1024
# A pull that fails may remove a blob that another pull of another model had counted on; that one fetches it again.
_MAX_PULL_ROUNDS = 3


def resolve(*, organization: Organization, reference: str) -> Artifact:
    """Turn a reference into a digest once, check everything that can be checked before a pull, and keep the verdict.

    1. Parse. 2. Ask for the manifest, by tag or digest. 3. Known digest: done. 4. Read the config and every header.
    5. Compare the tag's promise with the tensors. 6. Store. Calling it again gives the same row until the tag moves.
    Raises InvalidReference, ArtifactNotFound, RegistryDenied, RegistryRefused, RegistryUnreachable, DigestMismatch,
    HeaderRefused, UnsupportedArtifact.
    """
    parsed = references.parse(reference)
    source = source_for(parsed, organization)
    resolved = resolve_manifest(source, parsed)
    known = Artifact.objects.for_organization(organization).filter(reference=str(parsed), digest=resolved.digest)
    if known.update(resolved_at=clock.now()):
        return known.get()
    described, facts = describe(source, parsed, resolved)
    artifact, _ = Artifact.objects.get_or_create(
        organization=organization,
        reference=str(parsed),
        digest=described.digest,
        defaults={
            "format": described.format,
            "manifest": described.to_json(),
            "facts": facts.to_json(),
            "size_bytes": described.size_bytes,
        },
    )
    return artifact


def pull(*, artifact: Artifact, progress: Progress = no_progress, store: Store | None = None) -> Path:
    """Bring the artifact to this node, every byte hashed, and return the folder with its files, read-only.

    Idempotent and safe to run several times at once; resumes what an earlier pull left. The headers are read again from
    the verified bytes. Raises what `resolve` raises after parsing, and DiskFull; then nothing of the model is left.
    """
    store = store or Store(settings.MOORAGE_STORE)
    described = artifact.model_manifest
    pinned = references.parse(artifact.reference).at(artifact.digest)
    source = source_for(pinned, artifact.organization)
    for _ in range(_MAX_PULL_ROUNDS):
        if store.has(described):
            return store.model_path(described.digest)
        store.fetch(source, pinned, described, progress)
        try:
            _check_again(store, artifact)
            return materialise(store, described)
        except FileNotFoundError:
            continue
        except (DigestMismatch, DiskFull, HeaderRefused, UnsupportedArtifact):
            store.discard(described)
            raise
    raise RegistryUnreachable(f"The model {artifact.reference} was removed while it was pulled. Try again.")


def files_here(artifact: Artifact, *, store: Store | None = None) -> tuple[tuple[str, int, int], ...]:
    """The files that a pull brings, in its order: name, size, and how many bytes of it this node has, also of a part
    that an earlier pull has left."""
    store = store or Store(settings.MOORAGE_STORE)
    layers = {layer.digest: layer for layer in artifact.model_manifest.layers}.values()
    return tuple((layer.file_path, layer.size_bytes, store.bytes_here(layer)) for layer in layers)


def models_here(digests: Iterable[str], *, store: Store | None = None) -> frozenset[str]:
    """Those of these manifest digests whose model lies in this node's store, complete."""
    store = store or Store(settings.MOORAGE_STORE)
    return frozenset(digest for digest in digests if store.model_path(digest).is_dir())


@transaction.atomic
def store_credential(
    *, organization: Organization, host: str, username: str, secret: str, by: Actor
) -> RegistryCredential:
    """Keep a user name and a secret for one registry host, in place of any earlier one. The secret is never shown.

    Raises InvalidCredential.
    """
    host = canonical_host(host)
    if not username or not secret or len(username) > 255 or len(secret) > _MAX_CREDENTIAL_LENGTH or ":" in username:
        raise InvalidCredential("A credential needs a user name without a colon and a secret.", param="username")
    sealed = envelope.seal(secret, key=settings.MOORAGE_ENVELOPE_KEY, organization_id=organization.pk, host=host)
    row, _ = RegistryCredential.objects.update_or_create(
        organization=organization,
        host=host,
        defaults={
            "username": username,
            "secret_encrypted": sealed,
            "created_at": clock.now(),
            "created_by": by.id,
        },
    )
    audit.record(
        organization=organization,
        by=by,
        action="registry_credential.stored",
        subject=host[:120],
        detail={"username": username},
    )
    return row


@transaction.atomic
def delete_credential(*, organization: Organization, host: str, by: Actor) -> None:
    """Forget the credential for one registry host. Raises CredentialNotFound."""
    host = canonical_host(host)
    deleted, _ = RegistryCredential.objects.for_organization(organization).filter(host=host).delete()
    if not deleted:
        raise CredentialNotFound
    audit.record(organization=organization, by=by, action="registry_credential.deleted", subject=host[:120])


def credential_secrets(*, organization_id: str) -> tuple[str, ...]:
    """Every registry secret of an organization, so that nothing shows it by accident; without those that do not open:
    nothing of this installation can know them."""
    found = []
    for row in RegistryCredential.objects.filter(organization_id=organization_id):
        sealed = bytes(row.secret_encrypted)
        with suppress(EnvelopeBroken):
            key = settings.MOORAGE_ENVELOPE_KEY
            found.append(envelope.unseal(sealed, key=key, organization_id=organization_id, host=row.host))
    return tuple(found)


def canonical_host(host: str) -> str:
    """A registry host as references name it: lower case, Docker Hub under its one name. Raises InvalidCredential."""
    try:
        parsed = references.parse(f"{host.strip()}/moorage/moorage")
    except InvalidReference as error:
        raise InvalidCredential("That is not a registry host. Write one like ghcr.io.", param="host") from error
    if parsed.is_catalog or parsed.repository != "moorage/moorage":
        raise InvalidCredential("That is not a registry host. Write one like ghcr.io.", param="host")
    return parsed.registry


def resolve_manifest(source: ArtifactSource, wanted: Reference) -> ResolvedManifest:
    """The manifest that the reference names now; a list of exactly one manifest stands for that one."""
    resolved = source.resolve(wanted)
    inner = manifest_reader.single_manifest_of_index(resolved.content)
    if inner is None:
        return resolved
    followed = source.resolve(wanted.at(inner.digest))
    if manifest_reader.single_manifest_of_index(followed.content) is not None:
        raise UnsupportedArtifact("The tag names a list inside a list. Push the model as a single manifest.")
    return followed


def describe(
    source: ArtifactSource, wanted: Reference, resolved: ResolvedManifest
) -> tuple[ArtifactManifest, ModelFacts]:
    """Read the config and the headers behind a manifest, from the source, and check what the tag promises."""
    outline = manifest_reader.read_outline(resolved.content)
    config = blob_content(source, wanted, outline.config)
    described = manifest_reader.read_manifest(outline, digest=resolved.digest, config=config)

    @contextmanager
    def open_layer(layer: Layer) -> Iterator[Iterator[bytes]]:
        with source.open_blob(wanted, layer) as stream:
            yield stream.chunks

    facts = inspection.inspect(described, open_layer)
    if wanted.tag is not None:
        quantization.check_promise(wanted.tag, facts)
    return described, facts


def _check_again(store: Store, artifact: Artifact) -> None:
    """Read the headers from the verified bytes and compare them with what the registry showed before the pull."""

    @contextmanager
    def open_layer(layer: Layer) -> Iterator[Iterator[bytes]]:
        with store.blob_path(layer.digest).open("rb") as file:
            yield chunks_of(file)

    facts = inspection.inspect(artifact.model_manifest, open_layer)
    if facts == artifact.model_facts:
        return
    tag = references.parse(artifact.reference).tag
    if tag is not None:
        quantization.check_promise(tag, facts)
    # These facts are proven, the stored ones were only shown: whoever tries again decides on the right ones.
    Artifact.objects.filter(pk=artifact.pk).update(facts=facts.to_json())
    raise DigestMismatch(
        "The registry showed another header when the model was resolved than it sent. Nothing was kept; try again."
    )
