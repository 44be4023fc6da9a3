"""Callers that wait: a question is asked again and again until it has an answer or the time is over.

Between two looks nothing is held but the thread itself: no transaction, no lock. Only so many may wait at once,
so that the others still find a free thread.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from django.db import close_old_connections, connection

from moorage.api.errors import TooManyWaiting

Answer = TypeVar("Answer")

PAUSE_SECONDS: Final = 0.2
#: Half of a web process's threads.
PLACES: Final = 8
SECONDS: Final = 300
SECONDS_MOST: Final = 900

_places = threading.BoundedSemaphore(PLACES)


def until(look: Callable[[], Answer | None], *, seconds: float) -> Answer | None:
    """The first answer of ``look`` that is not None; None after ``seconds``. Raises TooManyWaiting."""
    answer = look()
    if answer is not None:
        return answer
    with _place():
        deadline = time.monotonic() + seconds
        pause = threading.Event()
        while (left := deadline - time.monotonic()) > 0:
            pause.wait(min(PAUSE_SECONDS, left))
            if not connection.in_atomic_block:  # a transaction belongs to whoever has begun it
                close_old_connections()
            answer = look()
            if answer is not None:
                return answer
    return None


@contextmanager
def _place() -> Iterator[None]:
    if not _places.acquire(blocking=False):
        raise TooManyWaiting
    try:
        yield
    finally:
        _places.release()
