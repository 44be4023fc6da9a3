"""The name of a model as a person writes it, taken apart once and strictly.

The grammar is the OCI distribution specification's, with Docker's defaults for models: no registry means Docker Hub,
no namespace there means `ai`, no tag means `latest`. `catalog/<name>:<tag>` names a model of this installation's own
catalogue on disk. Repositories are lower-cased, tags keep their case, and a digest beats a tag.
"""

import re
from dataclasses import dataclass

from moorage.artifacts.errors import InvalidReference

CATALOG = "catalog"
DOCKER_HUB = "docker.io"
DEFAULT_NAMESPACE = "ai"
DEFAULT_TAG = "latest"

# The hub answers under another host than the one people write.
API_HOSTS = {DOCKER_HUB: "registry-1.docker.io", "index.docker.io": "registry-1.docker.io"}

_MAX_LENGTH = 255
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_HOST = re.compile(r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,62})(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]{0,62}))*\.?)(?::[0-9]{1,5})?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def is_digest(text: str) -> bool:
    """Whether the text is `sha256:` and 64 lower-case hexadecimal digits, the one form Moorage stores."""
    return _DIGEST.fullmatch(text) is not None


@dataclass(frozen=True, kw_only=True)
class Reference:
    """One model in one registry: `tag` is None exactly when the digest alone was written."""

    registry: str
    repository: str
    tag: str | None
    digest: str | None = None

    @property
    def is_catalog(self) -> bool:
        """Whether it names a model of this installation's catalogue on disk."""
        return self.registry == CATALOG

    @property
    def api_host(self) -> str:
        """The host, with its port if one was written, that answers for this registry."""
        return API_HOSTS.get(self.registry, self.registry)

    @property
    def name(self) -> str:
        """Registry and repository, without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def at(self, digest: str) -> "Reference":
        """The same repository, pinned to one digest."""
        return Reference(registry=self.registry, repository=self.repository, tag=self.tag, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse(text: str) -> Reference:
    """Read one reference. Raises InvalidReference with a sentence that says which part is wrong."""
    if not text or len(text) > _MAX_LENGTH + 1 + 128 + 72 or not text.isascii():
        raise InvalidReference(f"{_shown(text)} is not a model reference. Write one like ai/smollm2:360M-Q4_K_M.")
    if "://" in text:
        raise InvalidReference(f"{_shown(text)} is an address. Write the model without the part up to ://.")
    rest, at, digest = text.partition("@")
    if at and not is_digest(digest):
        raise InvalidReference(f"{_shown(text)}: the digest must be sha256: and 64 lower-case hexadecimal digits.")
    first, slash, remainder = rest.partition("/")
    if slash and _names_a_registry(first):
        registry, path = first, remainder
    else:
        registry, path = DOCKER_HUB, rest
    repository, colon, tag = path.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise InvalidReference(f"{_shown(text)}: a tag has 1 to 128 letters, digits, dots, dashes and underscores.")
    registry, repository = registry.lower(), repository.lower()
    if registry in API_HOSTS:
        registry = DOCKER_HUB
        if "/" not in repository:
            repository = f"{DEFAULT_NAMESPACE}/{repository}"
    _check(text, registry, repository)
    if not colon:
        return Reference(
            registry=registry, repository=repository, tag=None if at else DEFAULT_TAG, digest=digest or None
        )
    return Reference(registry=registry, repository=repository, tag=tag, digest=digest or None)


def _names_a_registry(component: str) -> bool:
    return component == CATALOG or component == "localhost" or "." in component or ":" in component


def _check(text: str, registry: str, repository: str) -> None:
    if not _HOST.fullmatch(registry):
        raise InvalidReference(f"{_shown(text)}: {_shown(registry)} is not a registry host.")
    _, colon, port = registry.partition(":")
    if colon and not 1 <= int(port) <= 65535:
        raise InvalidReference(f"{_shown(text)}: a port is between 1 and 65535.")
    if not _REPOSITORY.fullmatch(repository) or len(registry) + 1 + len(repository) > _MAX_LENGTH:
        raise InvalidReference(
            f"{_shown(text)}: a repository is made of letters, digits and single separators, at most 255 in all."
        )
    if registry == CATALOG and "/" in repository:
        raise InvalidReference(f"{_shown(text)}: a model of the catalogue has one name, as in catalog/tiny:latest.")


def _shown(text: str) -> str:
    """The text as it may be printed: quoted, escaped and cut."""
    return ascii(text if len(text) <= 80 else text[:77] + "...")
