"""The twin as a process: ``python -m tests.stripe_twin.server`` prints its port and serves until it is killed.

Idempotency is Stripe's v1: an answer (a 500 too) is kept for a day and given again for the same key; other parameters
under a known key are an error; nothing is kept of a validation failure. ``/_twin/…`` is the test's side: the clock,
faults per path (``500``: fails before any effect; ``drop``: works, but the answer is lost; ``429``), the journal of
calls, and signed webhooks.
"""

import hashlib
import hmac
import json
import threading
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from tests.stripe_twin.accounts import Account, Json, Refusal

_DAY = 24 * 3600


class Twin:
    """The state behind the server."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.base = ""
        self.forget()

    def forget(self) -> None:
        """An empty account, as at the start."""
        self.account = Account()
        self.kept: dict[str, tuple[str, int, int, Json]] = {}
        self.faults: list[Json] = []
        self.journal: list[Json] = []

    def answer(self, method: str, path: str, given: Json, key: str | None) -> tuple[int, Json, str | None]:
        """Status, body, and the fault that happens to this call."""
        with self.lock:
            fault = self._fault(path)
            status, body, is_replay = self._status(method, path, given, key, fault)
            self.journal.append(
                {"method": method, "path": path, "given": given, "key": key, "status": status, "is_replay": is_replay}
            )
            return status, json.loads(json.dumps(body)), fault

    def _status(
        self, method: str, path: str, given: Json, key: str | None, fault: str | None
    ) -> tuple[int, Json, bool]:
        if fault == "429":
            return 429, {"error": {"type": "rate_limit_error", "message": "Too many requests."}}, False
        content = hashlib.sha256(json.dumps([method, path, given], sort_keys=True).encode()).hexdigest()
        known = self.kept.get(key) if key and method == "POST" else None
        if known and self.account.now() - known[1] < _DAY:
            if known[0] != content:
                message = "Keys for idempotent requests can only be used with the same parameters."
                return 400, {"error": {"type": "idempotency_error", "message": message}}, False
            return known[2], known[3], True
        if fault == "500":
            status, body = 500, {"error": {"type": "api_error", "message": "Something went wrong."}}
        else:
            try:
                status, body = 200, self.account.call(method, path, given, self.base)
            except Refusal as refusal:
                return refusal.status, refusal.body, False
        if key and method == "POST":
            self.kept[key] = (content, self.account.now(), status, json.loads(json.dumps(body)))
        return status, body, False

    def _fault(self, path: str) -> str | None:
        for fault in self.faults:
            if fault["times"] > 0 and path.startswith(fault["path"]) and path.endswith(fault.get("suffix", "")):
                fault["times"] -= 1
                return str(fault["kind"])
        return None

    def signed(self, event: Json, secret: str) -> Json:
        """An event's bytes and the header that signs them."""
        payload = json.dumps(event)
        moment = self.account.now()
        mac = hmac.new(secret.encode(), f"{moment}.{payload}".encode(), hashlib.sha256).hexdigest()
        return {"payload": payload, "signature": f"t={moment},v1={mac}"}

    def control(self, verb: str, given: Json) -> Any:
        """The test's side."""
        with self.lock:
            match verb:
                case "forget":
                    self.forget()
                case "clock":
                    self.account.clock_offset += int(given["seconds"])
                case "faults":
                    self.faults.append(given)
                case "journal":
                    return self.journal
                case "invoices":
                    return list(self.account.invoices.values())
                case "items":
                    return list(self.account.items.values())
                case "events":
                    return [self.signed(event, given["secret"]) for event in self.account.events]
                case "deliver":
                    return [
                        self._deliver(self.signed(event, given["secret"]), given["url"])
                        for event in self.account.events
                    ]
        return {}

    def _deliver(self, signed: Json, url: str) -> int:
        headers = {"Stripe-Signature": signed["signature"], "Content-Type": "application/json"}
        request = urllib.request.Request(url, data=signed["payload"].encode(), headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)


class _Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    twin: Twin

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        self._answer("GET", parts.path, _nested(parse_qsl(parts.query)))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        if self.path.startswith("/_twin/"):
            self._reply(200, self.twin.control(self.path.removeprefix("/_twin/"), json.loads(body or "{}")))
            return
        self._answer("POST", self.path, _nested(parse_qsl(body, keep_blank_values=True)))

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
        self._reply(status, body)

    def _reply(self, status: int, body: object) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status >= 500:
            self.send_header("Stripe-Should-Retry", "false")
        self.end_headers()
        self.wfile.write(content)


def _nested(pairs: list[tuple[str, str]]) -> Json:
    found: Json = {}
    for name, value in pairs:
        outer, _, inner = name.partition("[")
        if inner:
            found.setdefault(outer, {})[inner.rstrip("]")] = value
        else:
            found[outer] = value
    return found


def main() -> None:
    """Serves on a free port of the loopback address."""
    twin = Twin()
    _Door.twin = twin
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    server.daemon_threads = True
    twin.base = f"http://127.0.0.1:{server.server_address[1]}"
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
