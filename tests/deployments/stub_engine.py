"""An engine of a few lines behind a real Unix socket, that a test can make hang, hurry and count."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import ClassVar

TOKEN = {"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 1, "completion_tokens": 1}}


class StubEngine:
    """``/health`` is always well; a question for a token is answered while ``answers`` is set, and waits otherwise."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.is_over = threading.Event()
        self.questions = 0
        self.counted = 0
        self.answers.set()


class _Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def listening(socket: Path) -> Iterator[StubEngine]:
    """The engine at ``socket`` until the block ends."""
    engine = StubEngine()

    class Conversation(BaseHTTPRequestHandler):
        protocol_version: ClassVar[str] = "HTTP/1.1"

        def do_GET(self) -> None:
            if self.path == "/health":
                self._answer(200, b'{"status":"ok"}')
            else:
                lines = f"llamacpp:prompt_tokens_total {engine.counted}\nllamacpp:tokens_predicted_total 0\n"
                self._answer(200, lines.encode())

        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            engine.questions += 1
            while not engine.answers.wait(0.02):
                if engine.is_over.is_set():
                    return
            self._answer(200, json.dumps(TOKEN).encode())

        def address_string(self) -> str:
            return "socket"

        def log_message(self, format: str, *args: object) -> None:
            """Nobody reads it."""

        def _answer(self, status: int, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    socket.parent.mkdir(parents=True, exist_ok=True)
    socket.unlink(missing_ok=True)
    server = _Server(str(socket), Conversation)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield engine
    finally:
        engine.is_over.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
