"""Which source answers for a reference, by the settings and the organization's credentials."""

from django.conf import settings

from moorage.accounts.models import Organization
from moorage.artifacts import envelope
from moorage.artifacts.models import RegistryCredential
from moorage.artifacts.reference import Reference
from moorage.artifacts.registry_oras import Credential, RegistrySource
from moorage.artifacts.source import ArtifactSource
from moorage.artifacts.source_layout import LayoutSource


def source_for(reference: Reference, organization: Organization) -> ArtifactSource:
    """A fresh source for one conversation. Raises EnvelopeBroken if the stored credential cannot be opened."""
    if reference.is_catalog:
        return LayoutSource(settings.MOORAGE_CATALOG)
    return RegistrySource(
        reference.api_host,
        plain_registries=settings.MOORAGE_PLAIN_REGISTRIES,
        credential=_credential(reference.registry, organization),
    )


def _credential(host: str, organization: Organization) -> Credential | None:
    row = RegistryCredential.objects.for_organization(organization).filter(host=host).first()
    if row is None:
        return None
    secret = envelope.unseal(
        bytes(row.secret_encrypted),
        key=settings.MOORAGE_ENVELOPE_KEY,
        organization_id=organization.pk,
        host=host,
    )
    return Credential(username=row.username, secret=secret)
