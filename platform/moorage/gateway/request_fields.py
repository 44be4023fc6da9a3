"""The fields a request body may have: a table for each path, each entry a check that names the path of what is wrong.

Three answers to a member: *allowed* (checked against type and bounds, then sent on), *stripped* (harmless to ignore
or ours to set: dropped in silence), *unknown* (400). Null means absent. Only what both engines accept is allowed.
"""

import math
from collections.abc import Callable
from typing import Any, Final

from moorage.gateway.errors import BadField

#: Checks one value at a path and returns what is sent to the engine. Raises BadField.
Check = Callable[[Any, str], Any]

CHOICES_MAX: Final = 8
MESSAGES_MAX: Final = 4096
INPUTS_MAX: Final = 2048
_TREE_DEPTH: Final = 32
_TREE_NODES: Final = 20_000
_NAME_MAX: Final = 256
_INTEGER_MAX: Final = 2**53


def wrong(path: str, sentence: str) -> BadField:
    """The error for the member at ``path``: ``messages[2].role: must be … .``"""
    return BadField(f"{path}: {sentence}.", param=path)


def integer(least: int, most: int) -> Check:
    """A whole number in JSON's own notation: not 10.0, not "10", not true."""

    def check(value: Any, path: str) -> int:
        if type(value) is not int or not least <= value <= most:
            raise wrong(path, f"must be a whole number from {least} to {most}")
        return value

    return check


def number(least: float, most: float) -> Check:
    """A finite number."""

    def check(value: Any, path: str) -> float:
        if type(value) not in (int, float) or not math.isfinite(value) or not least <= value <= most:
            raise wrong(path, f"must be a number from {least:g} to {most:g}")
        return value

    return check


def boolean(value: Any, path: str) -> bool:
    """true or false."""
    if type(value) is not bool:
        raise wrong(path, "must be true or false")
    return value


def text(longest: int | None = None) -> Check:
    """A string, at most ``longest`` characters."""

    def check(value: Any, path: str) -> str:
        if type(value) is not str:
            raise wrong(path, "must be a string")
        if longest is not None and len(value) > longest:
            raise wrong(path, f"must have at most {longest} characters")
        if not value.isascii():
            refuse_surrogates(value, path)
        return value

    return check


def one_of(*options: str) -> Check:
    """One of a few words."""

    def check(value: Any, path: str) -> str:
        if type(value) is not str or value not in options:
            raise wrong(path, f"must be one of {', '.join(options)}")
        return value

    return check


def list_of(check_item: Check, least: int, most: int) -> Check:
    """A list of ``least`` to ``most`` items."""

    def check(value: Any, path: str) -> list[Any]:
        if type(value) is not list or not least <= len(value) <= most:
            raise wrong(path, f"must be a list of {least} to {most} items")
        return [check_item(item, f"{path}[{index}]") for index, item in enumerate(value)]

    return check


def tree(value: Any, path: str) -> Any:
    """Free JSON, such as a JSON schema: bounded in depth, size and numbers."""
    left = _TREE_NODES
    stack = [(value, path, 0)]
    while stack:
        node, where, depth = stack.pop()
        left -= 1
        if depth > _TREE_DEPTH or left < 0:
            raise wrong(path, f"must nest at most {_TREE_DEPTH} deep and have at most {_TREE_NODES} values")
        if type(node) is dict:
            for name, member in node.items():
                if len(name) > _NAME_MAX:
                    raise wrong(where, f"member names must have at most {_NAME_MAX} characters")
                refuse_surrogates(name, where)
                stack.append((member, f"{where}.{name}", depth + 1))
        elif type(node) is list:
            stack.extend((item, f"{where}[{index}]", depth + 1) for index, item in enumerate(node))
        elif type(node) is str:
            refuse_surrogates(node, where)
        elif (type(node) is int and abs(node) > _INTEGER_MAX) or (type(node) is float and not math.isfinite(node)):
            raise wrong(where, "is too large a number")
    return value


def free_object(value: Any, path: str) -> Any:
    """A free JSON object."""
    if type(value) is not dict:
        raise wrong(path, "must be an object")
    return tree(value, path)


def refused(sentence: str) -> Check:
    """A member that is known and cannot be served, with the reason."""

    def check(_value: Any, path: str) -> Any:
        raise wrong(path, f"is not served; {sentence}")

    return check


def refuse_surrogates(value: str, path: str) -> None:
    """Half of a surrogate pair is no character and cannot be sent on as UTF-8."""
    try:
        value.encode()
    except UnicodeEncodeError:
        raise wrong(path, "contains half of a surrogate pair") from None


def members(
    table: dict[str, Check], *, required: tuple[str, ...] = (), stripped: frozenset[str] = frozenset()
) -> Check:
    """An object whose members are those of ``table`` and no others."""

    def check(value: Any, path: str) -> dict[str, Any]:
        if type(value) is not dict:
            raise wrong(path or "body", "must be an object")
        kept = {}
        for name, member in value.items():
            where = f"{path}.{name}" if path else name
            check_member = table.get(name)
            if check_member is None:
                if name in stripped:
                    continue
                raise wrong(shown(where), "is not a known field; remove it")
            if member is not None:
                kept[name] = check_member(member, where)
        for name in required:
            if name not in kept:
                raise wrong(f"{path}.{name}" if path else name, "is missing")
        return kept

    return check


def shown(path: str) -> str:
    """A path of the caller's making, short and safe to print back."""
    return path[:_NAME_MAX].encode("ascii", "backslashreplace").decode()


def either(sentence: str, checks: dict[type, Check]) -> Check:
    """One of several types, each with its own check."""

    def check(value: Any, path: str) -> Any:
        chosen = checks.get(type(value))
        if chosen is None:
            raise wrong(path, sentence)
        return chosen(value, path)

    return check


def _content_part(value: Any, path: str) -> dict[str, Any]:
    kind = value.get("type") if type(value) is dict else None
    if kind != "text":
        # Images and sound would make the engine fetch an address or open a file of the caller's choice.
        raise wrong(f"{path}.type", 'must be "text"; images, audio and files are not served')
    return _TEXT_PART(value, path)


def _stop(value: Any, path: str) -> Any:
    if type(value) is str:
        return text(1024)(value, path)
    return list_of(text(1024), 0, 16)(value, path)


def _token_inputs(value: list[Any], path: str) -> list[Any]:
    """A list of strings, or of token numbers, or of lists of token numbers."""
    if not 1 <= len(value) <= INPUTS_MAX and not (value and type(value[0]) is int):
        raise wrong(path, f"must have 1 to {INPUTS_MAX} items")
    token = integer(0, 2**31 - 1)
    match value[0]:
        case str():
            return list_of(text(), 1, INPUTS_MAX)(value, path)
        case int():
            return list_of(token, 1, 2**20)(value, path)
        case list():
            return list_of(list_of(token, 1, 2**20), 1, INPUTS_MAX)(value, path)
        case _:
            raise wrong(path, "must hold strings, token numbers or lists of token numbers")


def _logit_bias(value: Any, path: str) -> dict[str, Any]:
    if type(value) is not dict or len(value) > 1024:
        raise wrong(path, "must be an object of at most 1024 token numbers")
    weight = number(-100, 100)
    for name, member in value.items():
        if not (name.isascii() and name.isdigit() and len(name) <= 10):
            raise wrong(path, "member names must be token numbers")
        weight(member, f"{path}.{name}")
    return value


_TEXT_PART: Final = members({"type": text(16), "text": text()}, required=("type", "text"))
_CONTENT: Final = either("must be a string or a list of parts", {str: text(), list: list_of(_content_part, 0, 1024)})
_FUNCTION_CALL: Final = members({"name": text(_NAME_MAX), "arguments": text()}, required=("name",))
_TOOL_CALL: Final = members(
    {"id": text(_NAME_MAX), "type": one_of("function"), "function": _FUNCTION_CALL, "index": integer(0, 1024)},
    required=("function",),
)
_MESSAGE: Final = members(
    {
        "role": one_of("system", "developer", "user", "assistant", "tool"),
        "content": _CONTENT,
        "reasoning_content": text(),
        "name": text(_NAME_MAX),
        "tool_calls": list_of(_TOOL_CALL, 0, 128),
        "tool_call_id": text(_NAME_MAX),
    },
    required=("role",),
    stripped=frozenset({"refusal", "annotations", "audio", "function_call", "reasoning", "reasoning_details"}),
)
_FUNCTION: Final = members(
    {"name": text(_NAME_MAX), "description": text(65_536), "parameters": tree, "strict": boolean}, required=("name",)
)
_TOOL: Final = members({"type": one_of("function"), "function": _FUNCTION}, required=("type", "function"))
_NAMED_TOOL: Final = members(
    {"type": one_of("function"), "function": members({"name": text(_NAME_MAX)}, required=("name",))},
    required=("type", "function"),
)
_JSON_SCHEMA: Final = members(
    {"name": text(_NAME_MAX), "description": text(65_536), "schema": tree, "strict": boolean}, required=("name",)
)
_RESPONSE_FORMAT: Final = members(
    {"type": one_of("text", "json_object", "json_schema"), "json_schema": _JSON_SCHEMA}, required=("type",)
)
_STREAM_OPTIONS: Final = members({"include_usage": boolean}, stripped=frozenset({"include_obfuscation"}))

#: Members that are dropped: bookkeeping of OpenAI's platform that no engine here has a use for, and
#: steering of an engine's insides that belongs to us (formats.md 4.2 and 4.3, trust.md 4.8).
STRIPPED: Final = frozenset(
    {
        *("user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key"),
        *("prompt_cache_retention", "verbosity", "prediction"),
        *("id_slot", "n_discard", "n_keep", "lora", "cache_prompt", "n_cache_reuse", "t_max_predict_ms", "n_probs"),
        *("samplers", "timings_per_token", "return_progress", "return_tokens", "verbose", "sse_ping_interval"),
        *("cache_salt", "priority", "prompt_logprobs", "prompt_embeds", "chat_template", "chat_template_kwargs"),
        *("media_io_kwargs", "mm_processor_kwargs", "kv_transfer_params", "logits_processors", "vllm_xargs"),
        *("guided_regex", "guided_json", "guided_choice", "guided_grammar", "request_id"),
    }
)

_SAMPLING: Final[dict[str, Check]] = {
    "model": text(_NAME_MAX),
    "stream": boolean,
    "stream_options": _STREAM_OPTIONS,
    "max_tokens": integer(1, _INTEGER_MAX),
    "temperature": number(0, 2),
    "top_p": number(0, 1),
    "top_k": integer(-1, 1_000_000),
    "min_p": number(0, 1),
    "n": integer(1, CHOICES_MAX),
    "stop": _stop,
    "presence_penalty": number(-2, 2),
    "frequency_penalty": number(-2, 2),
    "logit_bias": _logit_bias,
    "seed": integer(-(2**63), 2**63 - 1),
}

_PROMPT: Final = either("must be a string or a list", {str: text(), list: _token_inputs})

#: The body of each billable path.
BODIES: Final[dict[str, Check]] = {
    "/v1/chat/completions": members(
        {
            **_SAMPLING,
            "messages": list_of(_MESSAGE, 1, MESSAGES_MAX),
            "max_completion_tokens": integer(1, _INTEGER_MAX),
            "logprobs": boolean,
            "top_logprobs": integer(0, 20),
            "response_format": _RESPONSE_FORMAT,
            "tools": list_of(_TOOL, 0, 128),
            "tool_choice": either(
                "must be a string or an object", {str: one_of("none", "auto", "required"), dict: _NAMED_TOOL}
            ),
            "parallel_tool_calls": boolean,
            "reasoning_effort": one_of("none", "minimal", "low", "medium", "high", "xhigh"),
            "modalities": list_of(one_of("text"), 1, 1),
        },
        required=("model", "messages"),
        stripped=STRIPPED,
    ),
    "/v1/completions": members(
        {**_SAMPLING, "prompt": _PROMPT, "logprobs": integer(0, 5), "echo": boolean},
        required=("model", "prompt"),
        stripped=STRIPPED,
    ),
    "/v1/embeddings": members(
        {
            "model": text(_NAME_MAX),
            "input": _PROMPT,
            "encoding_format": one_of("float", "base64"),
            "dimensions": integer(1, 65_536),
        },
        required=("model", "input"),
        stripped=STRIPPED,
    ),
}
