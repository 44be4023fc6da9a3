"""Progress that a person can follow: numbered steps with the time since the start, one line an event."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO


class Progress:
    """Says numbered steps and what happens in them, each line with the seconds since the start."""

    def __init__(self, *, steps: int, out: TextIO | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._steps = steps
        self._out = out or sys.stderr
        self._clock = clock
        self._began = clock()
        self._number = 0

    @contextmanager
    def step(self, title: str) -> Iterator["Progress"]:
        """One numbered step: its title before, how long it took after."""
        self._number += 1
        self._line(f"[{self._number}/{self._steps}] {title}")
        began = self._clock()
        yield self
        seconds = self._clock() - began
        if seconds >= 1:
            self.note(f"done in {seconds:.0f} s" if seconds >= 10 else f"done in {seconds:.1f} s")

    def note(self, sentence: str) -> None:
        """Something worth knowing inside the present step."""
        self._line(f"      {sentence}")

    def _line(self, text: str) -> None:
        seconds = int(self._clock() - self._began)
        print(f"{seconds // 60:2d}:{seconds % 60:02d}  {text}", file=self._out, flush=True)


class Percent:
    """Turns many small percentages into few lines: says one only every ``every`` percent."""

    def __init__(self, say: Callable[[str], None], *, what: str, every: int = 10) -> None:
        self._say, self._what, self._every, self._said = say, what, every, -1

    def reached(self, percent: int) -> None:
        """``percent`` of 100 is done."""
        if percent // self._every > self._said // self._every or self._said < 0:
            self._said = percent
            self._say(f"{self._what}: {percent} %")
