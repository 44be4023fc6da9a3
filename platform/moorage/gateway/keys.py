"""Who is calling: API keys by their digest, in memory. No lookup ever leaves the process."""

import hashlib
from collections.abc import Hashable, Iterable, Mapping
from typing import Final, TypeVar

import msgspec

from moorage.gateway.errors import KeyLacksScope, KeyRefused, OrganizationSuspended, Starting
from moorage.gateway.networks import is_within
from moorage.gateway.refusals import NetworkRefused
from moorage.wire.limits import NO_LIMITS
from moorage.wire.records import KeyGrant, OrganizationGrant

SCOPE: Final = "inference"
#: ``Bearer mk_live_`` and 39 letters and digits: RFC 6750's form with one space, and no variant of it.
_SCHEMES: Final = frozenset({b"Bearer mk_live_", b"bearer mk_live_"})
_SCHEME: Final = 15
_LENGTH: Final = _SCHEME + 39

_Value = TypeVar("_Value", bound=Hashable)


def digest_of(authorization: bytes) -> bytes:
    """The SHA-256 of the secret in an Authorization header's value. Raises KeyRefused for any other form."""
    if len(authorization) != _LENGTH or authorization[:_SCHEME] not in _SCHEMES:
        raise KeyRefused
    secret = authorization[7:]
    if not secret[8:].isalnum():
        raise KeyRefused
    return hashlib.sha256(secret).digest()


class Keyring:
    """The keys that are neither revoked nor expired, by SHA-256 of their text.

    A key costs some four hundred bytes here: what many keys have in common is kept once, digests are bytes, and the
    grants that callers see have no ``sha256``. ``organizations`` is read, never written.
    """

    def __init__(
        self, grants: Iterable[KeyGrant] = (), *, organizations: Mapping[str, OrganizationGrant] | None = None
    ) -> None:
        #: Not every key is here yet: who is not known may be known in a moment.
        self.is_loading = False
        self._by_digest: dict[bytes, KeyGrant] = {}
        self._digests: dict[str, bytes] = {}
        self._organizations: Mapping[str, OrganizationGrant] = {} if organizations is None else organizations
        self._known: dict[Hashable, Hashable] = {}
        for grant in grants:
            self.put(grant)

    def __len__(self) -> int:
        return len(self._digests)

    def ids(self) -> frozenset[str]:
        """Ids of all keys."""
        return frozenset(self._digests)

    def put(self, grant: KeyGrant) -> KeyGrant | None:
        """Add or replace one key. Returns what it was before."""
        digest = bytes.fromhex(grant.sha256)
        before = self.remove(grant.id)
        once = self._once
        kept = msgspec.structs.replace(
            grant,
            sha256="",
            organization_id=once(grant.organization_id),
            standing=once(grant.standing),
            scopes=once(grant.scopes),
            models=once(grant.models),
            limits=once(grant.limits) if grant.limits else NO_LIMITS,
            networks=once(grant.networks),
            priority=once(grant.priority),
        )
        self._digests[kept.id] = digest
        self._by_digest[digest] = kept
        return before

    def remove(self, key_id: str) -> KeyGrant | None:
        """Forget one key; unknown ids are no error. Returns what it was."""
        digest = self._digests.pop(key_id, None)
        return self._by_digest.pop(digest, None) if digest is not None else None

    def authenticate(self, authorization: bytes, now: float, peer: str) -> KeyGrant:
        """The grant behind an Authorization header's value; ``now`` in Unix seconds, ``peer`` the caller's address.

        Raises KeyRefused, KeyLacksScope, NetworkRefused, OrganizationSuspended or Starting.
        """
        return self.admit(digest_of(authorization), now, peer)

    def admit(self, digest: bytes, now: float, peer: str) -> KeyGrant:
        """The same for a ``digest_of`` that the caller has kept: what a connection says with every request."""
        grant = self._by_digest.get(digest)
        if grant is None or (grant.expires_at is not None and grant.expires_at <= now):
            raise Starting if self.is_loading and grant is None else KeyRefused
        if SCOPE not in grant.scopes:
            raise KeyLacksScope
        if grant.networks and not is_within(peer, grant.networks):
            raise NetworkRefused
        organization = self._organizations.get(grant.organization_id)
        if (grant.standing if organization is None else organization.standing) == "suspended":
            raise OrganizationSuspended
        return grant

    def _once(self, value: _Value) -> _Value:
        # Ids of organizations, scopes, limits: as many as there are different ones, whatever the number of keys.
        return self._known.setdefault(value, value)  # type: ignore[return-value]
