"""Who calls: `Authorization: Bearer mk_live_…`, one live API key, and the organization it belongs to.

A key opens what its scopes name and nothing else; the organization is never in the address, so that an address says
nothing about whose rows there are.
"""

import dataclasses
import datetime as dt
from typing import TYPE_CHECKING, Final

from rest_framework.authentication import BaseAuthentication
from rest_framework.permissions import BasePermission
from rest_framework.request import Request

from moorage.accounts import queries as accounts
from moorage.accounts import services as accounts_services
from moorage.accounts.actor import Actor
from moorage.accounts.models import ApiKey, Organization, Scope
from moorage.api.errors import ScopeMissing
from moorage.kernel.errors import Unauthenticated

if TYPE_CHECKING:  # DRF's settings name this module: its views cannot be imported from here.
    from rest_framework.views import APIView

#: A key's last use is written at most this often.
_USE_RESOLUTION: Final = dt.timedelta(minutes=1)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """What a view knows of whoever calls: ``request.user`` of this API."""

    key: ApiKey

    @property
    def organization(self) -> Organization:
        """The tenant whose rows the caller sees."""
        return self.key.organization

    @property
    def actor(self) -> Actor:
        """For ``by=``."""
        return Actor.key(self.key)

    @property
    def is_authenticated(self) -> bool:
        """Always: there is no caller without a key. DRF asks."""
        return True


class KeyAuthentication(BaseAuthentication):
    """Bearer keys. Raises Unauthenticated for anything that is not exactly one live key."""

    def authenticate(self, request: Request) -> tuple[Caller, ApiKey] | None:
        """The caller and their key; None where no credential was sent."""
        header = request.META.get("HTTP_AUTHORIZATION")
        if header is None:
            return None
        scheme, _, secret = header.partition(" ")
        # WSGI joins repeated headers with a comma: of two credentials none is believed.
        if scheme.lower() != "bearer" or "," in secret:
            raise Unauthenticated
        key = accounts.key_for_secret(secret)
        if key is None:
            raise Unauthenticated("This API key is unknown, revoked or expired. Make another one in the console.")
        accounts_services.note_use(key)
        return Caller(key=key), key

    def authenticate_header(self, _request: Request) -> str:
        """Makes DRF answer 401 rather than 403 where no credential was sent."""
        return 'Bearer realm="moorage"'


class HasScope(BasePermission):
    """The caller's key must have the view's ``scope``; where that is None, any live key will do."""

    def has_permission(self, request: Request, view: "APIView") -> bool:
        """False: no credential at all. Raises ScopeMissing."""
        scope: Scope | None = view.scope  # type: ignore[attr-defined]
        if not isinstance(request.user, Caller):
            return False
        if scope is not None and not accounts.has_scope(request.user.key, scope):
            raise ScopeMissing(
                f"This address needs a key with the scope `{scope}`; yours has"
                f" {', '.join(f'`{name}`' for name in request.user.key.scopes)}."
            )
        return True
