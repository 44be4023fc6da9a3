"""A Compose file with its problems between its lines, as a compiler shows them. Pure."""

import dataclasses
from collections.abc import Sequence
from typing import Final

from moorage.compose.problems import Problem

#: Lines shown before and after one with a problem.
_AROUND: Final = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
    """A line of the file, counted from 1, with what is to be said about it."""

    number: int
    text: str
    problems: tuple[Problem, ...] = ()
    #: Lines between the one before and this one are left out.
    is_after_gap: bool = False

    @property
    def is_wrong(self) -> bool:
        """Whether it has to be changed; a warning needs nothing."""
        return any(problem.severity == "error" for problem in self.problems)


def noted(text: str, problems: Sequence[Problem]) -> tuple[Line, ...]:
    """The lines that have problems, with some around them. A problem past the end stands at the last line."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n").split("\n")
    by_number: dict[int, list[Problem]] = {}
    for problem in problems:
        by_number.setdefault(min(max(problem.line, 1), len(lines)), []).append(problem)
    near = {
        number for wrong in by_number for number in range(max(wrong - _AROUND, 1), min(wrong + _AROUND, len(lines)) + 1)
    }
    shown: list[Line] = []
    for number in sorted(near):
        before = shown[-1].number if shown else 0
        shown.append(
            Line(
                number=number,
                text=lines[number - 1],
                problems=tuple(by_number.get(number, ())),
                is_after_gap=number > before + 1,
            )
        )
    return tuple(shown)
