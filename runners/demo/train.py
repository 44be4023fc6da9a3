"""Trains the demo model on one processor core and writes it as a Hugging Face folder.

    python -m runners.demo.train --out /tmp/harbour/hf

Steps: learn the vocabulary, train on packed rows (short ones first, then rows as long as the context), round every
tensor to F16 once, write config.json, generation_config.json, the tokenizer's files and model.safetensors.
The seed fixes text, order and first weights. The last bits of the sums depend on the processor, so that another
machine gives an equally good model but not the same bytes; this is why the weights are committed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from runners.demo import corpus, vocabulary
from runners.demo.model import Llama, Shape
from safetensors.torch import save_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn import functional

# Where a request names no temperature, both engines take this one: a model so small wanders off at 1.0.
TEMPERATURE = 0.3


@dataclass(frozen=True, kw_only=True)
class Course:
    """How long and how fast to learn; a phase is (steps, rows, tokens a row)."""

    seed: int = 20
    peak_rate: float = 4e-3
    warm_up_steps: int = 50
    phases: tuple[tuple[int, int, int], ...] = ((1350, 4, 256), (250, 2, 512))
    vocabulary_epochs: int = 8

    @property
    def steps(self) -> int:
        return sum(steps for steps, _, _ in self.phases)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="folder for the model's files")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)

    course = Course()
    shape = Shape()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(course.seed)

    texts = [text for epoch in range(course.vocabulary_epochs) for text in corpus.documents(seed=epoch)]
    tokenizer = vocabulary.learn(texts, size=shape.vocabulary)
    model = Llama(shape)
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters", flush=True)
    learn(model, tokenizer, course=course)
    write(model, tokenizer, arguments.out, shape=shape)


def learn(model: Llama, tokenizer: Tokenizer, *, course: Course) -> None:
    """Trains in place with AdamW, a warm-up and a cosine down to nothing; prints the loss as it goes."""
    matrices = [p for p in model.parameters() if p.dim() == 2]
    scales = [p for p in model.parameters() if p.dim() != 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": scales, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=course.peak_rate, betas=(0.9, 0.95))
    stream = token_stream(tokenizer, seed=course.seed)
    started = time.monotonic()
    step = 0
    for steps, rows, length in course.phases:
        for _ in range(steps):
            step += 1
            rate = course.peak_rate * min(1.0, step / course.warm_up_steps)
            rate *= 0.5 * (1 + math.cos(math.pi * step / course.steps))
            for group in optimizer.param_groups:
                group["lr"] = rate
            block = torch.tensor([next(stream) for _ in range(rows * length)]).view(rows, length)
            loss = loss_on(model, block)
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            if step % 50 == 0:
                spent = time.monotonic() - started
                print(f"step={step}/{course.steps} loss={loss.item():.3f} seconds={spent:.0f}", flush=True)


def loss_on(model: Llama, block: Tensor) -> Tensor:
    """Mean cross-entropy of the next token over the rows of a block."""
    logits = model(block[:, :-1])
    return functional.cross_entropy(logits.reshape(-1, logits.shape[-1]), block[:, 1:].reshape(-1))


def token_stream(tokenizer: Tokenizer, *, seed: int) -> Iterator[int]:
    """Endless tokens: one shuffled epoch after another."""
    dice = random.Random(seed)
    while True:
        for text in corpus.documents(seed=dice.getrandbits(32)):
            yield from tokenizer.encode(text, add_special_tokens=False).ids


def write(model: Llama, tokenizer: Tokenizer, folder: Path, *, shape: Shape) -> None:
    """The folder that vLLM loads as it is and that convert.py reads."""
    vocabulary.write(tokenizer, folder, context=shape.context)
    # Both engines' files are made from these rounded numbers, so that neither has more precision than the other.
    tensors = {f"model.{name}": p.detach().to(torch.float16).contiguous() for name, p in model.named_parameters()}
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    marks = {name: tokenizer.token_to_id(mark) for name, mark in (("bos", corpus.BEGIN), ("eos", corpus.END))}
    ids = {"bos_token_id": marks["bos"], "eos_token_id": marks["eos"], "pad_token_id": marks["eos"]}
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "hidden_size": shape.hidden,
        "intermediate_size": shape.feed_forward,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.key_value_heads,
        "head_dim": shape.head,
        "hidden_act": "silu",
        "max_position_embeddings": shape.context,
        "rms_norm_eps": shape.norm_epsilon,
        "rope_theta": shape.rope_theta,
        "tie_word_embeddings": True,
        "attention_bias": False,
        "mlp_bias": False,
        "vocab_size": shape.vocabulary,
        "torch_dtype": "float16",
        **ids,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n", "utf-8")
    generation = ids | {"do_sample": True, "temperature": TEMPERATURE}
    (folder / "generation_config.json").write_text(json.dumps(generation, indent=2) + "\n", "utf-8")


if __name__ == "__main__":
    main()
