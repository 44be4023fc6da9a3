"""How many lines of a runner are kept in a second: some are, and of the others their number. Pure: time comes in.

A runner may print a gigabyte a minute. What is kept fills neither the database nor anybody's screen; what is read at
all is limited too, because reading costs somebody's processor.
"""

import dataclasses
from typing import Final

#: Kept of one runner, per second.
LINES_A_SECOND: Final = 200
CHARACTERS_A_SECOND: Final = 100_000
#: Read of one runner, per second; beyond it the reader skips to what is new. Masking is what reading costs: a fifth of
#: a processor at the most, at 1.6 million characters a second.
READ_A_SECOND: Final = 4_000
READ_CHARACTERS_A_SECOND: Final = 300_000


@dataclasses.dataclass(kw_only=True)
class Meter:
    """Of one runner. ``now`` is any clock that only goes forward, in seconds."""

    left_out: int = 0  #: since it was last told
    is_more: bool = False  #: lines were skipped that nobody has counted
    _second: int = -1
    _lines: int = 0
    _characters: int = 0
    _read: int = 0
    _read_characters: int = 0

    def keeps(self, length: int, now: float) -> bool:
        """Whether a line of this length, read ``now``, is kept; one that is not is counted."""
        if int(now) != self._second:
            self._second, self._lines, self._characters, self._read, self._read_characters = int(now), 0, 0, 0, 0
        self._read += 1
        self._read_characters += length
        if self._lines >= LINES_A_SECOND or self._characters + length > CHARACTERS_A_SECOND:
            self.left_out += 1
            return False
        self._lines += 1
        self._characters += length
        return True

    @property
    def is_flooded(self) -> bool:
        """Whether it is time to skip to what is new."""
        return self._read >= READ_A_SECOND or self._read_characters >= READ_CHARACTERS_A_SECOND

    def most_kept(self, lines: int) -> int:
        """How many of so many lines a second keeps, if they are as long as those read in this one; at least one."""
        mean = max(1, self._read_characters // max(1, self._read))
        return max(1, min(lines, LINES_A_SECOND, CHARACTERS_A_SECOND // mean))

    def tell(self) -> str:
        """The line that stands for those that were left out since the last time; empty: none were."""
        if not self.left_out and not self.is_more:
            return ""
        count = f"{'more than ' if self.is_more else ''}{self.left_out:,} lines left out"
        self.left_out, self.is_more = 0, False
        return f"… {count}"
