"""A sealed secret opens only with its key, for its organization and its host."""

import os

import pytest

from moorage.artifacts import envelope
from moorage.artifacts.errors import EnvelopeBroken

KEY = os.urandom(32)
SEALED = envelope.seal("open sesame", key=KEY, organization_id="org_a", host="ghcr.io")


def test_a_secret_comes_back_and_is_not_in_what_is_stored() -> None:
    assert envelope.unseal(SEALED, key=KEY, organization_id="org_a", host="ghcr.io") == "open sesame"
    assert b"sesame" not in SEALED
    assert envelope.seal("open sesame", key=KEY, organization_id="org_a", host="ghcr.io") != SEALED


@pytest.mark.parametrize(
    ("sealed", "key", "organization_id", "host"),
    [
        (SEALED, os.urandom(32), "org_a", "ghcr.io"),
        (SEALED, KEY, "org_b", "ghcr.io"),
        (SEALED, KEY, "org_a", "evil.example"),
        (SEALED[:-1], KEY, "org_a", "ghcr.io"),
        (SEALED[:-1] + bytes([SEALED[-1] ^ 1]), KEY, "org_a", "ghcr.io"),
        (b"\x02" + SEALED[1:], KEY, "org_a", "ghcr.io"),
        (SEALED[:8], KEY, "org_a", "ghcr.io"),
        (b"", KEY, "org_a", "ghcr.io"),
    ],
    ids=["key", "organization", "host", "cut", "flipped", "version", "nonce only", "empty"],
)
def test_anything_else_does_not_open(sealed: bytes, key: bytes, organization_id: str, host: str) -> None:
    with pytest.raises(EnvelopeBroken):
        envelope.unseal(sealed, key=key, organization_id=organization_id, host=host)
