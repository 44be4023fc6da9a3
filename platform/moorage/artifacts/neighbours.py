"""The files beside the weights: harmless names only, and no configuration that asks an engine to run code.

The tensor file of a safetensors model cannot do anything; engines have executed its neighbours (`auto_map` modules,
pickles) even where remote code was switched off, so they are refused here.
"""

import re
from collections.abc import Iterable

from moorage.artifacts.errors import HeaderRefused

MAX_NAME_LENGTH = 128
MAX_DEPTH = 4
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")

# Programs, pickles and containers of pickles, archives.
_REFUSED_SUFFIXES = (
    ".py", ".pyc", ".pyo", ".pyd", ".so", ".dll", ".dylib", ".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle",
    ".joblib", ".npy", ".npz", ".h5", ".hdf5", ".keras", ".pb", ".msgpack", ".onnx", ".mar", ".nemo",
    ".tar", ".gz", ".tgz", ".zip", ".7z", ".rar", ".bz2", ".xz", ".zst", ".whl", ".egg", ".jar",
    ".sh", ".exe", ".bat", ".ps1", ".js", ".ipynb", ".engine", ".plan",
)  # fmt: skip
_ALLOWED_SUFFIXES = (
    ".safetensors", ".gguf", ".json", ".jsonl", ".txt", ".md", ".jinja", ".model", ".vocab", ".tiktoken", ".merges",
    ".yaml", ".yml", ".png", ".jpg", ".jpeg", ".svg", ".webp", ".pdf", ".imatrix",
)  # fmt: skip
_ALLOWED_BARE = frozenset({"license", "licence", "copying", "notice", "readme", "usage_policy", "use_policy"})

CHECKED_CONFIGS = frozenset(
    {
        "config.json", "tokenizer_config.json", "processor_config.json", "preprocessor_config.json",
        "generation_config.json", "video_preprocessor_config.json", "params.json",
    }
)  # fmt: skip
_CODE_KEYS = frozenset({"auto_map", "custom_pipelines", "trust_remote_code", "custom_generate"})
MAX_CONFIG_DEPTH = 32


def check_path(path: str) -> str:
    """Return the path if it is relative, plain and harmless. Raises HeaderRefused."""
    components = path.split("/")
    if len(components) > MAX_DEPTH or not all(_NAME.fullmatch(component) for component in components):
        raise HeaderRefused(
            f"The file name {ascii(path)[:120]} is not allowed: use letters, digits, dots, dashes and underscores."
        )
    name = components[-1].lower()
    if name.endswith(_REFUSED_SUFFIXES):
        raise HeaderRefused(f"The model contains {ascii(path)[:120]}. Programs, pickles and archives are refused.")
    stem = name.partition(".")[0]
    if not name.endswith(_ALLOWED_SUFFIXES) and stem.partition("-")[0] not in _ALLOWED_BARE:
        raise HeaderRefused(f"The model contains {ascii(path)[:120]}, a kind of file that a model does not need.")
    return path


def check_collisions(paths: Iterable[str]) -> None:
    """Refuse two paths that are one on some file systems, and a file that is also a directory."""
    seen: set[str] = set()
    folders: set[str] = set()
    for path in paths:
        folded = path.casefold()
        if folded in seen:
            raise HeaderRefused(f"The model names {ascii(path)[:120]} twice.")
        seen.add(folded)
        parts = folded.split("/")
        folders.update("/".join(parts[:depth]) for depth in range(1, len(parts)))
    if clash := seen & folders:
        raise HeaderRefused(f"The model names {ascii(min(clash))[:120]} as a file and as a folder.")


def check_config(name: str, content: object, depth: int = 0) -> None:
    """Refuse a configuration that names code to run, at any depth. Raises HeaderRefused."""
    if depth > MAX_CONFIG_DEPTH:
        raise HeaderRefused(f"{name} is nested too deeply.")
    if isinstance(content, dict):
        if asked := _CODE_KEYS & set(content):
            raise HeaderRefused(f"{name} asks for code of its own ({min(asked)}). Use a model that needs none.")
        for value in content.values():
            check_config(name, value, depth + 1)
    elif isinstance(content, list):
        for value in content:
            check_config(name, value, depth + 1)
