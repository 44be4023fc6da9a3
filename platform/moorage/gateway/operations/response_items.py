"""The output items of a response: built up as the model speaks, told as events, and kept for the answer as a whole."""

from typing import Any, Final

from moorage.gateway.operations.chat_answer import ChatAnswer
from moorage.gateway.operations.chat_stream import Ending, Opening, encode, event
from moorage.gateway.settled import Settled

_DELTA: Final = (
    b'event: %b\ndata: {"type":"%b","sequence_number":%%d,"item_id":%%b,"output_index":%%d,%b"delta":%%b}\n\n'
)
_TEXT, _THOUGHT, _ARGUMENTS = (
    *(b"response.output_text.delta", b"response.reasoning_text.delta", b"response.function_call_arguments.delta"),
)
_TEXT_DELTA: Final = _DELTA % (_TEXT, _TEXT, b'"content_index":0,"logprobs":[],')
_THOUGHT_DELTA: Final = _DELTA % (_THOUGHT, _THOUGHT, b'"content_index":0,')
_ARGUMENTS_DELTA: Final = _DELTA % (_ARGUMENTS, _ARGUMENTS, b"")
_INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}


class Items:
    """A Teller: reasoning, message and function calls, one item open at a time."""

    __slots__ = ("_call", "_echo", "_id", "_model", "_number", "_opening", "_output", "_pieces")

    def __init__(self, model: str, echo: dict[str, Any]) -> None:
        self._model = model
        self._echo = echo
        self._opening = Opening("", 0, 0, 0)
        self._number = 0  # of the next event
        self._output: list[dict[str, Any]] = []
        self._pieces: list[str] | None = None  # of the text in the item that is open
        self._call = -1
        self._id = b""  # of the open item, as JSON

    def begins(self, opening: Opening) -> bytes:
        """``response.created`` and ``response.in_progress``."""
        self._opening = opening
        response = self._response("in_progress", None)
        return self._event("response.created", response=response) + self._event(
            "response.in_progress", response=response
        )

    def thinks(self, text: str) -> bytes:
        """A piece of a reasoning item."""
        told = b""
        if not self._is_open("reasoning"):
            item = {"type": "reasoning", "id": self._item_id("rs"), "summary": [], "content": []}
            told = self._open(item | {"status": "in_progress"}) + self._part_added(_thought(""))
        return told + self._piece(_THOUGHT_DELTA, text)

    def says(self, text: str) -> bytes:
        """A piece of a message."""
        told = b""
        if not self._is_open("message"):
            item = {"type": "message", "id": self._item_id("msg"), "role": "assistant", "content": []}
            told = self._open(item | {"status": "in_progress"}) + self._part_added(_said(""))
        return told + self._piece(_TEXT_DELTA, text)

    def calls(self, index: int, call_id: str, name: str, arguments: str) -> bytes:
        """A piece of a function call."""
        told = b""
        if not self._is_open("function_call") or index != self._call:
            self._call = index
            item_id = self._item_id("fc")
            item = {"type": "function_call", "id": item_id, "call_id": call_id or item_id, "name": name}
            told = self._open(item | {"arguments": "", "status": "in_progress"})
        if arguments:
            told += self._piece(_ARGUMENTS_DELTA, arguments)
        return told

    def ends(self, ending: Ending) -> bytes:
        """The end of the open item, and ``response.completed`` or ``response.incomplete``."""
        told = self._close("incomplete" if ending.reason in _INCOMPLETE else "completed")
        response = self.response(ending)
        return told + self._event(f"response.{response['status']}", response=response)

    def response(self, ending: Ending) -> dict[str, Any]:
        """The response object of an answer that is over."""
        self._close("incomplete" if ending.reason in _INCOMPLETE else "completed")
        return self._response("incomplete" if ending.reason in _INCOMPLETE else "completed", ending)

    def opened(self, answer: ChatAnswer) -> None:
        """Take the opening of an answer in one piece."""
        self._opening = Opening(answer.id, answer.created, 0, 0)

    def _response(self, status: str, ending: Ending | None) -> dict[str, Any]:
        reason = _INCOMPLETE.get(ending.reason) if ending is not None else None
        return {
            "id": f"resp_{self._opening.id}",
            "object": "response",
            "created_at": self._opening.created,
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": {"reason": reason} if reason else None,
            "model": self._model,
            "output": list(self._output) if ending is not None else [],
            "previous_response_id": None,
            "store": False,
            "truncation": "disabled",
            "usage": usage(ending.settled) if ending is not None else None,
            "user": None,
            **self._echo,
        }

    def _event(self, kind: str, **members: Any) -> bytes:
        told = event({"type": kind, "sequence_number": self._number, **members})
        self._number += 1
        return told

    def _item_id(self, prefix: str) -> str:
        place = len(self._output)
        return f"{prefix}_{self._opening.id}" if place == 0 else f"{prefix}_{self._opening.id}_{place}"

    def _is_open(self, kind: str) -> bool:
        return self._pieces is not None and self._output[-1]["type"] == kind

    def _open(self, item: dict[str, Any]) -> bytes:
        told = self._close("completed")
        self._output.append(item)
        self._id = encode(item["id"])
        self._pieces = []
        return told + self._event("response.output_item.added", output_index=len(self._output) - 1, item=item)

    def _place(self, *, has_part: bool) -> dict[str, Any]:
        place = {"item_id": self._output[-1]["id"], "output_index": len(self._output) - 1}
        return place | {"content_index": 0} if has_part else place

    def _part_added(self, part: dict[str, Any]) -> bytes:
        return self._event("response.content_part.added", **self._place(has_part=True), part=part)

    def _piece(self, form: bytes, text: str) -> bytes:
        assert self._pieces is not None
        self._pieces.append(text)
        told = form % (self._number, self._id, len(self._output) - 1, encode(text))
        self._number += 1
        return told

    def _close(self, status: str) -> bytes:
        if self._pieces is None:
            return b""
        item, text = self._output[-1], "".join(self._pieces)
        self._pieces = None
        if item["type"] == "function_call":
            place = self._place(has_part=False)
            told = self._event("response.function_call_arguments.done", **place, name=item["name"], arguments=text)
            done = item | {"arguments": text, "status": status}
        else:
            is_message = item["type"] == "message"
            part = _said(text) if is_message else _thought(text)
            place = self._place(has_part=True)
            if is_message:
                told = self._event("response.output_text.done", **place, text=text, logprobs=[])
            else:
                told = self._event("response.reasoning_text.done", **place, text=text)
            told += self._event("response.content_part.done", **place, part=part)
            done = item | {"content": [part], "status": status}
        self._output[-1] = done
        return told + self._event("response.output_item.done", output_index=len(self._output) - 1, item=done)


def add_message(items: Items, answer: ChatAnswer) -> None:
    """Give ``items`` what an answer in one piece holds."""
    items.opened(answer)
    said = answer.message
    if said.thought:
        items.thinks(said.thought)
    if said.content:
        items.says(said.content)
    for index, call in enumerate(said.tool_calls or []):
        items.calls(index, call.id or "", call.function.name, call.function.arguments or "")


def usage(settled: Settled) -> dict[str, Any]:
    """A response's usage object: what is billed."""
    return {
        "input_tokens": settled.input_tokens,
        "input_tokens_details": {"cached_tokens": settled.cached_tokens, "cache_write_tokens": 0},
        "output_tokens": settled.output_tokens,
        # Neither engine tells thinking from speaking in its figures.
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": settled.input_tokens + settled.output_tokens,
    }


def _said(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning_text", "text": text}
