"""Writes the trained folder as GGUF, F16 and Q8_0, from the very numbers that the safetensors file holds.

    python -m runners.demo.convert --model /tmp/harbour/hf --out /tmp/harbour

Matrices are stored in the type asked for, the norms' scales as F32 (llama.cpp wants them so; an F16 number is exact
in F32). The output matrix is the embedding, which llama.cpp takes by itself where a file has no "output.weight".
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import gguf
import numpy as np
from safetensors.numpy import load_file

FILES = {
    "harbour-f16.gguf": (gguf.GGMLQuantizationType.F16, gguf.LlamaFileType.MOSTLY_F16),
    "harbour-q8_0.gguf": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
}

NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
    "input_layernorm": "attn_norm",
    "post_attention_layernorm": "ffn_norm",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, required=True, help="the folder that train.py wrote")
    parser.add_argument("--out", type=Path, required=True, help="folder for the GGUF files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, (tensor_type, file_type) in FILES.items():
        write(arguments.model, arguments.out / name, tensor_type=tensor_type, file_type=file_type)


def write(
    model: Path,
    path: Path,
    *,
    tensor_type: gguf.GGMLQuantizationType,
    file_type: gguf.LlamaFileType,
) -> None:
    """One GGUF file of the folder `model`; the same folder gives the same bytes."""
    config = json.loads((model / "config.json").read_text("utf-8"))
    writer = gguf.GGUFWriter(path, "llama")
    _add_shape(writer, config, file_type)
    generation = json.loads((model / "generation_config.json").read_text("utf-8"))
    writer.add_sampling_temp(generation["temperature"])
    _add_tokenizer(writer, model, config)
    for name, tensor in sorted(load_file(model / "model.safetensors").items()):
        if name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config["num_key_value_heads" if "k_proj" in name else "num_attention_heads"]
            tensor = paired(tensor, heads=heads)
        kind = tensor_type if tensor.ndim == 2 else gguf.GGMLQuantizationType.F32
        writer.add_tensor(gguf_name(name), gguf.quants.quantize(tensor.astype(np.float32), kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def paired(tensor: np.ndarray, *, heads: int) -> np.ndarray:
    """Rows re-ordered for rotary positions: Hugging Face turns (i, i + half), llama.cpp turns (2i, 2i + 1)."""
    rows, columns = tensor.shape
    return tensor.reshape(heads, 2, rows // heads // 2, columns).swapaxes(1, 2).reshape(rows, columns)


def gguf_name(name: str) -> str:
    """llama.cpp's name of a tensor that Hugging Face's Llama calls `name`."""
    plain = name.removeprefix("model.").removesuffix(".weight")
    if plain == "embed_tokens":
        return "token_embd.weight"
    if plain == "norm":
        return "output_norm.weight"
    _, layer, part = plain.split(".", 2)
    return f"blk.{layer}.{NAMES[part]}.weight"


def _add_shape(writer: gguf.GGUFWriter, config: dict[str, Any], file_type: gguf.LlamaFileType) -> None:
    writer.add_name("Harbour")
    writer.add_description("The demo model of Moorage")
    writer.add_license("cc0-1.0")
    writer.add_size_label("2M")
    writer.add_file_type(file_type)
    writer.add_quantization_version(gguf.GGML_QUANT_VERSION)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_key_length(config["head_dim"])
    writer.add_value_length(config["head_dim"])
    writer.add_rope_dimension_count(config["head_dim"])
    writer.add_rope_freq_base(config["rope_theta"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_vocab_size(config["vocab_size"])


def _add_tokenizer(writer: gguf.GGUFWriter, model: Path, config: dict[str, Any]) -> None:
    tokenizer = json.loads((model / "tokenizer.json").read_text("utf-8"))
    settings = json.loads((model / "tokenizer_config.json").read_text("utf-8"))
    marks = {token["id"] for token in tokenizer["added_tokens"]}
    ids = {number: token for token, number in tokenizer["model"]["vocab"].items()}
    merges = [m if isinstance(m, str) else " ".join(m) for m in tokenizer["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([ids[number] for number in range(config["vocab_size"])])
    writer.add_token_types(
        [gguf.TokenType.CONTROL if number in marks else gguf.TokenType.NORMAL for number in range(config["vocab_size"])]
    )
    writer.add_token_merges(merges)
    writer.add_bos_token_id(config["bos_token_id"])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_pad_token_id(config["pad_token_id"])
    writer.add_add_bos_token(True)
    writer.add_add_eos_token(False)
    writer.add_chat_template(settings["chat_template"])


if __name__ == "__main__":
    main()
