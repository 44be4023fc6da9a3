"""A process that stands in for vLLM in sleep mode: its development routes, and what it was asked, on a Unix socket."""

import http.server
import json
import socketserver
import sys

MODE = sys.argv[2] if len(sys.argv) > 2 else "good"
STATE = {"asleep": False, "level": 0, "asked": []}


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        match self.path:
            case "/is_sleeping":
                self._say(200, {"is_sleeping": STATE["asleep"]})
            case "/asked":
                self._say(200, STATE)
            case _:
                self._say(404, {})

    def do_POST(self) -> None:
        STATE["asked"].append(self.path)  # type: ignore[attr-defined]
        path, _, query = self.path.partition("?")
        if MODE == "broken":
            self._say(500, {"error": "CUDA out of memory"})
            return
        if path == "/sleep" and MODE != "stubborn":
            STATE["asleep"], STATE["level"] = True, int(query.partition("=")[2])
        elif path == "/wake_up":
            STATE["asleep"] = False
        self._say(200, None)

    def _say(self, status: int, document: object) -> None:
        body = b"" if document is None else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "worker"

    def log_message(self, *args: object) -> None:
        pass


class Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True


if __name__ == "__main__":
    with Server(sys.argv[1], Handler) as server:
        print("listening", flush=True)
        server.serve_forever()
