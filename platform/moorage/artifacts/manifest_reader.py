"""Reads an OCI image manifest of a model strictly, before anything else of it is downloaded.

Docker's two dialects are understood. v0.1 finds files by layer type and keeps tokenizer and configuration in a tar;
v0.2 has one layer a file and its path in an annotation. Sizes, counts and names are bounded here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from moorage.artifacts import neighbours, strict_json
from moorage.artifacts.errors import HeaderRefused, UnsupportedArtifact
from moorage.artifacts.facts import Format
from moorage.artifacts.manifest import (
    CONFIG_V01,
    CONFIG_V02,
    DOCKER_INDEX,
    FILEPATH,
    MAX_MANIFEST_BYTES,
    OCI_INDEX,
    OCI_MANIFEST,
    ArtifactManifest,
    Descriptor,
    Layer,
    Role,
)
from moorage.artifacts.reference import is_digest

MAX_CONFIG_BYTES = 4 * 1024 * 1024
MAX_LAYERS = 512
MAX_LAYER_BYTES = 1024**4
MAX_TOTAL_BYTES = 2 * 1024**4
# Tokenizers and configurations; everything but weights and archives is small.
MAX_SMALL_BYTES = 256 * 1024 * 1024

_DIALECTS: dict[str, Literal["v0.1", "v0.2"]] = {CONFIG_V01: "v0.1", CONFIG_V02: "v0.2"}
_PREFIX = "application/vnd.docker.ai."
_ROLES: dict[str, tuple[Role, Format | None]] = {
    _PREFIX + "gguf.v3": (Role.WEIGHTS, "gguf"),
    _PREFIX + "safetensors": (Role.WEIGHTS, "safetensors"),
    _PREFIX + "mmproj": (Role.PROJECTOR, "gguf"),
    _PREFIX + "gguf.v3.mmproj": (Role.PROJECTOR, "gguf"),
    _PREFIX + "chat.template.jinja": (Role.TEMPLATE, None),
    _PREFIX + "license": (Role.LICENSE, None),
    _PREFIX + "model.file": (Role.FILE, None),
    _PREFIX + "vllm.config.tar": (Role.ARCHIVE, None),
    _PREFIX + "dir.tar": (Role.ARCHIVE, None),
}


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What the manifest says before its config is read."""

    dialect: Literal["v0.1", "v0.2"]
    config: Descriptor
    layers: tuple[Mapping[str, object], ...]


def single_manifest_of_index(raw: bytes) -> Descriptor | None:
    """For an image index, the one manifest it holds; None if the bytes are a manifest. Raises on anything else."""
    document = _document(raw)
    if document.get("mediaType") not in (OCI_INDEX, DOCKER_INDEX) and "manifests" not in document:
        return None
    manifests = document.get("manifests")
    if not isinstance(manifests, list) or len(manifests) != 1:
        raise UnsupportedArtifact(
            "The tag names a list of manifests. Name the one to serve by its digest, as in name@sha256:…"
        )
    return _descriptor(manifests[0], "The manifest in the index", most=MAX_MANIFEST_BYTES)


def read_outline(raw: bytes) -> Outline:
    """Read the manifest's frame. Raises HeaderRefused where it is broken, UnsupportedArtifact where it is no model."""
    document = _document(raw)
    if document.get("schemaVersion") != 2 or document.get("mediaType", OCI_MANIFEST) != OCI_MANIFEST:
        raise UnsupportedArtifact("This is not an OCI image manifest. Package the model again as an OCI artifact.")
    config = document.get("config")
    kind = config.get("mediaType") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in _DIALECTS:
        raise UnsupportedArtifact(
            f"The artifact is of the kind {ascii(kind)[:100]}, not a Docker model of version 0.1 or 0.2. "
            "Package it with docker model package or moorage package."
        )
    layers = document.get("layers")
    if not isinstance(layers, list) or not 1 <= len(layers) <= MAX_LAYERS:
        raise HeaderRefused(f"The manifest does not have 1 to {MAX_LAYERS} layers.")
    frames = tuple(layer for layer in layers if isinstance(layer, dict))
    if len(frames) != len(layers):
        raise HeaderRefused("A layer of the manifest is not an object.")
    return Outline(
        dialect=_DIALECTS[kind],
        config=_descriptor(config, "The config", most=MAX_CONFIG_BYTES),
        layers=frames,
    )


def read_manifest(outline: Outline, *, digest: str, config: bytes) -> ArtifactManifest:
    """Complete the outline with the config's bytes. Raises HeaderRefused or UnsupportedArtifact."""
    claims = strict_json.parse(config, what="The model's config").get("config", {})
    if not isinstance(claims, dict):
        raise HeaderRefused("The config of the model's config is not an object.")
    kinds = [_kind(frame) for frame in outline.layers]
    format_ = _format(claims.get("format"), kinds)
    layers = tuple(
        _layer(frame, role, path)
        for frame, (role, _), path in zip(outline.layers, kinds, _paths(outline, kinds), strict=True)
    )
    _check_layers(layers)
    return ArtifactManifest(
        digest=digest,
        dialect=outline.dialect,
        format=format_,
        config=outline.config,
        layers=layers,
        context_size=_context_size(claims.get("context_size")),
        claimed_quantization=_claim(claims.get("quantization")),
        claimed_parameters=_claim(claims.get("parameters")),
    )


def _document(raw: bytes) -> dict[str, object]:
    if len(raw) > MAX_MANIFEST_BYTES:
        raise HeaderRefused(f"The manifest has more than {MAX_MANIFEST_BYTES} bytes.")
    return strict_json.parse(raw, what="The manifest")


def _descriptor(value: object, what: str, *, most: int) -> Descriptor:
    if not isinstance(value, dict):
        raise HeaderRefused(f"{what} is not an object.")
    digest, size = value.get("digest"), strict_json.whole(value.get("size"))
    if not isinstance(digest, str) or not is_digest(digest):
        raise HeaderRefused(f"{what} has no sha256 digest.")
    if size is None or not 1 <= size <= most:
        raise HeaderRefused(f"{what} has a size outside 1 to {most} bytes.")
    return Descriptor(digest=digest, size_bytes=size)


def _kind(frame: Mapping[str, object]) -> tuple[Role, Format | None]:
    media_type = frame.get("mediaType")
    if not isinstance(media_type, str) or media_type not in _ROLES:
        raise UnsupportedArtifact(f"A layer is of the kind {ascii(media_type)[:100]}, which Moorage does not serve.")
    return _ROLES[media_type]


def _format(claimed: object, kinds: Sequence[tuple[Role, Format | None]]) -> Format:
    found = {format_ for role, format_ in kinds if role is Role.WEIGHTS and format_ is not None}
    if len(found) != 1:
        raise UnsupportedArtifact("The artifact does not hold weights of exactly one format, GGUF or safetensors.")
    format_ = found.pop()
    if claimed not in (None, "", format_):
        raise UnsupportedArtifact(f"The config says {ascii(claimed)[:40]}, but the layers are {format_}.")
    return format_


def _paths(outline: Outline, kinds: Sequence[tuple[Role, Format | None]]) -> list[str]:
    """Where each layer will lie: its annotation, else (v0.1 only) the customary name of its kind."""
    counts = {kind: kinds.count(kind) for kind in set(kinds)}
    numbers: dict[tuple[Role, Format | None], int] = {}
    paths = []
    for frame, kind in zip(outline.layers, kinds, strict=True):
        numbers[kind] = numbers.get(kind, 0) + 1
        annotations = frame.get("annotations") or {}
        named = annotations.get(FILEPATH) if isinstance(annotations, dict) else None
        if kind[0] is Role.ARCHIVE:
            paths.append("")
        elif isinstance(named, str):
            paths.append(neighbours.check_path(named.removeprefix("./")))
        elif outline.dialect == "v0.2":
            raise HeaderRefused(f"A layer has no {FILEPATH} annotation, which version 0.2 demands.")
        else:
            paths.append(_customary(kind, numbers[kind], counts[kind]))
    return paths


def _customary(kind: tuple[Role, Format | None], number: int, count: int) -> str:
    shard = f"-{number:05d}-of-{count:05d}" if count > 1 else ""
    match kind[0]:
        case Role.WEIGHTS:
            return f"model{shard}.{kind[1]}"
        case Role.PROJECTOR:
            return f"mmproj{shard}.gguf"
        case Role.TEMPLATE:
            return "chat_template.jinja" if count == 1 else f"chat_template-{number}.jinja"
        case Role.LICENSE:
            return "LICENSE" if count == 1 else f"LICENSE-{number}"
        case _:
            raise HeaderRefused(f"A layer has no {FILEPATH} annotation and no customary name.")


def _layer(frame: Mapping[str, object], role: Role, path: str) -> Layer:
    most = MAX_LAYER_BYTES if role in (Role.WEIGHTS, Role.PROJECTOR) else MAX_SMALL_BYTES
    descriptor = _descriptor(frame, "A layer", most=most)
    return Layer(
        digest=descriptor.digest,
        size_bytes=descriptor.size_bytes,
        media_type=str(frame["mediaType"]),
        file_path=path,
        role=role,
    )


def _check_layers(layers: Sequence[Layer]) -> None:
    sizes: dict[str, int] = {}
    for layer in layers:
        if sizes.setdefault(layer.digest, layer.size_bytes) != layer.size_bytes:
            raise HeaderRefused("The manifest gives one blob two sizes.")
        suffix = layer.file_path.rpartition(".")[2].lower()
        is_weights = layer.role in (Role.WEIGHTS, Role.PROJECTOR)
        if (suffix in ("gguf", "safetensors")) != is_weights:
            raise HeaderRefused(f"The layer of {ascii(layer.file_path)[:120]} is not of the kind that its name says.")
    if sum(sizes.values()) > MAX_TOTAL_BYTES:
        raise HeaderRefused(f"The model has more than {MAX_TOTAL_BYTES} bytes.")
    neighbours.check_collisions(layer.file_path for layer in layers if layer.file_path)


def _context_size(value: object) -> int | None:
    number = strict_json.whole(value)
    return number if number is not None and 1 <= number <= 2**31 - 1 else None


def _claim(value: object) -> str:
    return value[:64] if isinstance(value, str) and value.isprintable() else ""
