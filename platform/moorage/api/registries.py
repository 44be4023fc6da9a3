"""Credentials for registries: written here, read by pulls alone."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.api import examples, paging
from moorage.api.doors import OrganizationView
from moorage.api.operation import Answer, operation
from moorage.api.serializers_keys import CredentialFields, RegistrySerializer
from moorage.artifacts import queries as questions
from moorage.artifacts import services as verbs
from moorage.artifacts.errors import CredentialNotFound, InvalidCredential

TAG: Final = "Registries"


class RegistriesView(OrganizationView):
    """The registries with a stored credential."""

    @operation(
        id="listRegistries",
        tag=TAG,
        summary="List registries with a credential",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The registries by host, without their secrets.",
                kind=paging.page_of(RegistrySerializer),
                example=examples.page(examples.REGISTRY),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """The registries that the organization can log in to. Secrets are never shown."""
        rows = questions.credentials(organization=self.organization)
        return paging.page(rows, order="host", query=self.query).answer(RegistrySerializer)


class RegistryView(OrganizationView):
    """One registry by its host."""

    @operation(
        id="getRegistry",
        tag=TAG,
        summary="Look at a registry's credential",
        path=["host"],
        answers={
            200: Answer(description="Who logs in, since when.", kind=RegistrySerializer, example=examples.REGISTRY)
        },
        raises=[CredentialNotFound, InvalidCredential],
    )
    def get(self, _request: Request, host: str) -> Response:
        """Whether there is a credential for this host, and whose it is. The secret is never shown."""
        rows = questions.credentials(organization=self.organization)
        found = rows.filter(host=verbs.canonical_host(host)).first()
        if found is None:
            raise CredentialNotFound
        return Response(RegistrySerializer(found).data)

    @operation(
        id="putRegistry",
        tag=TAG,
        summary="Store a registry's credential",
        path=["host"],
        body=CredentialFields,
        body_example={"username": "harbour", "secret": "a token that may pull"},
        answers={200: Answer(description="Stored.", kind=RegistrySerializer, example=examples.REGISTRY)},
        raises=[InvalidCredential],
    )
    def put(self, _request: Request, host: str) -> Response:
        """Keeps a user name and a secret for this registry, encrypted, in place of an earlier one."""
        stored = verbs.store_credential(
            organization=self.organization,
            host=host,
            username=self.body["username"],
            secret=self.body["secret"],
            by=self.actor,
        )
        return Response(RegistrySerializer(stored).data)

    @operation(
        id="deleteRegistry",
        tag=TAG,
        summary="Forget a registry's credential",
        path=["host"],
        answers={204: Answer(description="Forgotten.")},
        raises=[CredentialNotFound, InvalidCredential],
    )
    def delete(self, _request: Request, host: str) -> Response:
        """Later pulls from this registry are anonymous. Models that are on the node stay there."""
        verbs.delete_credential(organization=self.organization, host=host, by=self.actor)
        return Response(status=204)
