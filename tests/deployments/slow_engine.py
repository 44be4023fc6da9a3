"""A container runtime of which one call lasts until the test lets it go on, and a thread that is in that call."""

import contextlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection

from moorage.fleet.runtime import ContainerRuntime


class SlowEngine:
    """Answers as ``runtime`` does. The first ``call`` waits for :attr:`goes_on`: before the Engine gets to it where
    ``is_late``, else with an answer from before the wait."""

    def __init__(self, runtime: ContainerRuntime, call: str, *, is_late: bool = False) -> None:
        self._runtime, self._call, self._is_late = runtime, call, is_late
        self.called, self.goes_on = threading.Event(), threading.Event()

    def __getattr__(self, name: str) -> Any:
        real = getattr(self._runtime, name)
        return self._slowly(real) if name == self._call and not self.called.is_set() else real

    def _slowly(self, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            answer = None if self._is_late else real(*args, **kwargs)
            self.called.set()
            assert self.goes_on.wait(30)
            return real(*args, **kwargs) if self._is_late else answer

        return call


@contextlib.contextmanager
def meanwhile(engine: SlowEngine, work: Callable[[], object]) -> Iterator[None]:
    """``work`` is in the slow call while the block runs, and has ended after it."""

    def run() -> None:
        try:
            work()
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=1) as threads:
        done = threads.submit(run)
        try:
            assert engine.called.wait(30)
            yield
        finally:
            engine.goes_on.set()
        done.result(30)
