"""Which path in a model's directory an engine is pointed at: a file for GGUF, the directory for safetensors."""

from pathlib import Path
from typing import assert_never

from moorage.fleet.engines import Engine


def model_path(model_dir: Path, *, engine: Engine, seen_as: str) -> str:
    """The path to name to ``engine``, which sees ``model_dir`` as ``seen_as``.

    llama-server finds the further parts of a split model beside the first, and the first sorts first.
    """
    match engine:
        case Engine.VLLM:
            return seen_as
        case Engine.LLAMACPP:
            files = sorted(file.name for file in model_dir.glob("*.gguf"))
            return f"{seen_as}/{files[0] if files else 'model.gguf'}"
        case _:
            assert_never(engine)
