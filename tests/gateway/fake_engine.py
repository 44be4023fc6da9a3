"""An engine that does what the last message tells it to, on a real Unix socket, in a thread with its own event loop.

The last message (or prompt) is JSON: ``{"say": [...], "fault": "...", ...}``; anything else is answered with three
words. It writes usage the way llama-server or vLLM does, and remembers every request and every client that left.
"""

import asyncio
import dataclasses
import json
import threading
from pathlib import Path
from typing import Any, cast

PROMPT_TOKENS = 11
CACHED_TOKENS = 4


@dataclasses.dataclass
class Seen:
    """One request as the engine got it."""

    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    sent: int = 0
    is_cut: bool = False
    is_done: bool = False


class Gathered:
    """A writer that keeps it all: what an engine says in one write."""

    written = b""

    def write(self, data: bytes) -> None:
        self.written += data


class FakeEngine:
    """``shape`` is llamacpp or vllm. ``go`` is set unless a test holds back answers that ask for it."""

    def __init__(self, path: Path, *, shape: str = "llamacpp") -> None:
        self.path = path
        self.shape = shape
        self.seen: list[Seen] = []
        self.connections = 0
        #: What it tells in the format of Prometheus.
        self.metrics = ""
        self.go = threading.Event()
        self.go.set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._is_up = threading.Event()

    def start(self) -> "FakeEngine":
        self._thread.start()
        assert self._is_up.wait(10)
        return self

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self.path.unlink(missing_ok=True)

    def close_idle(self) -> None:
        """Closes all connections, as an engine does when they were idle for long."""

        def close() -> None:
            for writer in list(self._writers):
                writer.close()

        self._loop.call_soon_threadsafe(close)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)

        async def serve() -> None:
            self._server = await asyncio.start_unix_server(self._talk, str(self.path), limit=1 << 26)
            self._is_up.set()

        self._loop.run_until_complete(serve())
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                line, *lines = head.strip().split("\r\n")
                headers = {name.lower(): value for name, value in (each.split(": ", 1) for each in lines)}
                if line.startswith("GET /metrics "):
                    _whole(writer, 200, self.metrics.encode())
                    continue
                body = json.loads(await reader.readexactly(int(headers["content-length"])))
                seen = Seen(path=line.split(" ")[1], headers=headers, body=body)
                self.seen.append(seen)
                try:
                    if not await self._answer(seen, reader, writer):
                        return
                finally:
                    seen.is_done = True
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    async def _answer(self, seen: Seen, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        script = _script(seen.body)
        fault = script.get("fault", "")
        if script.get("wait"):
            while not self.go.is_set():
                await asyncio.sleep(0.005)
        if fault == "silence":
            await reader.read(1)
            seen.is_cut = True
            return False
        if fault == "fin_first":
            return False
        if fault == "reset_first":
            writer.transport.abort()
            return False
        if fault.isdigit():
            shapes = {
                "llamacpp": {
                    "error": {"code": int(fault), "message": "too long by far", "type": "invalid_request_error"}
                },
                "vllm": {
                    "object": "error",
                    "message": "too long by far",
                    "type": "BadRequestError",
                    "code": int(fault),
                },
            }
            _whole(writer, int(fault), json.dumps(shapes[self.shape]).encode())
            return True
        if fault == "no_http":
            writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
            return False
        words = script.get("say", ["Tied", " up", " well"])
        if seen.path == "/v1/embeddings":
            data = [{"object": "embedding", "index": 0, "embedding": [0.5, -0.25]}]
            usage = {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}
            _whole(writer, 200, json.dumps({"object": "list", "data": data, "model": "m", "usage": usage}).encode())
            return True
        native = _native(seen.path, seen.body, self.shape)
        if native is not None:
            _whole(writer, 200, json.dumps(native).encode())
            return True
        if not seen.body.get("stream"):
            _whole(writer, 200, self._whole_answer(seen, words, fault))
            return True
        if not script.get("at_once"):
            return await self._stream(seen, script, words, fault, reader, writer)
        gathered = Gathered()
        is_kept = await self._stream(seen, script, words, fault, reader, cast(asyncio.StreamWriter, gathered))
        writer.write(gathered.written)
        return is_kept

    def _whole_answer(self, seen: Seen, words: list[str], fault: str) -> bytes:
        if fault == "no_json":
            return b"<html>"
        is_chat = "chat" in seen.path
        text = "".join(words)
        choice = {"message": {"role": "assistant", "content": text}} if is_chat else {"text": text}
        answer: dict[str, Any] = {
            "id": "cmpl-1",
            "object": "chat.completion" if is_chat else "text_completion",
            "created": 1,
            "model": seen.body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", **choice}],
            "usage": self._usage(len(words) * (1000 if fault == "lie" else 1)),
        }
        if fault == "no_usage":
            del answer["usage"]
        if self.shape == "llamacpp":
            answer["timings"] = {"predicted_n": len(words)}
        return json.dumps(answer).encode()

    def _usage(self, tokens: int) -> dict[str, Any]:
        return {
            "prompt_tokens": PROMPT_TOKENS,
            "completion_tokens": tokens,
            "total_tokens": PROMPT_TOKENS + tokens,
            "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        }

    async def _stream(
        self,
        seen: Seen,
        script: dict[str, Any],
        words: list[str],
        fault: str,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n"
            b"Access-Control-Allow-Origin: *\r\nServer: llama.cpp\r\n\r\n"
        )
        gone = asyncio.ensure_future(reader.read(1))
        is_chat = "chat" in seen.path
        boundary = b"\n" if fault == "no_blank_line" else b"\r\n\r\n" if script.get("crlf") else b"\n\n"
        is_continuous = seen.body.get("stream_options", {}).get("continuous_usage_stats", False)

        def frame(choices: list[Any], tokens: int | None = None, **more: Any) -> None:
            chunk: dict[str, Any] = {
                "id": "c",
                "object": "chunk",
                "model": seen.body["model"],
                "choices": choices,
                **more,
            }
            if tokens is not None:
                chunk["usage"] = self._usage(tokens)
            send(b"data: " + json.dumps(chunk, ensure_ascii=False).encode() + boundary)

        def send(data: bytes) -> None:
            if script.get("split"):
                for position in range(len(data)):
                    writer.write(b"1\r\n" + data[position : position + 1] + b"\r\n")
            else:
                writer.write(b"%x\r\n%b\r\n" % (len(data), data))

        def choice(text: str | None, finish: str | None = None) -> list[Any]:
            inner = {"delta": {"content": text} if text is not None else {}} if is_chat else {"text": text or ""}
            return [{"index": 0, "finish_reason": finish, **inner}]

        if seen.body.get("return_progress"):
            progress = {"total": PROMPT_TOKENS, "cache": CACHED_TOKENS, "processed": 0, "time_ms": 0}
            frame(choice(None), prompt_progress=progress)
        if is_chat:
            frame([{"index": 0, "finish_reason": None, "delta": {"role": "assistant", "content": ""}}])
        for number, word in enumerate(words, start=1):
            if script.get("delay"):
                await asyncio.wait([gone], timeout=script["delay"])
            if gone.done():
                seen.is_cut = True
                return False
            running = number if is_continuous else None
            if fault == "decreasing" and number > 3:
                running = 1
            frame(choice(word), running)
            seen.sent = number
            is_here = number == script.get("at", len(words))
            if is_here and not await self._break(fault, send, writer, gone, seen):
                return False
        factor = 1000 if fault == "lie" else 1
        tokens = script.get("claim", len(words) * factor)
        if fault == "negative":
            tokens = -5
        if fault == "nan":
            send(b'data: {"choices": [], "usage": {"prompt_tokens": NaN, "completion_tokens": NaN}}' + boundary)
        elif script.get("usage_with_finish"):
            frame(choice(None, "stop"), tokens, timings={"predicted_n": 1})
        else:
            frame(choice(None, "stop"), tokens if is_continuous else None)
            if fault != "no_usage":
                frame([], tokens, **({"timings": {"predicted_n": 1}} if self.shape == "llamacpp" else {}))
            if fault == "two_finals":
                frame([], tokens + 500)
        if fault != "no_done":
            send(b"data: [DONE]" + boundary)
        writer.write(b"0\r\n\r\n")
        gone.cancel()
        await asyncio.gather(gone, return_exceptions=True)
        return True

    async def _break(
        self, fault: str, send: Any, writer: asyncio.StreamWriter, gone: "asyncio.Future[bytes]", seen: Seen
    ) -> bool:
        """Does what ``fault`` says in the middle of a stream. Returns whether to go on."""
        match fault:
            case "fin":
                await writer.drain()
                return False
            case "reset":
                await writer.drain()
                await asyncio.sleep(0.05)
                writer.transport.abort()
                return False
            case "hang":
                await asyncio.wait([gone], timeout=60)
                seen.is_cut = gone.done()
                return False
            case "error_event":
                send(b'data: {"error": {"message": "out of memory", "code": 500}}\n\n')
            case "no_json":
                send(b"data: this is not JSON\n\n")
            case "bad_utf8":
                send(b'data: {"choices": [{"delta": {"content": "\xff\xfe"}}]}\n\n')
            case "huge":
                send(b"data: " + b"x" * (10 << 20))
            case "bad_chunk":
                writer.write(b"zz\r\nnonsense\r\n")
        return True


def _script(body: dict[str, Any]) -> dict[str, Any]:
    text = body.get("prompt", body.get("input", ""))
    if "messages" in body:
        text = body["messages"][-1]["content"]
    try:
        script = json.loads(text)
    except (TypeError, ValueError):
        return {}
    return script if isinstance(script, dict) else {}


def _native(path: str, body: dict[str, Any], shape: str) -> dict[str, Any] | None:
    """Ranking, counting and tokens (one a character), as each engine writes them."""
    match path:
        case "/v1/rerank":
            results = [{"index": index, "relevance_score": index / 2} for index in range(len(body["documents"]))]
            return {"results": results, "usage": {"prompt_tokens": PROMPT_TOKENS, "total_tokens": PROMPT_TOKENS}}
        case "/v1/chat/completions/input_tokens" if shape == "llamacpp":
            return {"input_tokens": PROMPT_TOKENS, "object": "response.input_tokens"}
        case "/tokenize" if "messages" in body:
            return {"count": PROMPT_TOKENS, "max_model_len": 4096, "tokens": [1] * PROMPT_TOKENS}
        case "/tokenize" if shape == "llamacpp":
            return {"tokens": [ord(character) for character in body["content"]]}
        case "/tokenize":
            tokens = [ord(character) for character in body["prompt"]]
            return {"count": len(tokens), "max_model_len": 4096, "tokens": tokens, "token_strs": None}
        case "/detokenize":
            text = "".join(chr(token) for token in body["tokens"])
            return {"content": text} if shape == "llamacpp" else {"prompt": text}
        case _:
            return None


def _whole(writer: asyncio.StreamWriter, status: int, content: bytes) -> None:
    writer.write(
        b"HTTP/1.1 %d X\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
        % (status, len(content), content)
    )
