"""A model's reference in canonical spelling, checked against the OCI grammar before anybody connects anywhere.

Docker's rules for models: no registry means Docker Hub, no namespace there means `ai`, neither tag nor digest means
`latest`; repositories are lower-cased, tags keep their case. `catalog/<name>:<tag>` is the installation's own.
"""

import re

from moorage.compose.problems import shown

CATALOG = "catalog"

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST = re.compile(rf"{_LABEL}(?:\.{_LABEL})*(?::([0-9]{{1,5}}))?")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_BARE_DIGEST = re.compile(r"(?:sha256:)?[0-9a-fA-F]{64}")

_HUB = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_MODEL_HUBS = frozenset({"hf.co", "huggingface.co"})
_MAX_NAME = 255


class BadReference(Exception):
    """The reference breaks the grammar; the message is a sentence for its author."""


def canonical(text: str) -> str:
    """The one spelling of a reference: `AI/SmolLM2` -> `ai/smollm2:latest`. Raises BadReference."""
    if not text:
        raise BadReference("The reference is empty. Write one like ai/smollm2:360M-Q4_K_M.")
    if not text.isascii() or len(text) > _MAX_NAME + 1 + 128 + 72:
        raise BadReference(f"{shown(text)} is not a model reference: use at most 255 plain ASCII letters and signs.")
    if "://" in text:
        raise BadReference(f"{shown(text)} is an address. Write the reference without the part up to ://.")
    if _BARE_DIGEST.fullmatch(text):
        raise BadReference("A digest alone names no repository. Write repository@sha256:….")
    name, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise BadReference(f"{shown(text)}: after @ comes sha256: and 64 lower-case hexadecimal digits.")
    registry, repository, tag = _split(name)
    if registry.split(":")[0] in _MODEL_HUBS:
        raise BadReference(
            "Moorage pulls from OCI registries, and this is a model hub. Package the model as an OCI artifact, push it"
            " to a registry and write that reference."
        )
    if tag is not None and not _TAG.fullmatch(tag):
        raise BadReference(f"{shown(text)}: a tag has 1 to 128 letters, digits, dots, dashes and underscores.")
    _check_name(text, registry, repository)
    if tag is None and not at:
        tag = "latest"
    host = f"{registry}/" if registry else ""
    return f"{host}{repository}{f':{tag}' if tag is not None else ''}{at}{digest}"


def _split(name: str) -> tuple[str, str, str | None]:
    """Registry (empty for Docker Hub), repository and tag."""
    first, slash, rest = name.partition("/")
    has_registry = bool(slash) and ("." in first or ":" in first or first.lower() in ("localhost", CATALOG))
    registry, path = (first.lower(), rest) if has_registry else ("", name)
    repository, colon, tag = path.partition(":")
    if registry in _HUB:
        registry = ""
    repository = repository.lower()
    if not registry and "/" not in repository:
        repository = f"ai/{repository}"
    return registry, repository, tag if colon else None


def _check_name(text: str, registry: str, repository: str) -> None:
    host = _HOST.fullmatch(registry) if registry else None
    if registry and (host is None or (host[1] and not 1 <= int(host[1]) <= 65535)):
        raise BadReference(f"{shown(text)}: {shown(registry)} is not a registry host, with or without a port.")
    if not _REPOSITORY.fullmatch(repository) or len(registry) + 1 + len(repository) > _MAX_NAME:
        raise BadReference(
            f"{shown(text)}: a repository is letters, digits and single separators between slashes, 255 in all."
        )
    if registry == CATALOG and "/" in repository:
        raise BadReference(f"{shown(text)}: a model of the catalogue has one name, as in catalog/tiny:latest.")
