"""One line for each request, ``key=value``, without a word of what was asked or answered.

Lines are collected and written a few times a second; a reader that is slow makes lines be dropped, not requests wait.
"""

import os
import stat
from typing import Final

from moorage.gateway.event_templates import Template
from moorage.gateway.settled import Settled
from moorage.wire.records import Outcome

_PENDING_MAX: Final = 10_000
_UNWRITTEN_MAX: Final = 4 * 1024 * 1024


class AccessLog:
    """Writes to a file descriptor, standard output by default."""

    def __init__(self, descriptor: int = 1) -> None:
        self._descriptor = descriptor
        self._unwritten = b""
        if stat.S_ISFIFO(os.fstat(descriptor).st_mode):
            os.set_blocking(descriptor, False)
        self._lines: list[str] = []
        self._dropped = 0

    def write(self, event: str, **values: str | int) -> None:
        """Note one event, in the past tense."""
        words = [event]
        words.extend(f"{name}={_plain(value)}" for name, value in values.items())
        self.line(" ".join(words))

    def line(self, line: str) -> None:
        """Note one event that is written out already, from nothing that a caller has chosen."""
        if len(self._lines) >= _PENDING_MAX:
            self._dropped += 1
            return
        self._lines.append(line)

    def settled(
        self,
        template: Template,
        request_id: str,
        replica_id: str,
        outcome: Outcome,
        status: int,
        settled: Settled,
        took_us: int,
        held_us: int,
    ) -> None:
        """Note the end of a request."""
        if len(self._lines) >= _PENDING_MAX:
            self._dropped += 1
            return
        # Ids, numbers and words of ours: nothing here can break a line.
        self._lines.append(
            f"request_settled request={request_id}{template.before_status}{status} outcome={outcome}"
            f"{template.before_organization}{replica_id or '-'}{template.before_tokens}{settled.input_tokens}"
            f" cached={settled.cached_tokens} output={settled.output_tokens} source={settled.source}"
            f" ms={took_us // 1000} held_ms={held_us // 1000}"
        )

    def flush(self) -> None:
        """Write what has been noted."""
        if not self._lines and not self._unwritten:
            return
        lines, self._lines = self._lines, []
        if self._dropped:
            lines.append(f"log_lines_dropped count={self._dropped}")
            self._dropped = 0
        content = self._unwritten + "".join([f"{line}\n" for line in lines]).encode()
        try:
            written = os.write(self._descriptor, content)
        except BlockingIOError:
            written = 0
        except OSError:
            # Nobody reads any more; serving goes on.
            written = len(content)
        self._unwritten = content[written:]
        if len(self._unwritten) > _UNWRITTEN_MAX:
            self._dropped += self._unwritten.count(b"\n")
            self._unwritten = b""


def _plain(value: str | int) -> str:
    """A value that cannot end the line or be taken for another key."""
    if isinstance(value, int):
        return str(value)
    if value.isascii() and value.isprintable() and " " not in value and '"' not in value and value:
        return value
    shown = value.encode("ascii", "backslashreplace").decode().replace('"', "'")
    return '"' + "".join(character if character.isprintable() else "?" for character in shown) + '"'
