"""What the headers of one GGUF model (one file or all of its shards, and its projector) add up to."""

from collections import Counter
from collections.abc import Sequence

from moorage.artifacts.errors import HeaderRefused, UnsupportedArtifact
from moorage.artifacts.facts import ModelFacts
from moorage.artifacts.gguf import GgufHeader
from moorage.artifacts.gguf_types import ARCHITECTURES, FILE_TYPE_GUESSED, FILE_TYPES, PROJECTOR_ARCHITECTURE

MAX_CONTEXT = 64 * 1024 * 1024
MAX_BLOCKS = 4_096
MAX_EMBEDDING = 1_048_576
MAX_HEADS = 16_384
MAX_VOCABULARY = 16 * 1024 * 1024


def facts_of(shards: Sequence[GgufHeader], projector: GgufHeader | None = None) -> ModelFacts:
    """The facts of a whole model; `shards` in order. Raises HeaderRefused or UnsupportedArtifact."""
    first = shards[0]
    _check_shards(shards)
    architecture = first.architecture
    kind = first.values.get("general.type", "model")
    if kind != "model":
        raise UnsupportedArtifact(f"The GGUF file is of the type {ascii(kind)[:80]}, not a whole model.")
    if architecture not in ARCHITECTURES:
        raise UnsupportedArtifact(
            f"Moorage does not serve the architecture {ascii(architecture)[:80]}. Use a text model of llama.cpp's list."
        )
    if projector is not None and projector.architecture != PROJECTOR_ARCHITECTURE:
        raise HeaderRefused("The projector is not a file of the architecture clip.")
    blocks = _bounded(first, f"{architecture}.block_count", MAX_BLOCKS)
    heads = _heads(first, f"{architecture}.attention.head_count", blocks, default=None)
    kv_heads = _heads(first, f"{architecture}.attention.head_count_kv", blocks, default=heads)
    embedding = _bounded(first, f"{architecture}.embedding_length", MAX_EMBEDDING)
    widest = max(heads)
    key_length = _bounded(first, f"{architecture}.attention.key_length", MAX_EMBEDDING, -(-embedding // widest))
    value_length = _bounded(first, f"{architecture}.attention.value_length", MAX_EMBEDDING, -(-embedding // widest))
    tensors = [tensor for shard in shards for tensor in shard.tensors]
    return ModelFacts(
        format="gguf",
        architecture=architecture,
        context_length=_bounded(first, f"{architecture}.context_length", MAX_CONTEXT),
        block_count=blocks,
        embedding_length=embedding,
        head_count=widest,
        head_count_kv=max(kv_heads),
        kv_heads_total=sum(kv_heads),
        key_length=key_length,
        value_length=value_length,
        vocabulary_size=_bounded(first, f"{architecture}.vocab_size", MAX_VOCABULARY, max(1, first.token_count)),
        quantization_claimed=_claimed(first),
        quantization_derived=_derived(shards),
        parameters=sum(shard.parameters for shard in shards),
        tensor_count=len(tensors),
        tensor_bytes=sum(shard.tensor_bytes for shard in shards),
        projector_bytes=projector.tensor_bytes if projector else 0,
        file_bytes=sum(shard.file_bytes for shard in shards) + (projector.file_bytes if projector else 0),
        chat_template_digest=first.chat_template_digest,
        template_has_tools=first.template_has_tools,
    )


def _check_shards(shards: Sequence[GgufHeader]) -> None:
    names: set[str] = set()
    for number, shard in enumerate(shards):
        if shard.number("split.count", 1) != len(shards) or shard.number("split.no", 0) != number:
            raise HeaderRefused(f"Shard {number + 1} of {len(shards)} is not the one it should be.")
        if shard.architecture not in ("", shards[0].architecture):
            raise HeaderRefused("The shards are of different architectures.")
        for tensor in shard.tensors:
            if tensor.name in names:
                raise HeaderRefused(f"The tensor {tensor.name!a} is in two shards.")
            names.add(tensor.name)
    if not names:
        raise HeaderRefused("The model has no tensors.")
    if len(shards) > 1 and shards[0].number("split.tensors.count") != len(names):
        raise HeaderRefused("The shards do not hold the number of tensors that the first one names.")


def _bounded(header: GgufHeader, key: str, most: int, default: int | None = None) -> int:
    value = header.number(key, default)
    if not 1 <= value <= most:
        raise HeaderRefused(f"{key} is {value}; 1 to {most} are allowed.")
    return value


def _heads(header: GgufHeader, key: str, blocks: int, default: tuple[int, ...] | None) -> tuple[int, ...]:
    """Heads of each layer: one number for all of them or an array with one a layer, where 0 means no attention."""
    value = header.values.get(key)
    if value is None and default is not None:
        return default
    if isinstance(value, int) and not isinstance(value, bool):
        value = (value,) * blocks
    if not isinstance(value, tuple) or len(value) != blocks:
        raise HeaderRefused(f"{key} is neither a number nor one number for each of the {blocks} layers.")
    heads = tuple(head for head in value if isinstance(head, int) and 0 <= head <= MAX_HEADS)
    if len(heads) != blocks or not any(heads):
        raise HeaderRefused(f"{key} is outside 1 to {MAX_HEADS}.")
    return heads


def _claimed(header: GgufHeader) -> str:
    if "general.file_type" not in header.values:
        return ""
    return FILE_TYPES.get(header.number("general.file_type") & ~FILE_TYPE_GUESSED, "")


def _derived(shards: Sequence[GgufHeader]) -> str:
    """The type that holds most elements of the matrices; vectors (norms, biases) stay F32 in every quantization."""
    held: Counter[str] = Counter()
    for shard in shards:
        for tensor in shard.tensors:
            if len(tensor.dimensions) > 1:
                held[tensor.type_name] += tensor.elements
    return held.most_common(1)[0][0] if held else "F32"
