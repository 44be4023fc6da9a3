"""``python -m tests.benchmarks.sampled_gateway``: a gateway that notes where it is, a thousand times a second of CPU.

SIGUSR1 begins, SIGUSR2 ends and writes the file that MOORAGE_BENCH_SAMPLES names: one JSON object of stacks and counts,
a stack being ``module.function:line`` from the inside out.

CPython runs a signal's handler at the next function entry, backward jump or end of a call. A sample at a function's
very entry therefore belongs to whoever called it; where nobody did, to the event loop and the kernel below it.
"""

import collections
import json
import os
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Final

from tests.benchmarks.samples import LOOP

_SECONDS: Final = 0.001
_DEPTH: Final = 12
#: RESUME is among the first instructions: behind it is the body.
_ENTRY_BYTES: Final = 8

_stacks: collections.Counter[tuple[str, ...]] = collections.Counter()


def _note(_signal: int, frame: FrameType | None) -> None:
    names: list[str] = []
    if frame is not None and frame.f_lasti <= _ENTRY_BYTES:
        frame = frame.f_back
    while frame is not None and len(names) < _DEPTH:
        module = frame.f_globals.get("__name__", "?")
        if module in ("asyncio.runners", "moorage.gateway.worker", __name__, "__main__", "runpy"):
            break
        names.append(f"{module}.{frame.f_code.co_qualname}:{frame.f_lineno}")
        frame = frame.f_back
    _stacks[tuple(names) or (LOOP,)] += 1


def _begin(_signal: int, _frame: FrameType | None) -> None:
    _stacks.clear()
    signal.signal(signal.SIGPROF, _note)
    signal.setitimer(signal.ITIMER_PROF, _SECONDS, _SECONDS)


def _end(_signal: int, _frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_PROF, 0)
    file = Path(os.environ["MOORAGE_BENCH_SAMPLES"])
    unfinished = file.with_suffix(".new")
    unfinished.write_text(json.dumps([[list(stack), count] for stack, count in _stacks.items()]))
    unfinished.rename(file)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, _begin)
    signal.signal(signal.SIGUSR2, _end)
    from moorage.gateway.worker import main

    sys.exit(main(os.environ))
