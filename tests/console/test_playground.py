"""The playground against a gateway of two answers: it refuses the new key at first, then streams."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

import pytest
from django.test import Client
from pytest_django import Settings

from moorage.accounts.models import ApiKey
from moorage.console.playground_answer import collected
from moorage.deployments.models import Deployment
from tests.console.pages import text_of

CHUNKS = [
    {"choices": [{"delta": {"role": "assistant", "content": None}}]},
    {"choices": [{"delta": {"content": "<b>The"}}]},
    {"choices": [{"delta": {"content": " sea"}}]},
    {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2}},
]
QUESTION = {"model": "demo/llm", "message": "Tell me a secret", "max_tokens": "5", "temperature": "0.5"}


class _Gateway(BaseHTTPRequestHandler):
    asked: ClassVar[list[dict[str, Any]]]
    keys: ClassVar[list[str]]
    refusal: ClassVar[tuple[int, bytes] | None]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.keys.append(self.headers["Authorization"])
        status, content = 401, b"{}"
        if self.refusal is not None:
            status, content = self.refusal
        elif len(self.keys) > 1:
            self.asked.append(json.loads(body))
            lines = [f"data: {json.dumps(chunk)}\n\n" for chunk in CHUNKS]
            status, content = 200, "".join([": holding\n\n", *lines, "data: [DONE]\n\n"]).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def gateway(settings: Settings) -> Iterator[type[_Gateway]]:
    """A gateway that has not heard of a key at its first use."""

    class Mine(_Gateway):
        asked: ClassVar[list[dict[str, Any]]] = []
        keys: ClassVar[list[str]] = []
        refusal: ClassVar[tuple[int, bytes] | None] = None

    server = ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    settings.MOORAGE_GATEWAY_URL = f"http://127.0.0.1:{server.server_port}"
    yield Mine
    server.shutdown()
    server.server_close()


def streamed(client: Client) -> bytes:
    response = client.post("/harbour/playground", QUESTION, headers={"Accept": "text/event-stream"})
    assert response["Content-Type"] == "text/event-stream"
    assert response["Cache-Control"] == "no-store"
    return b"".join(response.streaming_content)  # type: ignore[attr-defined]


def test_an_answer_is_relayed_with_a_key_that_ends_with_it(
    alice: Client, deployment: Deployment, gateway: type[_Gateway]
) -> None:
    events = streamed(alice)

    assert collected([events]).text == "<b>The sea"
    assert gateway.asked[0]["messages"] == [{"role": "user", "content": "Tell me a secret"}]
    assert gateway.asked[0]["stream_options"] == {"include_usage": True}
    key = ApiKey.objects.get()
    assert key.name == "playground"
    assert key.scopes == ["inference"]
    assert key.served_names == ["demo/llm"]
    assert key.expires_at is not None
    assert key.revoked_at is not None


def test_without_javascript_the_whole_answer_is_in_the_page_as_text(
    alice: Client, deployment: Deployment, gateway: type[_Gateway]
) -> None:
    page = text_of(alice.post("/harbour/playground", QUESTION))

    assert "&lt;b&gt;The sea" in page
    assert "9 input tokens, 2 output tokens" in page
    assert ApiKey.objects.filter(revoked_at=None).count() == 0


def test_the_gateways_sentence_is_shown(alice: Client, deployment: Deployment, gateway: type[_Gateway]) -> None:
    gateway.refusal = (503, json.dumps({"error": {"message": "The deployment is paused."}}).encode())

    events = streamed(alice)

    assert collected([events]).error == "The deployment is paused."
    assert ApiKey.objects.filter(revoked_at=None).count() == 0


def test_a_gateway_that_is_not_there_is_said(alice: Client, deployment: Deployment, settings: Settings) -> None:
    settings.MOORAGE_GATEWAY_URL = "http://127.0.0.1:1"

    assert collected([streamed(alice)]).error.startswith("The gateway does not answer.")


def test_somebody_elses_model_cannot_be_asked(alice: Client, deployment: Deployment) -> None:
    question = {**QUESTION, "model": "island/llm"}

    response = alice.post("/harbour/playground", question, headers={"Accept": "text/event-stream"})

    assert response.status_code == 422
    assert response.json()["error"]["message"].startswith("Model:")
    assert ApiKey.objects.count() == 0
