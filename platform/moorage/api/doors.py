"""The three kinds of views: for a key of an organization, for an administrator's key, and for anybody.

A view finds its organization and its actor in the key, its input already read by the fields of its operation, and
does nothing itself but call one verb or question of a room and show the answer.
"""

from typing import Any, ClassVar

from rest_framework.negotiation import DefaultContentNegotiation
from rest_framework.parsers import BaseParser
from rest_framework.permissions import BasePermission
from rest_framework.renderers import BaseRenderer, JSONRenderer
from rest_framework.request import Request
from rest_framework.views import APIView

from moorage.accounts import queries as accounts
from moorage.accounts.actor import Actor
from moorage.accounts.models import Organization, Role, Scope
from moorage.api.authentication import Caller, HasScope, KeyAuthentication
from moorage.api.errors import LengthRequired
from moorage.api.fields import read, read_query
from moorage.api.operation import Operation
from moorage.api.parsers import JsonParser


class _NoOverride:
    URL_FORMAT_OVERRIDE = None


class AcceptNegotiation(DefaultContentNegotiation):
    """The Accept header alone chooses the format: `format` is an ordinary parameter, checked like any other."""

    settings = _NoOverride()  # type: ignore[assignment]


class KeyView(APIView):
    """For any live key, whatever its scopes; subclasses ask for one."""

    #: The scope a key needs; None: any.
    scope: ClassVar[Scope | None] = None

    authentication_classes = [KeyAuthentication]
    permission_classes: list[type[BasePermission]] = [HasScope]
    parser_classes: list[type[BaseParser]] = [JsonParser]
    renderer_classes: list[type[BaseRenderer]] = [JSONRenderer]
    content_negotiation_class = AcceptNegotiation
    http_method_names = ["get", "head", "post", "put", "delete"]

    #: Query parameters and JSON body as the operation's fields made them.
    query: dict[str, Any]
    body: dict[str, Any]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Who calls, then what they ask. Raises whatever is wrong with either."""
        super().initial(request, *args, **kwargs)
        asked: Operation | None = getattr(getattr(self, (request.method or "").lower(), None), "operation", None)
        if asked is None:
            return  # No such method here: DRF answers 405 next.
        if "HTTP_TRANSFER_ENCODING" in request.META:
            raise LengthRequired  # Django would see an empty body.
        self.query = read_query(asked.query, request, prefix=asked.prefix)
        self.body = read(asked.body, request.data) if asked.body is not None else {}

    @property
    def caller(self) -> Caller:
        """Whose key it is."""
        caller = self.request.user
        assert isinstance(caller, Caller)
        return caller

    @property
    def organization(self) -> Organization:
        """The tenant whose rows this view sees."""
        return self.caller.organization

    @property
    def actor(self) -> Actor:
        """For ``by=``."""
        return self.caller.actor

    def require_maker(self, allowed: frozenset[Role]) -> None:
        """Raises RoleTooLow unless whoever made the key has one of these roles now: the console asks for the same."""
        accounts.require_maker(self.caller.key, allowed)


class OrganizationView(KeyView):
    """For keys that manage their organization."""

    scope = Scope.MANAGE


class AdministratorView(KeyView):
    """For keys that review all organizations."""

    scope = Scope.ADMIN


class PublicView(KeyView):
    """For anybody: no credential is looked at."""

    authentication_classes = []
    permission_classes = []
