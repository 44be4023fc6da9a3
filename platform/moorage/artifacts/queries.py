"""Questions about artifacts and credentials; rows of one organization only."""

from collections.abc import Iterable

from django.conf import settings
from django.db.models import QuerySet

from moorage.accounts.models import Organization
from moorage.artifacts.errors import ArtifactNotFound
from moorage.artifacts.models import Artifact, RegistryCredential
from moorage.artifacts.reference import CATALOG
from moorage.artifacts.source_layout import LayoutSource


def artifact(*, organization: Organization, artifact_id: str) -> Artifact:
    """One artifact of the organization. Raises ArtifactNotFound for a stranger's as for none."""
    found = Artifact.objects.for_organization(organization).filter(pk=artifact_id).first()
    if found is None:
        raise ArtifactNotFound
    return found


def artifacts(*, organization: Organization) -> QuerySet[Artifact]:
    """What the organization has resolved, the latest first."""
    return Artifact.objects.for_organization(organization).order_by("-resolved_at", "-id")


def credentials(*, organization: Organization) -> QuerySet[RegistryCredential]:
    """The registries it can log in to, by host; the secrets stay where they are."""
    return RegistryCredential.objects.for_organization(organization).defer("secret_encrypted").order_by("host")


def catalogue() -> list[str]:
    """References of the models on this installation's disk, such as `catalog/tiny:latest`."""
    return [f"{CATALOG}/{name}" for name in LayoutSource(settings.MOORAGE_CATALOG).names()]


def references_of(digests: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """What anybody calls the models with these digests. For administrators alone."""
    found: dict[str, set[str]] = {}
    for digest, reference in Artifact.objects.filter(digest__in=list(digests)).values_list("digest", "reference"):
        found.setdefault(digest, set()).add(reference)
    return {digest: tuple(sorted(references)) for digest, references in found.items()}
