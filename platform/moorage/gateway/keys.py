"""Who is calling: API keys by their digest, in memory. No lookup ever leaves the process."""

import hashlib
import re
from collections.abc import Iterable
from typing import Final

from moorage.gateway.errors import KeyLacksScope, KeyRefused, OrganizationSuspended
from moorage.wire.records import KeyGrant

SCOPE: Final = "inference"
#: One space, ASCII only, nothing before or after: RFC 6750's form and no variant of it.
_BEARER: Final = re.compile(rb"[Bb]earer (mk_live_[0-9A-Za-z]{39})")


class Keyring:
    """The keys that are neither revoked nor expired, by SHA-256 of their text and by id."""

    def __init__(self, grants: Iterable[KeyGrant] = ()) -> None:
        self._by_digest: dict[bytes, KeyGrant] = {}
        self._by_id: dict[str, KeyGrant] = {}
        for grant in grants:
            self.put(grant)

    def __len__(self) -> int:
        return len(self._by_id)

    def ids(self) -> frozenset[str]:
        """Ids of all keys."""
        return frozenset(self._by_id)

    def put(self, grant: KeyGrant) -> None:
        """Add or replace one key."""
        self.remove(grant.id)
        self._by_id[grant.id] = grant
        self._by_digest[bytes.fromhex(grant.sha256)] = grant

    def remove(self, key_id: str) -> None:
        """Forget one key; unknown ids are no error."""
        grant = self._by_id.pop(key_id, None)
        if grant is not None:
            self._by_digest.pop(bytes.fromhex(grant.sha256), None)

    def authenticate(self, authorization: bytes, now: float) -> KeyGrant:
        """The grant behind an Authorization header's value; ``now`` in Unix seconds.

        Raises KeyRefused, KeyLacksScope or OrganizationSuspended.
        """
        bearer = _BEARER.fullmatch(authorization)
        if bearer is None:
            raise KeyRefused
        grant = self._by_digest.get(hashlib.sha256(bearer[1]).digest())
        if grant is None or (grant.expires_at is not None and grant.expires_at <= now):
            raise KeyRefused
        if SCOPE not in grant.scopes:
            raise KeyLacksScope
        if grant.standing == "suspended":
            raise OrganizationSuspended
        return grant
