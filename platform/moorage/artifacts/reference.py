"""The parts of a model's reference. The grammar is the Compose room's; here its one canonical spelling is taken apart.

`catalog/<name>:<tag>` names a model of this installation's own catalogue on disk; everything else is an OCI registry,
Docker Hub where none is written. A digest beats a tag.
"""

import re
from dataclasses import dataclass, replace

from moorage.artifacts.errors import InvalidReference
from moorage.compose import reference as grammar

CATALOG = grammar.CATALOG
DOCKER_HUB = "docker.io"
DEFAULT_TAG = "latest"

# The hub answers under another host than the one people write.
API_HOSTS = {DOCKER_HUB: "registry-1.docker.io"}

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
        """Registry and repository, without tag and digest; Docker Hub is left out, as people write it."""
        return self.repository if self.registry == DOCKER_HUB else f"{self.registry}/{self.repository}"

    def at(self, digest: str) -> "Reference":
        """The same repository, pinned to one digest."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse(text: str) -> Reference:
    """Read one reference. Raises InvalidReference with a sentence that says which part is wrong."""
    try:
        canonical = grammar.canonical(text)
    except grammar.BadReference as error:
        raise InvalidReference(str(error)) from error
    name, _, digest = canonical.partition("@")
    first, slash, rest = name.partition("/")
    is_hub = not (slash and ("." in first or ":" in first or first in ("localhost", CATALOG)))
    path = name if is_hub else rest
    repository, _, tag = path.partition(":")
    return Reference(
        registry=DOCKER_HUB if is_hub else first,
        repository=repository,
        tag=tag or None,
        digest=digest or None,
    )
