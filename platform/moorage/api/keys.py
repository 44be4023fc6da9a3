"""API keys, and who the caller is."""

from typing import Final

from rest_framework.request import Request
from rest_framework.response import Response

from moorage.accounts import queries as accounts_questions
from moorage.accounts import services as accounts
from moorage.accounts.errors import InvalidAccount
from moorage.accounts.models import ApiKey, Priority, Scope
from moorage.api import examples, paging
from moorage.api.doors import KeyView, OrganizationView
from moorage.api.errors import ScopeMissing
from moorage.api.operation import Answer, operation
from moorage.api.serializers_keys import ApiKeySerializer, NewApiKeySerializer, NewKeyFields, WhoamiSerializer
from moorage.api.serializers_limits import limits_from
from moorage.kernel.errors import NotFound

TAG: Final = "Keys"


class KeyNotFound(NotFound):
    """Your organization has no API key with this id. `GET /api/v1/keys` lists them."""

    code = "key_not_found"


class KeysView(OrganizationView):
    """The organization's API keys."""

    @operation(
        id="listKeys",
        tag=TAG,
        summary="List API keys",
        query=paging.PageFields,
        answers={
            200: Answer(
                description="The keys, newest first.",
                kind=paging.page_of(ApiKeySerializer),
                example=examples.page(examples.KEY),
            )
        },
        raises=[paging.InvalidCursor],
    )
    def get(self, _request: Request) -> Response:
        """All keys, those that are revoked or expired too. Secrets are stored nowhere, so they are not among this."""
        rows = ApiKey.objects.for_organization(self.organization)
        return paging.page(rows, order="-id", query=self.query).answer(ApiKeySerializer)

    @operation(
        id="createKey",
        tag=TAG,
        summary="Make an API key",
        body=NewKeyFields,
        body_example={"name": "ci", "scopes": ["inference"]},
        answers={
            201: Answer(
                description="The key with its secret, which is shown this once.",
                kind=NewApiKeySerializer,
                example=examples.NEW_KEY,
            )
        },
        raises=[InvalidAccount],
    )
    def post(self, _request: Request) -> Response:
        """A new key of your organization. A key of the administrator is made only with a key of the administrator."""
        scopes = [Scope(scope) for scope in self.body["scopes"]]
        if Scope.ADMIN in scopes and not accounts_questions.has_scope(self.caller.key, Scope.ADMIN):
            raise ScopeMissing(
                "Only a key with the scope `admin` makes another one. Leave `admin` out.", param="scopes"
            )
        made = accounts.create_key(
            organization=self.organization,
            name=self.body["name"],
            scopes=scopes,
            served_names=self.body["served_names"],
            networks=self.body["networks"],
            limits=limits_from(self.body["limits"]),
            priority=Priority(self.body["priority"]),
            expires_at=self.body["expires_at"],
            by=self.actor,
        )
        shown = ApiKeySerializer(made.key).data
        return Response({**shown, "secret": made.secret}, status=201, headers={"Cache-Control": "no-store"})


class KeyByIdView(OrganizationView):
    """One key by its id."""

    @operation(
        id="revokeKey",
        tag=TAG,
        summary="Revoke an API key",
        path=["key_id"],
        answers={204: Answer(description="The key opens nothing any more.")},
        raises=[KeyNotFound],
    )
    def delete(self, _request: Request, key_id: str) -> Response:
        """Ends a key: gateways refuse it within a second, and its streams end. Revoking twice changes nothing."""
        key = ApiKey.objects.for_organization(self.organization).filter(pk=key_id).first()
        if key is None:
            raise KeyNotFound
        accounts.revoke_key(key=key, by=self.actor)
        return Response(status=204)


class WhoamiView(KeyView):
    """The caller."""

    @operation(
        id="whoami",
        tag=TAG,
        summary="Ask who you are",
        needs_scope=False,
        answers={
            200: Answer(description="Your key and its organization.", kind=WhoamiSerializer, example=examples.WHOAMI)
        },
    )
    def get(self, _request: Request) -> Response:
        """The key you sent, what it opens, and the organization it belongs to. Any live key may ask."""
        return Response(WhoamiSerializer({"key": self.caller.key, "organization": self.organization}).data)
