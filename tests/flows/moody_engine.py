"""``python moody_engine.py MOOD --host SOCKET …``: a revision that is worse than the one before, as an engine.

``failing`` answers health and a probe well, and every second real request with an error of its own. ``slow`` thinks for
a second before the first token. Both speak as llama-server does: whole answers, streams with a usage at their end.
"""

import itertools
import json
import socketserver
import sys
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, ClassVar

USAGE = {"prompt_tokens": 24, "completion_tokens": 2, "total_tokens": 26}
_number = itertools.count()


class Conversation(BaseHTTPRequestHandler):
    protocol_version: ClassVar[str] = "HTTP/1.1"
    mood: ClassVar[str] = ""

    def do_GET(self) -> None:
        self._answer(200, {"status": "ok"})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "Ahoy" not in json.dumps(asked):
            if self.mood == "failing" and next(_number) % 2:
                self._answer(500, {"error": {"message": "out of sorts", "type": "server_error", "code": 500}})
                return
            if self.mood == "slow":
                time.sleep(1)
        if asked.get("stream"):
            self._stream()
        else:
            message = {"role": "assistant", "content": "at the quay"}
            self._answer(200, self._chunk([{"index": 0, "message": message, "finish_reason": "stop"}], usage=USAGE))

    def _stream(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for text in ("at the", " quay"):
            self._event(self._chunk([{"index": 0, "delta": {"content": text}, "finish_reason": None}]))
        self._event(self._chunk([{"index": 0, "delta": {}, "finish_reason": "stop"}]))
        self._event(self._chunk([], usage=USAGE))
        self._piece(b"data: [DONE]\n\n")
        self._piece(b"")

    def _chunk(self, choices: list[Any], **more: Any) -> dict[str, Any]:
        return {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "m", "choices": choices, **more}

    def _event(self, document: dict[str, Any]) -> None:
        self._piece(f"data: {json.dumps(document)}\n\n".encode())

    def _piece(self, content: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(content), content))
        self.wfile.flush()

    def _answer(self, status: int, document: dict[str, Any]) -> None:
        content = json.dumps(document).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def address_string(self) -> str:
        return "socket"

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""


class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


if __name__ == "__main__":
    Conversation.mood = sys.argv[1]
    socket = Path(sys.argv[sys.argv.index("--host") + 1])
    socket.unlink(missing_ok=True)
    Server(str(socket), Conversation).serve_forever()
