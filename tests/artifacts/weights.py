"""Small models made on the spot: honest ones, and honest ones with one thing wrong."""

import hashlib
import io
import json
import struct
import tarfile
from dataclasses import dataclass, field
from typing import Any

from moorage.artifacts import manifest, reference
from moorage.artifacts.source_memory import MemorySource

U32, F32, BOOL, STRING, ARRAY, U64 = 4, 6, 7, 8, 9, 10
F16_TYPE, Q8_0_TYPE = 1, 8


def text(value: str | bytes) -> bytes:
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def u32(value: int) -> bytes:
    return struct.pack("<II", U32, value)


def string(value: str | bytes) -> bytes:
    return struct.pack("<I", STRING) + text(value)


def strings(values: list[str]) -> bytes:
    return struct.pack("<IIQ", ARRAY, STRING, len(values)) + b"".join(text(value) for value in values)


def key(name: str | bytes, value: bytes) -> bytes:
    return text(name) + value


LLAMA_KEYS: dict[str, bytes] = {
    "general.architecture": string("llama"),
    "general.file_type": u32(1),
    "llama.context_length": u32(512),
    "llama.embedding_length": u32(64),
    "llama.block_count": u32(2),
    "llama.attention.head_count": u32(4),
    "llama.attention.head_count_kv": u32(2),
    "tokenizer.ggml.tokens": strings(["<s>", "</s>", "sea", "quay"]),
    "tokenizer.chat_template": string("{{ messages }}"),
}


def tensor(name: str | bytes, dimensions: tuple[int, ...], kind: int, offset: int) -> bytes:
    return text(name) + struct.pack(f"<I{len(dimensions)}QIQ", len(dimensions), *dimensions, kind, offset)


def gguf(
    keys: dict[str, bytes] | None = None,
    *,
    tensors: list[tuple[str, tuple[int, ...]]] | None = None,
    kind: int = F16_TYPE,
    alignment: int = 32,
) -> bytes:
    """A whole GGUF file, valid unless the keys are not; F16, or Q8_0 with `kind=8`."""
    chosen = LLAMA_KEYS if keys is None else keys
    named = tensors if tensors is not None else [("token_embd.weight", (64, 4)), ("blk.0.attn_q.weight", (64, 64))]
    infos, data = b"", b""
    for name, dimensions in named:
        infos += tensor(name, dimensions, kind, len(data))
        count = 1
        for dimension in dimensions:
            count *= dimension
        size = count * 2 if kind == F16_TYPE else count // 32 * 34
        data += b"\x11" * size + b"\0" * (-size % alignment)
    head = b"GGUF" + struct.pack("<IQQ", 3, len(named), len(chosen))
    head += b"".join(key(name, value) for name, value in chosen.items()) + infos
    return head + b"\0" * (-len(head) % alignment) + data


def safetensors(entries: dict[str, Any] | None = None, data: bytes | None = None, *, raw: bytes | None = None) -> bytes:
    """A whole safetensors file: two F16 matrices unless told otherwise."""
    if entries is None:
        entries = {
            "__metadata__": {"format": "pt"},
            "embed": {"dtype": "F16", "shape": [4, 8], "data_offsets": [0, 64]},
            "head": {"dtype": "F16", "shape": [8, 4], "data_offsets": [64, 128]},
        }
    header = raw if raw is not None else json.dumps(entries).encode()
    return struct.pack("<Q", len(header)) + header + (b"\x22" * 128 if data is None else data)


CONFIG_JSON: dict[str, Any] = {
    "architectures": ["LlamaForCausalLM"],
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 512,
    "vocab_size": 4,
    "torch_dtype": "float16",
}


def config_json(**changes: Any) -> bytes:
    return json.dumps({**CONFIG_JSON, **changes}).encode()


def tar(members: list[tuple[tarfile.TarInfo | str, bytes]], *, format: int = tarfile.USTAR_FORMAT) -> bytes:
    held = io.BytesIO()
    with tarfile.open(fileobj=held, mode="w", format=format) as archive:
        for name, content in members:
            member = name if isinstance(name, tarfile.TarInfo) else tarfile.TarInfo(name)
            if member.isreg():
                member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return held.getvalue()


def digest_of(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


@dataclass
class Parcel:
    """A model on its way into a source: blobs, and the manifest that names them."""

    config_type: str
    format: str
    layers: list[dict[str, Any]] = field(default_factory=list)
    blobs: list[bytes] = field(default_factory=list)
    claims: dict[str, Any] = field(default_factory=dict)

    def add(self, kind: str, content: bytes, path: str = "", **changes: Any) -> "Parcel":
        """One more layer; `changes` overwrite its descriptor."""
        layer = {
            "mediaType": f"application/vnd.docker.ai.{kind}",
            "digest": digest_of(content),
            "size": len(content),
            **({"annotations": {manifest.FILEPATH: path}} if path else {}),
            **changes,
        }
        self.layers.append(layer)
        self.blobs.append(content)
        return self

    @property
    def config(self) -> bytes:
        claims = {"format": self.format, **self.claims}
        return json.dumps({"config": claims, "rootfs": {"type": "rootfs", "diff_ids": []}}).encode()

    @property
    def document(self) -> dict[str, Any]:
        return {
            "schemaVersion": 2,
            "mediaType": manifest.OCI_MANIFEST,
            "config": {
                "mediaType": self.config_type,
                "digest": digest_of(self.config),
                "size": len(self.config),
            },
            "layers": self.layers,
        }

    @property
    def content(self) -> bytes:
        return json.dumps(self.document).encode()

    @property
    def digest(self) -> str:
        return digest_of(self.content)

    def into(self, source: MemorySource, name: str = "catalog/tiny:latest") -> reference.Reference:
        """Put it all into a memory source; returns the reference that finds it."""
        for blob in [*self.blobs, self.config]:
            source.put_blob(blob)
        found = reference.parse(name)
        source.put_manifest(found, self.content)
        return found


def gguf_parcel(content: bytes | None = None) -> Parcel:
    """A GGUF model of version 0.1 with a license."""
    parcel = Parcel(config_type=manifest.CONFIG_V01, format="gguf")
    return parcel.add("gguf.v3", gguf() if content is None else content).add("license", b"Apache-2.0")


def safetensors_parcel(weights: bytes | None = None, **files: bytes) -> Parcel:
    """A safetensors model of version 0.2: weights, config.json and whatever else is named (dots as __)."""
    parcel = Parcel(config_type=manifest.CONFIG_V02, format="safetensors")
    parcel.add("safetensors", safetensors() if weights is None else weights, "model.safetensors")
    for name, content in {"config__json": config_json(), **files}.items():
        parcel.add("model.file", content, name.replace("__", "."))
    return parcel


def tarred_parcel(members: list[tuple[tarfile.TarInfo | str, bytes]] | None = None) -> Parcel:
    """A safetensors model of version 0.1, its configuration in a tar."""
    parcel = Parcel(config_type=manifest.CONFIG_V01, format="safetensors")
    parcel.add("safetensors", safetensors())
    archive = tar(members if members is not None else [("config.json", config_json()), ("tokenizer.json", b"{}")])
    return parcel.add("vllm.config.tar", archive)
