"""What engines are known to print when they end, the reason that it stands for, and what to do about it. Pure.

The lines of llama-server and vLLM; the fixtures in ``tests/deployments/engine_logs/`` were printed by them.
"""

import dataclasses
import re
from collections.abc import Callable
from typing import Final

from moorage.deployments.reasons import Reason

QUOTED_MOST: Final = 300
CHANGE_MEMORY: Final = (
    "Make context_size smaller, take fewer slots (--parallel, --max-num-seqs), choose a smaller quantization, or give"
    " it more memory (deploy.resources.limits.memory)."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Complaint:
    """What is looked for in the last lines, what it means, and the sentence for what was found."""

    pattern: re.Pattern[str]
    reason: Reason
    say: Callable[[re.Match[str]], str]
    is_permanent: bool = True


def _complaint(
    pattern: str, reason: Reason, say: Callable[[re.Match[str]], str] | str, *, is_permanent: bool = True
) -> Complaint:
    sentence = say if callable(say) else lambda found: f"{_quoted(found[0])} {say}"
    return Complaint(
        pattern=re.compile(pattern, re.MULTILINE | re.IGNORECASE),
        reason=reason,
        say=sentence,
        is_permanent=is_permanent,
    )


#: The first that is found wins: what is particular comes before what is general.
COMPLAINTS: Final = (
    _complaint(
        r"(?:error: invalid argument: |unrecognized arguments: )(.+)$",
        Reason.FLAG_INVALID,
        lambda found: f"It does not know {found[1].strip()}. Remove it from runtime_flags.",
    ),
    _complaint(
        r"error while handling argument \"([^\"]+)\": (.+)$",
        Reason.FLAG_INVALID,
        lambda found: f"{found[1]}: {_why(found[2])} Correct it in runtime_flags.",
    ),
    _complaint(
        r"error: argument ([^\s:]+): (.+)$",
        Reason.FLAG_INVALID,
        lambda found: f"{found[1]}: {_why(found[2])} Correct it in runtime_flags.",
    ),
    _complaint(
        r"max(?:imum)? seq(?:uence)? len(?:gth)? \((\d+)\),? \(?([0-9.]+) GiB (?:of )?KV cache is needed, which is"
        r" larger than the available KV cache memory \(([0-9.]+) GiB\)(?:.*?estimated maximum model length is (\d+))?",
        Reason.CONTEXT_TOO_LARGE,
        lambda found: (
            f"One request of {int(found[1]):,} tokens needs more cache than there is"
            + (f": {found[2]} GiB, and {found[3]} GiB are there." if found[2] != found[3] else ".")
            + (f" A context_size of {int(found[4]):,} would fit." if found[4] else "")
            + " Make context_size smaller or give it more memory."
        ),
    ),
    _complaint(
        r"max seq len \((\d+)\) is larger than the maximum number of tokens that can be stored in KV cache \((\d+)\)",
        Reason.CONTEXT_TOO_LARGE,
        lambda found: (
            f"A request may have {int(found[1]):,} tokens and there is room for {int(found[2]):,}. Make context_size"
            " smaller or give it more memory."
        ),
    ),
    _complaint(
        r"User-specified max_model_len \((\d+)\) is greater than the derived max_model_len \((?:[a-z_.]+=)?(\d+)",
        Reason.CONTEXT_TOO_LARGE,
        lambda found: (
            f"context_size is {int(found[1]):,} and the model was made for at most {int(found[2]):,}. Set context_size"
            f" to {int(found[2]):,} or less."
        ),
    ),
    _complaint(
        r"No available memory for the cache blocks[^.\n]*",
        Reason.CONTEXT_TOO_LARGE,
        "Nothing is left beside the weights: give it more memory, or choose a smaller model.",
    ),
    _complaint(
        r"(?:CUDA out of memory|OutOfMemoryError)[^\n]*",
        Reason.OUT_OF_DEVICE_MEMORY,
        lambda found: (
            f"{_device_memory(found[0])} Make context_size smaller, take fewer slots, choose a smaller quantization, or"
            " ask for more gpu_memory or gpus."
        ),
        is_permanent=False,
    ),
    _complaint(
        r"cudaMalloc failed: out of memory[^\n]*|CUDA error: out of memory[^\n]*"
        r"|ggml_backend_cuda_buffer_type_alloc_buffer: allocating ([0-9.]+) MiB on device[^\n]*",
        Reason.OUT_OF_DEVICE_MEMORY,
        "Make context_size smaller, take fewer slots, choose a smaller quantization, or ask for more gpu_memory.",
        is_permanent=False,
    ),
    _complaint(
        r"Free memory on device [^(]*\(([0-9.]+)/([0-9.]+) GiB\) on startup is less than desired[^\n]*",
        Reason.OUT_OF_DEVICE_MEMORY,
        lambda found: (
            f"{found[1]} of {found[2]} GiB of the GPU were free. Something else uses it: it will be tried again; a"
            " smaller --gpu-memory-utilization takes less."
        ),
        is_permanent=False,
    ),
    _complaint(
        r"failed to allocate buffer for kv cache|failed to allocate (?:CPU )?buffer of size (\d+)"
        r"|insufficient memory \(attempted to allocate ([0-9.]+) MB\)|std::bad_alloc|Cannot allocate memory"
        r"|DefaultCPUAllocator: can't allocate memory|MemoryError",
        Reason.OUT_OF_MEMORY,
        lambda found: f"{_quoted(found[0])} {CHANGE_MEMORY}",
        is_permanent=False,
    ),
    _complaint(
        r"unknown model architecture: '([^']+)'",
        Reason.MODEL_UNSUPPORTED,
        lambda found: f"llama.cpp does not know the architecture {found[1]}. A newer engine may, or another model.",
    ),
    _complaint(
        r"Model architectures \[([^\]]+)\] (?:are not supported|failed)[^\n]*|Cannot find model module. '([^']+)'",
        Reason.MODEL_UNSUPPORTED,
        lambda found: (
            f"vLLM does not know the architecture {(found[1] or found[2]).strip(chr(39))}. A newer engine may, or"
            " another model."
        ),
    ),
    _complaint(
        r"model type `([^`]+)` but Transformers does not recognize this architecture",
        Reason.MODEL_UNSUPPORTED,
        lambda found: f"vLLM does not know the architecture {found[1]}. A newer engine may, or another model.",
    ),
    _complaint(
        r"Cannot find the config file for \w+|quantization method [^\n]*(?:does not match|not supported)[^\n]*"
        r"|Unknown quantization method[^\n]*|The quantization method [^\n]+",
        Reason.MODEL_UNSUPPORTED,
        "The weights are not quantized in the way that --quantization says. Remove it from runtime_flags.",
    ),
    _complaint(
        r"must be divisible by tensor parallel size[^\n]*|Total number of attention heads \(\d+\)[^\n]*",
        Reason.MODEL_UNSUPPORTED,
        "Choose a number of GPUs that divides the model's attention heads.",
    ),
    _complaint(
        r"World size \((\d+)\) is larger than the number of available GPUs \((\d+)\)[^\n]*",
        Reason.FLAG_INVALID,
        lambda found: f"It was asked for {found[1]} GPUs and sees {found[2]}. Ask for as many with gpus.",
    ),
    _complaint(
        r"invalid tool call parser: ([^\s(]+)",
        Reason.FLAG_INVALID,
        lambda found: f"There is no tool call parser {found[1]}. Correct --tool-call-parser in runtime_flags.",
    ),
    _complaint(
        r"the supplied chat template is not supported: [^\n]*|failed to initialize chat template"
        r"|failed to apply template[^\n]*|(?:jinja2\.exceptions\.)?TemplateSyntaxError[^\n]*"
        r"|chat template string \([^\n]*|invalid chat template[^\n]*",
        Reason.TEMPLATE_BROKEN,
        "Package the model with a chat template that the engine can read, or correct the flag that names one.",
    ),
    _complaint(
        r"unknown (?:pre-)?tokenizer[^\n]*|error loading model vocabulary[^\n]*|Can't load tokenizer[^\n]*"
        r"|Tokenizer class \w+ does not exist[^\n]*|Couldn't instantiate the backend tokenizer[^\n]*"
        r"|Exception: (?:data did not match|EOF while parsing|expected|key must be)[^\n]*"
        r"|(?:OSError|ValueError)[^\n]*tokenizer[^\n]*",
        Reason.TEMPLATE_BROKEN,
        "Package the model with the tokenizer files that belong to it.",
    ),
    _complaint(
        r"error parsing grammar: [^\n]*|failed to parse grammar[^\n]*",
        Reason.FLAG_INVALID,
        "Correct the grammar in runtime_flags.",
    ),
    _complaint(
        r"create_server_unix_socket[\s\S]{0,600}?((?:FileNotFoundError|OSError|PermissionError)[^\n]*)",
        Reason.SOCKET_FAILED,
        lambda found: f"{_quoted(found[1])} It will be tried again; if it stays, tell the administrator.",
        is_permanent=False,
    ),
    _complaint(
        r"couldn't bind HTTP server socket[^\n]*"
        r"|(?:OSError|PermissionError|FileNotFoundError)[^\n]*(?:Address already in use|bind|\.sock)[^\n]*"
        r"|AF_UNIX path too long[^\n]*|Address already in use[^\n]*",
        Reason.SOCKET_FAILED,
        "Its directory may be full or not be its own. It will be tried again; if it stays, tell the administrator.",
        is_permanent=False,
    ),
    _complaint(
        r"(?:tensor '[^']+' data is not within the file bounds|invalid magic characters"
        r"|failed to read (?:header|key-value pairs|tensor info|magic)"
        r"|SafetensorError|HeaderTooLarge|MetadataIncompleteBuffer|InvalidHeader)[^\n]*",
        Reason.WEIGHTS_UNREADABLE,
        "Its bytes are those that were pinned, so the model was packaged like this: package it again.",
    ),
    _complaint(
        r"Invalid repository ID or local directory specified[^\n]*|ensure the presence of a 'config\.json'[^\n]*",
        Reason.WEIGHTS_UNREADABLE,
        lambda _: "There is no config.json in the model that vLLM can read. Package it with all its files.",
    ),
    _complaint(
        r"json\.decoder\.JSONDecodeError: [^\n]*",
        Reason.WEIGHTS_UNREADABLE,
        "A JSON file of the model, such as its tokenizer or configuration, is broken: package it again.",
    ),
    _complaint(
        r"TimeoutError: Timed out waiting for engine core[^\n.]*",
        Reason.START_TIMEOUT,
        "It will be tried again; if it stays, give it more CPUs or memory.",
        is_permanent=False,
    ),
    _complaint(
        r"(?:failed to open (?:GGUF file )?'[^']+'|failed to load (?:lora adapter|draft model|multimodal model)[^\n]*"
        r"|No such file or directory[^\n]*|does not appear to have a file named [^\n]*)[^\n]*",
        Reason.WEIGHTS_UNREADABLE,
        "A file that it needs is not in the model.",
        is_permanent=False,
    ),
    _complaint(
        r"pydantic_core\._pydantic_core\.ValidationError: [^\n]*\n(?:[^\n]*\n)?\s*([^\n]+)",
        Reason.FLAG_INVALID,
        lambda found: f"{_quoted(found[1])} Correct it in runtime_flags or in the Compose file.",
    ),
)


def _device_memory(text: str) -> str:
    asked = re.search(r"Tried to allocate ([0-9.]+ [KMG]iB)", text)
    free = re.search(r"total capacity of ([0-9.]+ [KMG]iB) of which ([0-9.]+ [KMG]iB) is free", text)
    said = f"It asked for {asked[1]} more" if asked else "It asked for more than there is"
    return f"{said}; {free[2]} of {free[1]} were free." if free else f"{said}."


def _quoted(text: str) -> str:
    line = " ".join(text.split())[:QUOTED_MOST].rstrip(". ")
    return f"“{line}”."


def _why(text: str) -> str:
    """C++ names the function that did not like a number."""
    said = " ".join(text.split())[:QUOTED_MOST].rstrip(".")
    return f"{said if said not in {'stoi', 'stol', 'stof', 'stoul', 'stoull', 'stod'} else 'not a number'}."
