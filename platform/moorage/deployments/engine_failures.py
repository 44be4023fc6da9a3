"""Why an engine ended, in a sentence with what to do about it: from its exit code, its memory and its last lines. Pure.

The lines are read for what llama-server and vLLM are known to print (:mod:`engine_complaints`). What is quoted comes
redacted (:mod:`redaction`).
"""

import dataclasses
import re
import signal
from typing import Final

from moorage.deployments.engine_complaints import CHANGE_MEMORY, COMPLAINTS, QUOTED_MOST
from moorage.deployments.reasons import Reason

_MIB: Final = 2**20
#: llama-server begins its lines with a clock and a level; vLLM with a process, a level, a time and a place.
_PREFIX: Final = re.compile(
    r"^(?:\([^)]*pid=\d+\)\s*)?"
    r"(?:\d+\.\d+\.\d+\.\d+ [A-Z] +|(?:INFO|WARNING|ERROR|CRITICAL) [0-9-]+ [0-9:]+ \[[^\]]*\] ?)?"
)
_NOISE: Final = re.compile(
    r"cleaning up before exit|exiting due to|for more information|^usage:|to show complete usage|core dumped"
    r"|resource_tracker"
    r"|warnings\.warn|DeprecationWarning|destroy_process_group|leaked|Engine core initialization failed",
    re.IGNORECASE,
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class End:
    """How an engine ended. ``lines``: what it printed last. Sizes in bytes; None: not known."""

    lines: tuple[str, ...] = ()
    exit_code: int | None = None
    is_oom_killed: bool = False
    peak_memory_bytes: int | None = None
    limit_bytes: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Explanation:
    """The reason, the particulars with what to do, and whether another try without a change is pointless."""

    reason: Reason
    detail: str
    is_permanent: bool = False


def explain(end: End) -> Explanation:
    """Why it ended. An end by the kernel for want of memory is that, whatever was printed before."""
    if end.is_oom_killed:
        return Explanation(reason=Reason.OUT_OF_MEMORY, detail=f"{_memory(end)} {CHANGE_MEMORY}".strip())
    text = "\n".join(_PREFIX.sub("", line) for line in end.lines)
    for known in COMPLAINTS:
        found = known.pattern.search(text)
        if found is not None:
            detail = known.say(found)
            if known.reason is Reason.OUT_OF_MEMORY:
                detail = f"{_memory(end)} {detail}".strip()
            return Explanation(reason=known.reason, detail=detail, is_permanent=known.is_permanent)
    return Explanation(reason=Reason.ENGINE_EXITED, detail=f"{_code(end.exit_code)} {last_word(end.lines)}".strip())


def last_word(lines: tuple[str, ...]) -> str:
    """What the engine said last of what went wrong, quoted: the best there is where no complaint is known."""
    bare = [_PREFIX.sub("", line).strip() for line in lines]
    said = [line for line in bare if line and not _NOISE.search(line)]
    errors = [line for line in said if re.search(r"error|fail|exception|abort|cannot|fatal", line, re.IGNORECASE)]
    chosen = (errors or said)[-1:]
    return f"The engine's last word: {chosen[0][:QUOTED_MOST]}" if chosen else ""


def _memory(end: End) -> str:
    limit = f"Its limit is {_mib(end.limit_bytes)}" if end.limit_bytes else ""
    if end.peak_memory_bytes and end.limit_bytes:
        return f"{limit} and it was seen with {_mib(min(end.peak_memory_bytes, end.limit_bytes))}."
    return f"{limit}." if limit else ""


def _mib(size: int) -> str:
    return f"{size / _MIB:,.0f} MiB"


def _code(exit_code: int | None) -> str:
    """Above 128 it is the number of a signal, as shells count."""
    if exit_code is None:
        return ""
    if exit_code > 128:
        try:
            name = signal.Signals(exit_code - 128).name
        except ValueError:
            name = ""
        meaning = {"SIGKILL": " Something outside killed it.", "SIGILL": " The node's CPU lacks what it was built for."}
        if name:
            return f"Ended by the signal {name} (exit code {exit_code}).{meaning.get(name, '')}"
    if exit_code == 0:
        return "It ended without an error (exit code 0), which an engine should never do."
    return f"Exit code {exit_code}."
