"""What the headers of a safetensors model and its config.json add up to."""

import re
from collections import Counter
from collections.abc import Mapping

from moorage.artifacts import strict_json
from moorage.artifacts.errors import HeaderRefused, UnsupportedArtifact
from moorage.artifacts.facts import ModelFacts
from moorage.artifacts.gguf_facts import MAX_BLOCKS, MAX_CONTEXT, MAX_EMBEDDING, MAX_HEADS, MAX_VOCABULARY
from moorage.artifacts.safetensors import SafetensorsHeader

CONFIG = "config.json"
INDEX = "model.safetensors.index.json"
CONTEXT_KEYS = (
    "max_position_embeddings", "n_ctx", "n_positions", "max_length", "max_sequence_length", "model_max_length",
)  # fmt: skip
# Class names of text models in the transformers library: a family and what it is for.
_ARCHITECTURE = re.compile(
    r"[A-Za-z][A-Za-z0-9_]{1,60}(?:ForCausalLM|LMHeadModel|ForConditionalGeneration|Model|ForMaskedLM"
    r"|ForSequenceClassification)"
)


def facts_of(
    files: Mapping[str, SafetensorsHeader],
    config: Mapping[str, object],
    index: Mapping[str, object] | None = None,
    chat_template_digest: str = "",
    template_has_tools: bool = False,
) -> ModelFacts:
    """The facts of a whole model; `files` by path. Raises HeaderRefused or UnsupportedArtifact."""
    tensors = [tensor for header in files.values() for tensor in header.tensors]
    if not tensors:
        raise HeaderRefused("The model has no tensors.")
    if len({tensor.name for tensor in tensors}) != len(tensors):
        raise HeaderRefused("A tensor is in two shards.")
    if index is not None:
        _check_index(index, files)
    elif len(files) > 1:
        raise HeaderRefused(f"The model has {len(files)} shards but no {INDEX}.")
    architecture = _architecture(config)
    text = config.get("text_config")
    inner = {**config, **text} if isinstance(text, dict) else config
    embedding = _number(inner, MAX_EMBEDDING, "hidden_size", "n_embd", "d_model")
    blocks = _number(inner, MAX_BLOCKS, "num_hidden_layers", "n_layer", "n_layers", "num_layers")
    heads = _number(inner, MAX_HEADS, "num_attention_heads", "n_head", "n_heads")
    kv_heads = _number(inner, MAX_HEADS, "num_key_value_heads", "n_head_kv", "multi_query_group_num", default=heads)
    head_length = _number(inner, MAX_EMBEDDING, "head_dim", default=-(-embedding // heads))
    held: Counter[str] = Counter()
    for tensor in tensors:
        held[tensor.dtype] += tensor.elements
    return ModelFacts(
        format="safetensors",
        architecture=architecture,
        context_length=_number(inner, MAX_CONTEXT, *CONTEXT_KEYS),
        block_count=blocks,
        embedding_length=embedding,
        head_count=heads,
        head_count_kv=kv_heads,
        kv_heads_total=kv_heads * blocks,
        key_length=head_length,
        value_length=head_length,
        vocabulary_size=_number(inner, MAX_VOCABULARY, "vocab_size", default=1),
        quantization_claimed=_claimed(config),
        quantization_derived=held.most_common(1)[0][0],
        parameters=sum(held.values()),
        tensor_count=len(tensors),
        tensor_bytes=sum(header.tensor_bytes for header in files.values()),
        projector_bytes=0,
        file_bytes=sum(header.file_bytes for header in files.values()),
        chat_template_digest=chat_template_digest,
        template_has_tools=template_has_tools,
    )


def _architecture(config: Mapping[str, object]) -> str:
    names = config.get("architectures")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        raise HeaderRefused("config.json must name exactly one of architectures.")
    if not _ARCHITECTURE.fullmatch(names[0]):
        raise UnsupportedArtifact(f"Moorage does not serve the architecture {ascii(names[0])[:80]}.")
    return names[0]


def _number(config: Mapping[str, object], most: int, *keys: str, default: int | None = None) -> int:
    for key in keys:
        value = config.get(key)
        if value is None:
            continue
        number = strict_json.whole(value)
        if number is None or not 1 <= number <= most:
            raise HeaderRefused(f"config.json: {key} is not a whole number from 1 to {most}.")
        return number
    if default is None:
        raise HeaderRefused(f"config.json does not say {keys[0]}.")
    return default


def _claimed(config: Mapping[str, object]) -> str:
    quantization = config.get("quantization_config")
    if isinstance(quantization, dict) and isinstance(method := quantization.get("quant_method"), str):
        return method[:40]
    dtype = config.get("torch_dtype", config.get("dtype"))
    return dtype[:40] if isinstance(dtype, str) else ""


def _check_index(index: Mapping[str, object], files: Mapping[str, SafetensorsHeader]) -> None:
    """Every tensor where the index says, every file known: engines open the names that stand here."""
    places = index.get("weight_map")
    if not isinstance(places, dict):
        raise HeaderRefused(f"{INDEX} has no weight_map.")
    actual = {tensor.name: path for path, header in files.items() for tensor in header.tensors}
    if places != actual:
        strangers = sorted({str(path) for path in places.values()} - set(files))
        if strangers:
            raise HeaderRefused(f"{INDEX} names {ascii(strangers[0])[:120]}, which is not part of the model.")
        raise HeaderRefused(f"{INDEX} does not agree with the headers of the shards.")
