"""What the headers of a model's files say, as numbers the rest of Moorage may calculate with.

Every figure comes from the bounded readers and was checked against caps before anything was multiplied. What a file
claims about itself and what its tensors show are kept apart.
"""

from dataclasses import asdict, dataclass, fields
from typing import Literal

Format = Literal["gguf", "safetensors"]


@dataclass(frozen=True, kw_only=True)
class ModelFacts:
    """Facts of one model, summed over its shards. Sizes are bytes; lengths are tokens or elements."""

    format: Format
    architecture: str
    context_length: int
    block_count: int
    embedding_length: int
    head_count: int
    head_count_kv: int
    kv_heads_total: int  # over all layers: hybrid models have layers without a KV cache
    key_length: int
    value_length: int
    vocabulary_size: int
    quantization_claimed: str  # "" where the file claims nothing
    quantization_derived: str  # the tensor type that holds most of the weights
    parameters: int
    tensor_count: int
    tensor_bytes: int
    projector_bytes: int
    file_bytes: int
    chat_template_digest: str  # "" without a template; the template itself is never kept or rendered
    template_has_tools: bool = True  # it has a place for tools; facts that were read before this was asked say yes

    def to_json(self) -> dict[str, str | int]:
        """The same as a flat JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: dict[str, str | int]) -> "ModelFacts":
        """Read what `to_json` wrote; keys of later versions are ignored."""
        return cls(**{field.name: stored[field.name] for field in fields(cls) if field.name in stored})  # type: ignore[arg-type]
