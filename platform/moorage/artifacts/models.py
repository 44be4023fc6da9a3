"""What an organization has resolved, and the credentials it stored for its registries."""

from typing import Self

from django.db import models

from moorage.accounts.models import Organization
from moorage.artifacts.facts import ModelFacts
from moorage.artifacts.manifest import ArtifactManifest
from moorage.kernel import clock, ids


def new_artifact_id() -> str:
    """An id for an artifact."""
    return ids.new("art")


def new_credential_id() -> str:
    """An id for a registry credential."""
    return ids.new("crd")


class RegistryCredentialQuerySet(models.QuerySet["RegistryCredential"]):
    """Questions about credentials."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class RegistryCredential(models.Model):
    """A user name and an encrypted secret for one registry host. The secret is written and never shown."""

    id = models.CharField(primary_key=True, max_length=40, default=new_credential_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="registry_credentials")
    host = models.CharField(max_length=255)
    username = models.CharField(max_length=255)
    secret_encrypted = models.BinaryField()
    created_at = models.DateTimeField(default=clock.now)
    created_by = models.CharField(max_length=80)

    objects = RegistryCredentialQuerySet.as_manager()

    class Meta:
        db_table = "registry_credential"
        constraints = [
            models.UniqueConstraint(fields=["organization", "host"], name="registry_credential_once_per_host"),
        ]

    def __str__(self) -> str:
        return f"{self.username}@{self.host}"


class ArtifactQuerySet(models.QuerySet["Artifact"]):
    """Questions about artifacts."""

    def for_organization(self, organization: Organization) -> Self:
        """Only this organization's."""
        return self.filter(organization=organization)


class Artifact(models.Model):
    """A reference as it was when somebody resolved it: one digest, its layers, and what its headers say."""

    id = models.CharField(primary_key=True, max_length=40, default=new_artifact_id, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="artifacts")
    reference = models.CharField(max_length=512)
    digest = models.CharField(max_length=71)
    format = models.CharField(max_length=16)
    manifest = models.JSONField()
    facts = models.JSONField()
    size_bytes = models.BigIntegerField()
    created_at = models.DateTimeField(default=clock.now)
    resolved_at = models.DateTimeField(default=clock.now)

    objects = ArtifactQuerySet.as_manager()

    class Meta:
        db_table = "artifact"
        constraints = [
            models.UniqueConstraint(
                fields=["organization", "reference", "digest"], name="artifact_once_per_reference_and_digest"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reference} {self.digest[:19]}"

    @property
    def model_facts(self) -> ModelFacts:
        """The facts as a value."""
        return ModelFacts.from_json(self.facts)

    @property
    def model_manifest(self) -> ArtifactManifest:
        """The manifest as a value."""
        return ArtifactManifest.from_json(self.manifest)
