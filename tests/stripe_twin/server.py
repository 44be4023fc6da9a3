"""The twin as a process: ``python -m tests.stripe_twin.server`` prints its port and serves until it is killed.

``/v1/…`` is Stripe's side, ``/pay/…`` and ``/portal/…`` the pages that a customer opens, ``/_twin/…`` the test's side.
"""

import html
import json
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qsl, urlsplit

from tests.stripe_twin import forms
from tests.stripe_twin.account import Json, Refusal
from tests.stripe_twin.twin import Twin

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>Twin of Stripe</title>
<h1>{title}</h1><p>{text}</p>
<form method="post"><label>Card number <input name="card" value="4242424242424242"></label>
<button type="submit">Pay</button></form><p><a href="{back}">Cancel</a></p></html>"""


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    twin: Twin

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith(("/pay/", "/portal/")):
            self._show(parts.path.rpartition("/")[2])
        else:
            self._answer("GET", parts.path, forms.decoded(parts.query))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.path.startswith("/_twin/"):
            self._reply(200, self.twin.control(self.path.removeprefix("/_twin/"), json.loads(body or "{}")))
        elif self.path.startswith("/pay/"):
            number = dict(parse_qsl(body)).get("card", "4242424242424242").replace(" ", "")
            try:
                self._redirect(self.twin.page(self.path.rpartition("/")[2], number))
            except Refusal as refusal:
                self._reply(refusal.status, refusal.body)
        else:
            self._answer("POST", self.path, forms.decoded(body))

    def log_message(self, *_: object) -> None:
        """Tests read the journal instead."""

    def _answer(self, method: str, path: str, given: Json) -> None:
        if not self.headers.get("Authorization", "").startswith("Bearer sk_test_"):
            self._reply(401, {"error": {"type": "invalid_request_error", "message": "Invalid API Key provided."}})
            return
        status, body, fault = self.twin.answer(method, path, given, self.headers.get("Idempotency-Key"))
        if fault == "drop":
            self.close_connection = True
            return
        self._reply(status, body, is_cut=fault == "truncated")

    def _show(self, reference: str) -> None:
        found = self.twin.account.objects.get(reference, {})
        amount = found.get("amount_total") or found.get("amount_due")
        text = f"{amount / 100:.2f} {found.get('currency', '')}".upper() if amount else str(found.get("object", "gone"))
        back = found.get("cancel_url") or found.get("return_url") or "/"
        page = _PAGE.format(title=html.escape(reference), text=html.escape(text), back=html.escape(back))
        self._send(200, page.encode(), "text/html; charset=utf-8")

    def _redirect(self, address: str) -> None:
        self.send_response(303)
        self.send_header("Location", address)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _reply(self, status: int, body: object, *, is_cut: bool = False) -> None:
        content = json.dumps(body).encode()
        self._send(status, content[: len(content) // 2] if is_cut else content, "application/json")

    def _send(self, status: int, content: bytes, kind: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if status >= 500:
            self.send_header("Stripe-Should-Retry", "false")
        if status == 429:
            self.send_header("Retry-After", "1")
        self.end_headers()
        self.wfile.write(content)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed in the middle of a call is what the tests are for."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def main() -> None:
    """Serves on a free port of the loopback address."""
    twin = Twin()
    _Door.twin = twin
    server = _Server(("127.0.0.1", 0), _Door)
    twin.base = f"http://127.0.0.1:{server.server_address[1]}"
    twin.forget()
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
