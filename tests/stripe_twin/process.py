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


class TwinProcess:
    """A running twin, seen from a test."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def control(self, verb: str, **given: object) -> Any:
        """One call to ``/_twin/<verb>``."""
        request = urllib.request.Request(f"{self.url}/_twin/{verb}", data=json.dumps(given).encode(), method="POST")
        with urllib.request.urlopen(request, timeout=30) as answer:
            return json.loads(answer.read())

    def fault(self, kind: str, path: str, *, times: int = 1, suffix: str = "") -> None:
        """The next ``times`` calls to paths that begin and end like this fail in this way."""
        self.control("faults", kind=kind, path=path, times=times, suffix=suffix)

    def pay(self, reference: str) -> None:
        """The customer pays."""
        self._move(reference, "pay")

    def give_up(self, reference: str) -> None:
        """Stripe no longer expects the money."""
        self._move(reference, "mark_uncollectible")

    def void(self, reference: str) -> None:
        """Somebody voids it in Stripe's dashboard."""
        self._move(reference, "void")

    def signed_events(self, secret: str = SECRET) -> list[tuple[bytes, str]]:
        """Every event so far as bytes with its signature, in order."""
        return [(one["payload"].encode(), one["signature"]) for one in self.control("events", secret=secret)]

    def _move(self, reference: str, verb: str) -> None:
        request = urllib.request.Request(
            f"{self.url}/v1/invoices/{reference}/{verb}",
            data=b"",
            headers={"Authorization": f"Bearer {API_KEY}"},
            method="POST",
        )
        urllib.request.urlopen(request, timeout=30).close()


@contextmanager
def running() -> Iterator[TwinProcess]:
    """A twin of one's own, ended afterwards."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.stripe_twin.server"], stdout=subprocess.PIPE, cwd=settings.REPOSITORY, text=True
    )
    try:
        assert process.stdout is not None
        yield TwinProcess(int(process.stdout.readline()))
    finally:
        process.kill()
        process.communicate()
