"""The byte-level BPE of the demo model, and the files that tell both engines about it.

The splitting rule is GPT-2's: it is the default of `tokenizers`' ByteLevel and the pre-tokenizer "gpt-2" of
llama.cpp, so that both engines cut a text into the same tokens. Nothing is normalised.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from runners.demo import corpus
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

# Kept to filters and loops that Jinja2 and llama.cpp's own template reader treat alike.
CHAT_TEMPLATE = (
    "{{ bos_token }}"
    "{% for message in messages %}"
    "{% if message['role'] == 'user' %}{{ '<|user|>' + message['content'] + '<|end|>' }}"
    "{% elif message['role'] == 'assistant' %}{{ '<|assistant|>' + message['content'] + '<|end|>' }}"
    "{% else %}{{ '<|system|>' + message['content'] + '<|end|>' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def learn(texts: list[str], *, size: int) -> Tokenizer:
    """A tokenizer of `size` entries; the marks of the chat template come first, in their fixed order."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[AddedToken(mark, special=True, normalized=False) for mark in corpus.MARKS],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    assert tokenizer.get_vocab_size() == size, "the corpus is too small for this vocabulary"
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{corpus.BEGIN} $A",
        pair=f"{corpus.BEGIN} $A {corpus.BEGIN} $B",
        special_tokens=[(corpus.BEGIN, tokenizer.token_to_id(corpus.BEGIN))],
    )
    return tokenizer


def write(tokenizer: Tokenizer, folder: Path, *, context: int) -> None:
    """tokenizer.json, tokenizer_config.json and special_tokens_map.json, as Hugging Face's libraries read them."""
    tokenizer.save(str(folder / "tokenizer.json"))
    marks = {"bos_token": corpus.BEGIN, "eos_token": corpus.END, "pad_token": corpus.END}
    _write_json(folder / "special_tokens_map.json", marks)
    _write_json(
        folder / "tokenizer_config.json",
        marks
        | {
            "tokenizer_class": "PreTrainedTokenizerFast",
            "model_max_length": context,
            "clean_up_tokenization_spaces": False,
            "chat_template": CHAT_TEMPLATE,
        },
    )


def _write_json(path: Path, value: Mapping[str, object]) -> None:
    path.write_text(json.dumps(value, indent=2) + "\n", "utf-8")
