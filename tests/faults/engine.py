"""``python -m tests.faults.engine SOCKET JOURNAL``: an engine as a process of its own, to be killed.

The last message is ``{"name": "…", "tokens": 40, "pace": 0.01}``: so many frames of one token each, so far apart.
Before a frame is sent the journal says so (``request id, tokens so far, name``), so that nobody can be billed a token
that was never made, or twice for what was asked once.
"""

import asyncio
import json
import os
import sys
from typing import Any

PROMPT_TOKENS = 11
CACHED_TOKENS = 4


class Engine:
    """Answers as llama-server does, or as vLLM when it is asked for running figures."""

    def __init__(self, journal: str) -> None:
        self._journal = os.open(journal, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def _note(self, request_id: str, tokens: int, name: str) -> None:
        os.write(self._journal, f"{request_id} {tokens} {name}\n".encode())

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                _, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", "0")))
                if body:
                    await self._answer(headers["x-request-id"], json.loads(body), writer)
                else:
                    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _answer(self, request_id: str, body: dict[str, Any], writer: asyncio.StreamWriter) -> None:
        script = json.loads(body["messages"][-1]["content"])
        tokens, pace, name = script["tokens"], script.get("pace", 0.0), script.get("name", "-")
        self._note(request_id, 0, name)
        if not body.get("stream"):
            await asyncio.sleep(pace)
            self._note(request_id, tokens, name)
            writer.write(_whole(body["model"], tokens))
            return
        is_running = bool((body.get("stream_options") or {}).get("continuous_usage_stats"))
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
            + _frame([{"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": ""}}])
        )
        if body.get("return_progress"):
            progress = {"total": PROMPT_TOKENS, "cache": CACHED_TOKENS, "processed": PROMPT_TOKENS, "time_ms": 1}
            writer.write(_frame(_choice(None), prompt_progress=progress))
        for number in range(1, tokens + 1):
            if pace:
                await asyncio.sleep(pace)
            self._note(request_id, number, name)
            running = {"usage": usage(number)} if is_running else {}
            writer.write(_frame(_choice(f" w{number}"), **running))
            await writer.drain()
        writer.write(_frame(_choice(None, "stop")) + _frame([], usage=usage(tokens)))
        writer.write(_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")


def usage(tokens: int) -> dict[str, Any]:
    """What an answer of ``tokens`` says it used."""
    return {
        "prompt_tokens": PROMPT_TOKENS,
        "completion_tokens": tokens,
        "total_tokens": PROMPT_TOKENS + tokens,
        "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
    }


def _choice(text: str | None, finish: str | None = None) -> list[Any]:
    return [{"index": 0, "finish_reason": finish, "delta": {"content": text} if text is not None else {}}]


def _frame(choices: list[Any], **more: object) -> bytes:
    frame = {"id": "c", "object": "chat.completion.chunk", "model": "m", "choices": choices, **more}
    return _chunk(b"data: " + json.dumps(frame).encode() + b"\n\n")


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _whole(model: str, tokens: int) -> bytes:
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": " w" * tokens}}
    answer = {"id": "c", "object": "chat.completion", "created": 1, "model": model, "choices": [choice]}
    content = json.dumps({**answer, "usage": usage(tokens)}).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n"
    return head.encode() + content


async def main(socket: str, journal: str) -> None:
    """Serves until it is killed."""
    engine = Engine(journal)
    server = await asyncio.start_unix_server(engine.talk, socket)
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
