"""Reads every header of a model, wherever its bytes are: at the registry before a pull, on the node after it.

The same checks run twice over two openers. Before the pull only the beginnings of the weight files travel, and the
small files whole; after it the verified blobs are read again, because only then the bytes are known to be the ones.
"""

import hashlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from moorage.artifacts import gguf, gguf_facts, neighbours, safetensors, safetensors_facts, strict_json, tar
from moorage.artifacts.errors import DigestMismatch, HeaderRefused
from moorage.artifacts.facts import ModelFacts
from moorage.artifacts.manifest import ArtifactManifest, Layer, Role
from moorage.artifacts.source import sha256_digest

MAX_CONFIG_BYTES = 4 * 1024 * 1024
MAX_INDEX_BYTES = 16 * 1024 * 1024
MAX_TEMPLATE_BYTES = 256 * 1024
TOKENIZER_CONFIG = "tokenizer_config.json"

OpenLayer = Callable[[Layer], AbstractContextManager[Iterator[bytes]]]


def inspect(manifest: ArtifactManifest, open_layer: OpenLayer) -> ModelFacts:
    """The model's facts, if all of its files keep the rules. `open_layer` streams one layer from its first byte.

    Raises HeaderRefused, UnsupportedArtifact, DigestMismatch, and what the opener raises.
    """
    files = _small_files(manifest, open_layer)
    if manifest.format == "gguf":
        shards = [_gguf(layer, open_layer) for layer in manifest.with_role(Role.WEIGHTS)]
        projectors = [_gguf(layer, open_layer) for layer in manifest.with_role(Role.PROJECTOR)]
        if len(projectors) > 1:
            raise HeaderRefused("The model has more than one projector.")
        return gguf_facts.facts_of(shards, projectors[0] if projectors else None)
    if manifest.with_role(Role.PROJECTOR):
        raise HeaderRefused("A projector belongs to a GGUF model, not to safetensors. Package the model again.")
    headers = {layer.file_path: _safetensors(layer, open_layer) for layer in manifest.with_role(Role.WEIGHTS)}
    config = files.parsed.get(safetensors_facts.CONFIG)
    if config is None:
        raise HeaderRefused("A safetensors model needs a config.json beside its weights. Package it with one.")
    return safetensors_facts.facts_of(
        headers,
        config,
        files.parsed.get(safetensors_facts.INDEX),
        files.template_digest,
        template_has_tools=files.template_has_tools,
    )


class _SmallFiles:
    """What was learnt from the neighbours of the weights."""

    def __init__(self) -> None:
        self.parsed: dict[str, dict[str, object]] = {}
        self.template_digest = ""
        self.template_has_tools = False
        self.paths: list[str] = []

    def wants(self, path: str) -> int:
        """How many bytes of this file may be read; 0 if its content is of no interest here."""
        name = path.rpartition("/")[2]
        if name in neighbours.CHECKED_CONFIGS:
            return MAX_CONFIG_BYTES
        if path == safetensors_facts.INDEX:
            return MAX_INDEX_BYTES
        return MAX_TEMPLATE_BYTES if name.endswith(".jinja") else 0

    def learn(self, path: str, content: bytes) -> None:
        name = path.rpartition("/")[2]
        if name.endswith(".jinja"):
            self._template(content)
            return
        parsed = strict_json.parse(content, what=path)
        if name in neighbours.CHECKED_CONFIGS:
            neighbours.check_config(path, parsed)
        self.parsed[path] = parsed
        template = parsed.get("chat_template") if path == TOKENIZER_CONFIG else None
        if isinstance(template, str) and not self.template_digest:
            if len(template.encode()) > MAX_TEMPLATE_BYTES:
                raise HeaderRefused(f"The chat template in {path} is larger than {MAX_TEMPLATE_BYTES} bytes.")
            self._template(template.encode())

    def _template(self, content: bytes) -> None:
        self.template_digest = sha256_digest(content)
        self.template_has_tools = b"tools" in content


def _small_files(manifest: ArtifactManifest, open_layer: OpenLayer) -> _SmallFiles:
    files = _SmallFiles()
    for layer in manifest.layers:
        if layer.file_path:
            files.paths.append(layer.file_path)
        if layer.role is Role.ARCHIVE:
            _archive(layer, open_layer, files)
        elif layer.role not in (Role.WEIGHTS, Role.PROJECTOR) and (most := files.wants(layer.file_path)):
            with open_layer(layer) as chunks:
                files.learn(layer.file_path, _whole(layer, chunks, most))
    neighbours.check_collisions(files.paths)
    return files


def _whole(layer: Layer, chunks: Iterator[bytes], most: int) -> bytes:
    if layer.size_bytes > most:
        raise HeaderRefused(f"The file {layer.file_path} is larger than {most} bytes.")
    content = _collected(chunks, layer.size_bytes)
    if sha256_digest(content) != layer.digest:
        raise DigestMismatch(f"The file {layer.file_path} is not the one that its digest names. Nothing was kept.")
    return content


def _collected(chunks: Iterator[bytes], most: int) -> bytes:
    held = bytearray()
    for chunk in chunks:
        held += chunk
        if len(held) > most:
            break
    return bytes(held)


def _archive(layer: Layer, open_layer: OpenLayer, files: _SmallFiles) -> None:
    hashed = hashlib.sha256()

    def watched(chunks: Iterator[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            hashed.update(chunk)
            yield chunk

    with open_layer(layer) as chunks:
        seen = watched(chunks)
        for member in tar.members(seen, size_bytes=layer.size_bytes):
            if member.path.lower().endswith((".gguf", ".safetensors")):
                raise HeaderRefused(f"The archive holds weights ({member.path}), which must be a layer of their own.")
            files.paths.append(member.path)
            if most := files.wants(member.path):
                if member.size_bytes > most:
                    raise HeaderRefused(f"The file {member.path} is larger than {most} bytes.")
                files.learn(member.path, b"".join(member.chunks))
        for _ in seen:
            pass
    if "sha256:" + hashed.hexdigest() != layer.digest:
        raise DigestMismatch("The archive of the model is not the one that its digest names. Nothing was kept.")


def _gguf(layer: Layer, open_layer: OpenLayer) -> gguf.GgufHeader:
    with open_layer(layer) as chunks:
        return gguf.read_gguf(chunks, size_bytes=layer.size_bytes)


def _safetensors(layer: Layer, open_layer: OpenLayer) -> safetensors.SafetensorsHeader:
    with open_layer(layer) as chunks:
        return safetensors.read_safetensors(chunks, size_bytes=layer.size_bytes)
