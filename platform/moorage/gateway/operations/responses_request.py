"""The body of OpenAI's ``/v1/responses``, checked member by member and said again as a chat completion.

Shapes: https://platform.openai.com/docs/api-reference/responses. The API is served without its memory: nothing is
stored between requests, and whatever would need it, or would run something on the server, is refused in a sentence.
"""

from typing import Any, Final

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
_PARTS_MAX: Final = 1024
_ITEM_MARKS: Final = frozenset({"id", "status", "phase"})
_STATELESS: Final = "nothing is stored between requests; send the whole conversation as input"
_NO_MEDIA: Final = "images, audio and files are not served"


def _of_type(allowed: dict[str, Check], sentence: str, default: str = "") -> Check:
    """An object of one of the types in ``allowed``."""

    def check(value: Any, path: str) -> dict[str, Any]:
        kind = value.get("type", default) if type(value) is dict else None
        chosen = allowed.get(kind) if type(kind) is str else None
        if chosen is None:
            raise wrong(f"{path}.type", sentence)
        checked: dict[str, Any] = chosen(value, path)
        return checked

    return check


def _parts(kinds: tuple[str, ...], sentence: str) -> Check:
    """Text in one piece or in parts; one string in either case."""
    named = {
        kind: members(
            {"type": one_of(kind), member: text()},
            required=("type", member),
            stripped=frozenset({"annotations", "logprobs", "prompt_cache_breakpoint"}),
        )
        for kind in kinds
        for member in ("refusal" if kind == "refusal" else "text",)
    }
    parts = list_of(_of_type(named, sentence), 0, _PARTS_MAX)

    def check(value: Any, path: str) -> str:
        if type(value) is list:
            return "\n".join(part.get("text", part.get("refusal", "")) for part in parts(value, path))
        if type(value) is not str:
            raise wrong(path, "must be a string or a list of parts")
        checked: str = text()(value, path)
        return checked

    return check


_INPUT_TEXT: Final = _parts(("input_text",), f'must be "input_text"; {_NO_MEDIA}')
_OUTPUT_TEXT: Final = _parts(
    ("output_text", "refusal", "input_text"), f'must be "output_text" or "refusal"; {_NO_MEDIA}'
)
_MESSAGE: Final = members(
    {
        "type": one_of("message"),
        "role": one_of("user", "system", "developer", "assistant"),
        "content": either("must be a string or a list of parts", {str: text(), list: lambda value, _path: value}),
    },
    required=("role", "content"),
    stripped=_ITEM_MARKS,
)


def _message(value: Any, path: str) -> dict[str, Any]:
    checked: dict[str, Any] = _MESSAGE(value, path)
    content = _OUTPUT_TEXT if checked["role"] == "assistant" else _INPUT_TEXT
    return checked | {"content": content(checked["content"], f"{path}.content")}


_CALL: Final = members(
    {"type": one_of("function_call"), "call_id": text(_NAME_MAX), "name": text(_NAME_MAX), "arguments": text()},
    required=("call_id", "name", "arguments"),
    stripped=_ITEM_MARKS | {"caller"},
)
_CALL_OUTPUT: Final = members(
    {"type": one_of("function_call_output"), "call_id": text(_NAME_MAX), "output": _INPUT_TEXT},
    required=("call_id", "output"),
    stripped=_ITEM_MARKS | {"caller"},
)
_THOUGHT: Final = members({"type": one_of("reasoning_text"), "text": text()}, required=("text",))
_REASONING: Final = members(
    {"type": one_of("reasoning"), "content": list_of(_THOUGHT, 0, _PARTS_MAX)},
    stripped=_ITEM_MARKS | {"summary", "encrypted_content"},
)
_ITEM: Final = _of_type(
    {"message": _message, "function_call": _CALL, "function_call_output": _CALL_OUTPUT, "reasoning": _REASONING},
    'must be "message", "function_call", "function_call_output" or "reasoning"; items are not stored,'
    " and no tools run on the server",
    default="message",
)
_INPUT: Final = either("must be a string or a list of items", {str: text(), list: list_of(_ITEM, 1, MESSAGES_MAX)})

_FUNCTION: Final = members(
    {
        "type": one_of("function"),
        "name": text(_NAME_MAX),
        "description": text(65_536),
        "parameters": free_object,
        "strict": boolean,
    },
    required=("name",),
)
_TOOL: Final = _of_type(
    {"function": _FUNCTION}, 'must be "function"; tools that are built in or run on the server are not served'
)
_NAMED: Final = members({"type": one_of("function"), "name": text(_NAME_MAX)}, required=("type", "name"))
_FORMAT: Final = members(
    {
        "type": one_of("text", "json_object", "json_schema"),
        "name": text(_NAME_MAX),
        "description": text(65_536),
        "schema": free_object,
        "strict": boolean,
    },
    required=("type",),
)
_TEXT: Final = members({"format": _FORMAT}, stripped=frozenset({"verbosity"}))
_REASONING_OPTIONS: Final = members(
    {"effort": one_of("none", "minimal", "low", "medium", "high", "xhigh", "max")},
    stripped=frozenset({"summary", "generate_summary", "context", "mode"}),
)
_INCLUDABLE: Final = "reasoning.encrypted_content"


def _include(value: Any, path: str) -> Any:
    for index, name in enumerate(list_of(text(_NAME_MAX), 0, 16)(value, path)):
        if name != _INCLUDABLE:
            raise wrong(f"{path}[{index}]", "is not served; there is nothing to include but the output itself")
    return []


def _metadata(value: Any, path: str) -> dict[str, str]:
    if type(value) is not dict or len(value) > 16:
        raise wrong(path, "must be an object of at most 16 strings")
    return {text(64)(name, path): text(512)(member, f"{path}.{name[:64]}") for name, member in value.items()}


def _not_true(sentence: str) -> Check:
    def check(value: Any, path: str) -> bool:
        if boolean(value, path):
            raise wrong(path, f"must be false; {sentence}")
        return False

    return check


RESPONSES: Final = members(
    {
        "model": text(_NAME_MAX),
        "input": _INPUT,
        "instructions": text(),
        "max_output_tokens": integer(1, 2**53),
        "stream": boolean,
        "stream_options": members({}, stripped=frozenset({"include_obfuscation"})),
        "temperature": number(0, 2),
        "top_p": number(0, 1),
        "tools": list_of(_TOOL, 0, 128),
        "tool_choice": either(
            "must be a string or a function",
            {str: one_of("none", "auto", "required"), dict: _of_type({"function": _NAMED}, 'must be "function"')},
        ),
        "parallel_tool_calls": boolean,
        "text": _TEXT,
        "reasoning": _REASONING_OPTIONS,
        "metadata": _metadata,
        "store": boolean,
        "include": _include,
        "truncation": either('must be "disabled"', {str: one_of("disabled")}),
        "background": _not_true("answers are given while the request lasts"),
        "top_logprobs": integer(0, 0),
        "previous_response_id": refused(_STATELESS),
        "conversation": refused(_STATELESS),
        "prompt": refused("there are no stored prompts; send instructions and input"),
        "context_management": refused("conversations are not kept or shortened here"),
        "moderation": refused("there is no moderation of answers here"),
    },
    required=("model", "input"),
    stripped=STRIPPED - {"metadata", "store"}
    | {"max_tool_calls", "client_metadata", "prompt_cache_options", "access_programs", "background_options", "image"},
)

_COPIED: Final = ("temperature", "top_p", "parallel_tool_calls")


def to_chat(body: dict[str, Any]) -> dict[str, Any]:
    """The members of the chat completion that ``body``, checked, asks for. Raises BadField."""
    chat: dict[str, Any] = {"messages": _conversation(body)}
    chat |= {name: body[name] for name in _COPIED if name in body}
    if "max_output_tokens" in body:
        chat["max_tokens"] = body["max_output_tokens"]
    if body.get("tools"):
        chat["tools"] = [
            {"type": "function", "function": {name: tool[name] for name in tool if name != "type"}}
            for tool in body["tools"]
        ]
    choice = body.get("tool_choice")
    if choice is not None:
        named = {"type": "function", "function": {"name": choice["name"]}} if type(choice) is dict else choice
        chat["tool_choice"] = named
    if "effort" in body.get("reasoning", {}):
        effort = body["reasoning"]["effort"]
        chat["reasoning_effort"] = "xhigh" if effort == "max" else effort
    _form(body.get("text", {}).get("format", {"type": "text"}), chat)
    return chat


def _form(form: dict[str, Any], chat: dict[str, Any]) -> None:
    if form["type"] == "json_schema":
        for name in ("name", "schema"):
            if name not in form:
                raise wrong(f"text.format.{name}", "is missing")
        schema = {name: form[name] for name in form if name != "type"}
        chat["response_format"] = {"type": "json_schema", "json_schema": schema}
    elif form["type"] == "json_object":
        chat["response_format"] = {"type": "json_object"}


def _conversation(body: dict[str, Any]) -> list[dict[str, Any]]:
    said: list[dict[str, Any]] = []
    if body.get("instructions"):
        said.append({"role": "system", "content": body["instructions"]})
    items = body["input"]
    if type(items) is str:
        said.append({"role": "user", "content": items})
        return said
    for item in items:
        _say(item, said)
    if said[-1]["role"] == "assistant":
        # llama-server would repeat its beginning in the answer, vLLM would begin another answer after it.
        raise wrong("input", "must not end with something the model said; an answer cannot be begun for it")
    return said


def _say(item: dict[str, Any], said: list[dict[str, Any]]) -> None:
    """Add one item. What the model thought, said and called in one turn is one message."""
    kind = item.get("type", "message")
    if kind == "message" and item["role"] != "assistant":
        said.append({"role": item["role"], "content": item["content"]})
        return
    if kind == "function_call_output":
        said.append({"role": "tool", "tool_call_id": item["call_id"], "content": item["output"]})
        return
    if not said or said[-1]["role"] != "assistant":
        said.append({"role": "assistant", "content": ""})
    turn = said[-1]
    if kind == "message":
        turn["content"] = f"{turn['content']}\n{item['content']}" if turn["content"] else item["content"]
    elif kind == "reasoning":
        thought = "\n".join(part["text"] for part in item.get("content", []))
        if thought:
            turn["reasoning_content"] = thought
    else:
        function = {"name": item["name"], "arguments": item["arguments"]}
        turn.setdefault("tool_calls", []).append({"id": item["call_id"], "type": "function", "function": function})
