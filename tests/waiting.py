"""Waiting for a condition, never for the clock."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import connection

Answer = TypeVar("Answer")


def wait_until(condition: Callable[[], Answer], *, seconds: float = 30, what: str | Callable[[], str] = "") -> Answer:
    """Asks ``condition`` until its answer is true, and returns it; fails the test after ``seconds``.

    ``what`` is waited for; a function is asked for its words when it was in vain.
    """
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    delay = 0.005
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            words = what() if callable(what) else what
            raise AssertionError(f"waited {seconds} s in vain for {words or condition}; the last answer was {answer!r}")
        pause.wait(delay)
        delay = min(delay * 1.5, 0.25)


def waiting_for_a_lock() -> int:
    """How many connections wait for a lock in the database at this moment."""
    with connection.cursor() as cursor:
        # pg_stat_activity would be the same until this transaction ends.
        cursor.execute("SELECT count(DISTINCT pid) FROM pg_locks WHERE NOT granted")
        return int(cursor.fetchone()[0])
