"""The body of Anthropic's ``/v1/messages``, checked member by member and said again as a chat completion.

Shapes: https://docs.anthropic.com/en/api/messages. A conversation of text, of tools that the caller runs, and of
thinking is served; whatever would make the platform fetch, store or run something is refused in a sentence.
"""

from typing import Any, Final

import msgspec

from moorage.gateway.request_fields import (
    MESSAGES_MAX,
    STRIPPED,
    Check,
    boolean,
    either,
    free_object,
    integer,
    list_of,
    members,
    number,
    one_of,
    refused,
    text,
    wrong,
)

_NAME_MAX: Final = 256
_BLOCKS_MAX: Final = 1024
#: Marks for Anthropic's caches and citations, which no engine here has a use for.
_MARKS: Final = frozenset({"cache_control", "citations"})
_NO_MEDIA: Final = "images, documents and files are not served"

_TEXT_BLOCK: Final = members({"type": one_of("text"), "text": text()}, required=("type", "text"), stripped=_MARKS)
_THINKING_BLOCK: Final = members(
    {"type": one_of("thinking"), "thinking": text(), "signature": text()}, required=("type", "thinking")
)
_REDACTED_BLOCK: Final = members({"type": one_of("redacted_thinking"), "data": text()}, required=("type",))
_TOOL_USE_BLOCK: Final = members(
    {"type": one_of("tool_use"), "id": text(_NAME_MAX), "name": text(_NAME_MAX), "input": free_object},
    required=("type", "id", "name", "input"),
    stripped=_MARKS | {"caller"},
)


def _block(allowed: dict[str, Check], sentence: str) -> Check:
    """One content block of the types in ``allowed``."""

    def check(value: Any, path: str) -> dict[str, Any]:
        kind = value.get("type") if type(value) is dict else None
        chosen = allowed.get(kind) if type(kind) is str else None
        if chosen is None:
            raise wrong(f"{path}.type", sentence)
        checked: dict[str, Any] = chosen(value, path)
        return checked

    return check


def _texts(sentence: str) -> Check:
    """Text in one piece or in blocks; one string in either case."""
    blocks = list_of(_block({"text": _TEXT_BLOCK}, sentence), 0, _BLOCKS_MAX)

    def check(value: Any, path: str) -> str:
        if type(value) is list:
            return "\n".join(block["text"] for block in blocks(value, path))
        if type(value) is not str:
            raise wrong(path, "must be a string or a list of text blocks")
        checked: str = text()(value, path)
        return checked

    return check


_TOOL_RESULT_BLOCK: Final = members(
    {
        "type": one_of("tool_result"),
        "tool_use_id": text(_NAME_MAX),
        "content": _texts(f'must be "text"; {_NO_MEDIA}'),
        "is_error": boolean,
    },
    required=("type", "tool_use_id"),
    stripped=_MARKS,
)
_USER_BLOCKS: Final = list_of(
    _block({"text": _TEXT_BLOCK, "tool_result": _TOOL_RESULT_BLOCK}, f'must be "text" or "tool_result"; {_NO_MEDIA}'),
    1,
    _BLOCKS_MAX,
)
_ASSISTANT_BLOCKS: Final = list_of(
    _block(
        {
            "text": _TEXT_BLOCK,
            "tool_use": _TOOL_USE_BLOCK,
            "thinking": _THINKING_BLOCK,
            "redacted_thinking": _REDACTED_BLOCK,
        },
        'must be "text", "tool_use", "thinking" or "redacted_thinking"; there are no tools on the server',
    ),
    0,
    _BLOCKS_MAX,
)
_ROLE: Final = one_of("user", "assistant", "system")
_CONTENTS: Final[dict[str, Check]] = {
    role: either("must be a string or a list of content blocks", {str: text(), list: blocks})
    for role, blocks in (("user", _USER_BLOCKS), ("assistant", _ASSISTANT_BLOCKS))
} | {"system": _texts('must be "text"')}
_MESSAGES: Final = {
    role: members({"role": _ROLE, "content": content}, required=("role", "content"))
    for role, content in _CONTENTS.items()
}
#: Of a role that there is not: refused by its role.
_NO_MESSAGE: Final = members({"role": _ROLE, "content": lambda value, _path: value}, required=("role", "content"))


def _message(value: Any, path: str) -> dict[str, Any]:
    role = value.get("role") if type(value) is dict else None
    chosen = _MESSAGES.get(role, _NO_MESSAGE) if type(role) is str else _NO_MESSAGE
    checked: dict[str, Any] = chosen(value, path)
    return checked


_TOOL: Final = members(
    {
        "type": one_of("custom"),
        "name": text(_NAME_MAX),
        "description": text(65_536),
        "input_schema": free_object,
        "strict": boolean,
    },
    required=("name", "input_schema"),
    stripped=_MARKS | {"eager_input_streaming", "input_examples", "allowed_callers"},
)


def _tool(value: Any, path: str) -> dict[str, Any]:
    if type(value) is dict and value.get("type", "custom") not in ("custom", None):
        raise wrong(f"{path}.type", 'must be "custom"; tools that are built in or run on the server are not served')
    checked: dict[str, Any] = _TOOL(value, path)
    return checked


_TOOL_CHOICE: Final = members(
    {"type": one_of("auto", "any", "tool", "none"), "name": text(_NAME_MAX), "disable_parallel_tool_use": boolean},
    required=("type",),
)
_THINKING: Final = members(
    {
        "type": one_of("enabled", "disabled", "adaptive"),
        "budget_tokens": integer(1, 2**53),
        "display": one_of("summarized"),
    },
    required=("type",),
)
_FORMAT: Final = members({"type": one_of("json_schema"), "schema": free_object}, required=("type", "schema"))
_OUTPUT_CONFIG: Final = members(
    {"effort": one_of("low", "medium", "high", "xhigh", "max"), "format": _FORMAT}, stripped=frozenset({"task_budget"})
)

#: What shapes the prompt: all that counting needs.
_PROMPT: Final[dict[str, Check]] = {
    "model": text(_NAME_MAX),
    "messages": list_of(_message, 1, MESSAGES_MAX),
    "system": _texts('must be "text"'),
    "tools": list_of(_tool, 0, 128),
    "tool_choice": _TOOL_CHOICE,
    "thinking": _THINKING,
    "output_config": _OUTPUT_CONFIG,
    "container": refused("there are no containers here; run tools yourself and send their results"),
    "mcp_servers": refused("no MCP server is called from here; connect to it yourself and send its tools"),
    "context_management": refused("conversations are not kept or edited here; send the messages that count"),
}
_STRIPPED: Final = STRIPPED | {
    *("cache_control", "inference_geo", "service_tier", "speed", "user_profile_id", "workspace_id", "diagnostics"),
}

#: The body of ``/v1/messages/count_tokens``.
COUNTED: Final = members(_PROMPT, required=("model", "messages"), stripped=_STRIPPED)
#: The body of ``/v1/messages``.
MESSAGES: Final = members(
    {
        **_PROMPT,
        "max_tokens": integer(1, 2**53),
        "stream": boolean,
        "temperature": number(0, 1),
        "top_p": number(0, 1),
        "top_k": integer(0, 1_000_000),
        "stop_sequences": list_of(text(1024), 0, 16),
    },
    required=("model", "messages", "max_tokens"),
    stripped=_STRIPPED,
)

_TOOL_CHOICES: Final = {"auto": "auto", "any": "required", "none": "none"}


def to_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The members of the chat completion that ``body``, checked, asks for. Raises BadField."""
    chat: dict[str, Any] = {"messages": _conversation(body)}
    for name in ("max_tokens", "temperature", "top_p"):
        if name in body:
            chat[name] = body[name]
    if body.get("top_k"):
        chat["top_k"] = body["top_k"]
    if body.get("stop_sequences"):
        chat["stop"] = body["stop_sequences"]
    if body.get("tools"):
        chat["tools"] = [_function(tool) for tool in body["tools"]]
    _choose_tool(body, chat)
    _configure(body, chat)
    return chat


def _function(tool: dict[str, Any]) -> dict[str, Any]:
    function = {"name": tool["name"], "parameters": tool["input_schema"]}
    function |= {name: tool[name] for name in ("description", "strict") if name in tool}
    return {"type": "function", "function": function}


def _choose_tool(body: dict[str, Any], chat: dict[str, Any]) -> None:
    choice = body.get("tool_choice")
    if choice is None:
        return
    if choice["type"] == "tool":
        if "name" not in choice:
            raise wrong("tool_choice.name", "is missing")
        chat["tool_choice"] = {"type": "function", "function": {"name": choice["name"]}}
    else:
        chat["tool_choice"] = _TOOL_CHOICES[choice["type"]]
    if choice.get("disable_parallel_tool_use"):
        chat["parallel_tool_calls"] = False


def _configure(body: dict[str, Any], chat: dict[str, Any]) -> None:
    config = body.get("output_config", {})
    if "format" in config:
        schema = {"name": "answer", "schema": config["format"]["schema"], "strict": True}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    if "effort" in config:
        # Neither engine's templates know a step above the last but one.
        chat["reasoning_effort"] = "xhigh" if config["effort"] == "max" else config["effort"]
    thinking = body.get("thinking", {"type": "adaptive"})
    if thinking["type"] == "enabled":
        if "budget_tokens" not in thinking:
            raise wrong("thinking.budget_tokens", "is missing")
        chat["thinking_budget_tokens"] = thinking["budget_tokens"]
    elif thinking["type"] == "disabled":
        chat["reasoning_effort"] = "none"


def _conversation(body: dict[str, Any]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    if body.get("system"):
        said.append({"role": "system", "content": body["system"]})
    for message in body["messages"]:
        content = message["content"]
        if type(content) is str:
            said.append({"role": message["role"], "content": content})
        elif message["role"] == "assistant":
            said.append(_assistant(content))
        else:
            said.extend(_user(content))
    if said[-1]["role"] == "assistant":
        # llama-server would repeat its beginning in the answer, vLLM would begin another answer after it.
        raise wrong("messages", "must end with a message of the user; an answer cannot be begun for the model")
    return said


def _user(blocks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Results first: a chat template wants them right behind the calls."""
    said = [
        {"role": "tool", "tool_call_id": block["tool_use_id"], "content": block.get("content", "")}
        for block in blocks
        if block["type"] == "tool_result"
    ]
    texts = [block["text"] for block in blocks if block["type"] == "text"]
    if texts:
        said.append({"role": "user", "content": "\n".join(texts)})
    return said


def _assistant(blocks: list[dict[str, Any]]) -> dict[str, Any]:
    said: dict[str, Any] = {
        "role": "assistant",
        "content": "\n".join(block["text"] for block in blocks if block["type"] == "text"),
    }
    thought = "\n".join(block["thinking"] for block in blocks if block["type"] == "thinking")
    if thought:
        said["reasoning_content"] = thought
    calls = [
        {
            "id": block["id"],
            "type": "function",
            "function": {"name": block["name"], "arguments": msgspec.json.encode(block["input"]).decode()},
        }
        for block in blocks
        if block["type"] == "tool_use"
    ]
    if calls:
        said["tool_calls"] = calls
    return said
