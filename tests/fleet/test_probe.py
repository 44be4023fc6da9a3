"""What counts as ready, asked of small HTTP servers on Unix sockets."""

import http.server
import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from moorage.fleet import probe

Answer = tuple[int, Any]
Serve = Callable[[dict[str, Answer]], Path]


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


@pytest.fixture
def serve(short_tmp: Path) -> Iterator[Serve]:
    servers: list[Server] = []

    def start(answers: dict[str, Answer]) -> Path:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self._answer()

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                self._answer()

            def _answer(self) -> None:
                status, document = answers[self.path]
                body = json.dumps(document).encode()
                self.send_response(status)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                pass

        path = short_tmp / "e.sock"
        server = Server(str(path), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return path

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


TOKEN = (200, {"choices": [{"message": {"content": ""}}], "usage": {"completion_tokens": 1}})
NO_TEMPLATE = (500, {"error": {"message": "this model has no chat template"}})
LOADING = (503, {"error": {"message": "Loading model"}})


@pytest.mark.parametrize(
    ("answer", "is_ok", "reason"),
    [((200, {"status": "ok"}), True, "ready"), (LOADING, False, "loading"), ((500, {}), False, "engine_error")],
)
def test_health_is_what_the_engine_says(serve: Serve, answer: Answer, is_ok: bool, reason: str) -> None:
    result = probe.health(serve({"/health": answer}))

    assert (result.is_ok, result.reason) == (is_ok, reason)


def test_a_socket_that_is_not_there_is_a_reason_and_not_an_exception(short_tmp: Path) -> None:
    for result in (probe.health(short_tmp / "e.sock"), probe.first_token(short_tmp / "e.sock", "m", "chat")):
        assert (result.is_ok, result.reason) == (False, "no_socket")
        assert result.detail


@pytest.mark.parametrize(
    ("answers", "is_ok", "reason"),
    [
        ({"/v1/chat/completions": TOKEN}, True, "ready"),
        ({"/v1/chat/completions": NO_TEMPLATE, "/v1/completions": TOKEN}, True, "ready"),
        ({"/v1/chat/completions": NO_TEMPLATE, "/v1/completions": (500, {})}, False, "engine_error"),
        ({"/v1/chat/completions": LOADING}, False, "loading"),
        ({"/v1/chat/completions": (200, {"choices": []})}, False, "no_token"),
        ({"/v1/chat/completions": (200, {"choices": [{}], "usage": {"completion_tokens": 0}})}, False, "no_token"),
        ({"/v1/chat/completions": (200, "ready!")}, False, "no_token"),
    ],
)
def test_a_chat_model_is_ready_when_one_token_came_back(
    serve: Serve, answers: dict[str, Answer], is_ok: bool, reason: str
) -> None:
    result = probe.first_token(serve(answers), "quay/llm", "chat", timeout_seconds=5)

    assert (result.is_ok, result.reason) == (is_ok, reason)


@pytest.mark.parametrize(
    ("document", "is_ok", "reason"),
    [
        ({"data": [{"embedding": [0.1, 0.2]}]}, True, "ready"),
        ({"data": [{"embedding": []}]}, False, "no_token"),
        ({"data": []}, False, "no_token"),
    ],
)
def test_an_embedding_model_is_ready_when_one_vector_came_back(
    serve: Serve, document: Any, is_ok: bool, reason: str
) -> None:
    result = probe.first_token(serve({"/v1/embeddings": (200, document)}), "quay/llm", "embedding", timeout_seconds=5)

    assert (result.is_ok, result.reason) == (is_ok, reason)


@pytest.mark.parametrize(
    ("document", "is_ok", "reason"),
    [
        ({"results": [{"index": 0, "relevance_score": -1.5}]}, True, "ready"),
        ({"results": [{"index": 0, "relevance_score": None}]}, False, "no_token"),
        ({"results": []}, False, "no_token"),
    ],
)
def test_a_ranker_is_ready_when_one_score_came_back(serve: Serve, document: Any, is_ok: bool, reason: str) -> None:
    result = probe.first_token(serve({"/v1/rerank": (200, document)}), "quay/llm", "rerank", timeout_seconds=5)

    assert (result.is_ok, result.reason) == (is_ok, reason)


def test_an_engine_that_never_answers_costs_a_bounded_time(short_tmp: Path) -> None:
    class Silent(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(65536)
            over.wait(20)

    over = threading.Event()
    with Server(str(short_tmp / "e.sock"), Silent) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        result = probe.first_token(short_tmp / "e.sock", "quay/llm", "chat", timeout_seconds=0.3)

        over.set()
        server.shutdown()
    assert (result.is_ok, result.reason) == (False, "no_answer")
