"""Secrets at rest: AES-256-GCM under a key of this installation, bound to the organization and the host they belong to.

    version (1 byte) | key id (4 bytes) | nonce (12 bytes) | ciphertext and tag

The binding is authenticated data: a row copied to another organization or another host does not open. The key id tells
a wrong key from a damaged row.
"""

import hashlib
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from moorage.artifacts.errors import EnvelopeBroken

VERSION = 1
_HEADER_BYTES = 5
_NONCE_BYTES = 12


def seal(secret: str, *, key: bytes, organization_id: str, host: str) -> bytes:
    """The secret, encrypted. `key` is the installation's envelope key of 32 bytes."""
    cipher = _cipher(key)
    nonce = os.urandom(_NONCE_BYTES)
    header = bytes([VERSION]) + _key_id(key)
    return header + nonce + cipher.encrypt(nonce, secret.encode(), header + _binding(organization_id, host))


def unseal(sealed: bytes, *, key: bytes, organization_id: str, host: str) -> str:
    """The secret again. Raises EnvelopeBroken for another key, another organization or host, or damaged bytes."""
    header, nonce = sealed[:_HEADER_BYTES], sealed[_HEADER_BYTES : _HEADER_BYTES + _NONCE_BYTES]
    if header != bytes([VERSION]) + _key_id(key):
        raise EnvelopeBroken
    try:
        plain = _cipher(key).decrypt(
            nonce, sealed[_HEADER_BYTES + _NONCE_BYTES :], header + _binding(organization_id, host)
        )
    except (InvalidTag, ValueError) as error:
        raise EnvelopeBroken from error
    return plain.decode()


def _cipher(key: bytes) -> AESGCM:
    assert len(key) == 32, "the envelope key has 32 bytes"
    return AESGCM(HKDF(algorithm=SHA256(), length=32, salt=None, info=b"moorage registry credential v1").derive(key))


def _key_id(key: bytes) -> bytes:
    return hashlib.sha256(b"moorage key id\0" + key).digest()[: _HEADER_BYTES - 1]


def _binding(organization_id: str, host: str) -> bytes:
    return f"{organization_id}\0{host}".encode()
