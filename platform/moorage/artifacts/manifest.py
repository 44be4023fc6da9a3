"""A model as its manifest lists it, once that was read and found good: which blobs, how large, what each is for.

The values only; `manifest_reader` makes them from bytes, and nobody else makes them from anything unchecked.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

from moorage.artifacts.facts import Format

MAX_MANIFEST_BYTES = 4 * 1024 * 1024

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
CONFIG_V01 = "application/vnd.docker.ai.model.config.v0.1+json"
CONFIG_V02 = "application/vnd.docker.ai.model.config.v0.2+json"
FILEPATH = "org.cncf.model.filepath"


class Role(StrEnum):
    """What a layer is for."""

    WEIGHTS = "weights"
    PROJECTOR = "projector"
    TEMPLATE = "template"
    LICENSE = "license"
    FILE = "file"
    ARCHIVE = "archive"


@dataclass(frozen=True, kw_only=True)
class Descriptor:
    """A blob by digest and exact size in bytes."""

    digest: str
    size_bytes: int


@dataclass(frozen=True, kw_only=True)
class Layer(Descriptor):
    """One blob of a model. `file_path` is where it lies in the model's folder; "" for archives, which unpack there."""

    media_type: str
    file_path: str
    role: Role


@dataclass(frozen=True, kw_only=True)
class ArtifactManifest:
    """A model that Moorage can store: checked layers, and what its config claims. `digest` is its identity."""

    digest: str
    dialect: Literal["v0.1", "v0.2"]
    format: Format
    config: Descriptor
    layers: tuple[Layer, ...]
    context_size: int | None
    claimed_quantization: str
    claimed_parameters: str

    @property
    def size_bytes(self) -> int:
        """Bytes of all layers, each digest counted once."""
        return sum({layer.digest: layer.size_bytes for layer in self.layers}.values())

    def with_role(self, role: Role) -> tuple[Layer, ...]:
        """The layers of one role, in the manifest's order."""
        return tuple(layer for layer in self.layers if layer.role is role)

    @property
    def entry_path(self) -> str:
        """What an engine opens, relative to the model's folder: the first GGUF file; "" for the folder itself."""
        return self.with_role(Role.WEIGHTS)[0].file_path if self.format == "gguf" else ""

    @property
    def projector_path(self) -> str:
        """The multimodal projector's file, relative to the model's folder; "" without one."""
        return next((layer.file_path for layer in self.with_role(Role.PROJECTOR)), "")

    @property
    def template_path(self) -> str:
        """The file of the chat template that replaces the one in the weights; "" without one."""
        return next((layer.file_path for layer in self.with_role(Role.TEMPLATE)), "")

    def to_json(self) -> dict[str, object]:
        """As a JSON object; `from_json` reads it back."""
        return {
            "digest": self.digest,
            "dialect": self.dialect,
            "format": self.format,
            "config": {"digest": self.config.digest, "size_bytes": self.config.size_bytes},
            "layers": [
                {
                    "digest": layer.digest,
                    "size_bytes": layer.size_bytes,
                    "media_type": layer.media_type,
                    "file_path": layer.file_path,
                    "role": layer.role.value,
                }
                for layer in self.layers
            ],
            "context_size": self.context_size,
            "claimed_quantization": self.claimed_quantization,
            "claimed_parameters": self.claimed_parameters,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, object]) -> "ArtifactManifest":
        """Read what `to_json` wrote."""
        layers: Sequence[Mapping[str, object]] = stored["layers"]  # type: ignore[assignment]
        return cls(
            **{  # type: ignore[arg-type]
                **stored,
                "config": Descriptor(**stored["config"]),  # type: ignore[arg-type]
                "layers": tuple(Layer(**{**one, "role": Role(one["role"])}) for one in layers),  # type: ignore[arg-type]
            }
        )
