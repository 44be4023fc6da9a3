"""Starts the twin and speaks to its control side."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings

SECRET = "whsec_the_twin_signs_with_this"
API_KEY = "sk_test_twin"
CARD = "4242424242424242"
DECLINED_CARD = "4000000000000341"


class TwinProcess:
    """A running twin, seen from a test."""

    def __init__(self, port: int, *, pid: int = 0) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.pid = pid

    def control(self, verb: str, **given: object) -> Any:
        """One call to ``/_twin/<verb>``."""
        request = urllib.request.Request(f"{self.url}/_twin/{verb}", data=json.dumps(given).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def fault(self, kind: str, path: str, *, times: int = 1, suffix: str = "", **more: object) -> None:
        """The next ``times`` calls to paths that begin and end like this fail in this way."""
        self.control("faults", kind=kind, path=path, times=times, suffix=suffix, **more)

    def pay(self, reference: str, *, card: str = CARD) -> str:
        """The customer opens the page of a Checkout session or an invoice and types a card's number; where the page
        sends them. Raises urllib.error.HTTPError as a declined card does."""
        request = urllib.request.Request(f"{self.url}/pay/{reference}", data=f"card={card}".encode(), method="POST")
        with urllib.request.build_opener(_Stay).open(request, timeout=30) as answer:
            return str(answer.headers["Location"])

    def give_up(self, reference: str) -> None:
        """Stripe no longer expects the money."""
        self.control("invoice", does="give_up", id=reference)

    def void(self, reference: str) -> None:
        """Somebody voids it in Stripe's dashboard."""
        self.control("invoice", does="void", id=reference)

    def all(self, kind: str) -> list[Any]:
        """Every object of a kind, the oldest first."""
        return list(self.control("all", kind=kind))

    def signed_events(self, secret: str = SECRET) -> list[tuple[bytes, str]]:
        """Every event so far as bytes with its signature, in order."""
        return [(one["payload"].encode(), one["signature"]) for one in self.control("events", secret=secret)]

    def planned(self, secret: str = SECRET, **script: object) -> list[tuple[bytes, str]]:
        """Events as a script delivers them: ``skip``, ``copies``, ``lost`` per cent, ``seed``, ``age_seconds``."""
        plan = self.control("plan", secret=secret, **script)
        return [(one["payload"].encode(), one["signature"]) for one in plan]

    def calls(self, method: str, path: str) -> list[Any]:
        """What was called at an address, in order."""
        return [one for one in self.control("journal") if (one["method"], one["path"]) == (method, path)]


class _Stay(urllib.request.HTTPRedirectHandler):
    """The page sends the customer on; the test only looks where to."""

    def http_error_303(self, req: Any, fp: Any, code: int, msg: str, headers: Any) -> Any:
        return fp


@contextmanager
def running() -> Iterator[TwinProcess]:
    """A twin of one's own, ended afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stripe_twin.server"], stdout=subprocess.PIPE, cwd=settings.REPOSITORY, text=True
    )
    try:
        assert process.stdout is not None
        yield TwinProcess(int(process.stdout.readline()), pid=process.pid)
    finally:
        process.kill()
        process.communicate()
