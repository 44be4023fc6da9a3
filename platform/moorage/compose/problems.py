"""What is wrong with a Compose file, where, and what to do about it: all of it at once.

Reading never stops at the first mistake. Every reader writes into one Report; only a file whose structure cannot be
read at all ends early. A problem of severity `warning` is a key that Moorage reads and ignores.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from moorage.kernel.errors import InvalidInput

Severity = Literal["error", "warning"]

# A hostile file may hold thousands of mistakes; a person corrects a screenful at a time.
MAX_PROBLEMS = 100

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,80}")


@dataclass(frozen=True, kw_only=True)
class Position:
    """A place in the text: line and column, both counted from 1."""

    line: int
    column: int


START = Position(line=1, column=1)


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One finding: the path of the key, its place in the text, and a sentence that says what to do."""

    path: str
    line: int
    column: int
    message: str
    severity: Severity

    def __str__(self) -> str:
        where = f"{self.path}: " if self.path else ""
        return f"line {self.line}: {where}{self.message}"


class SpecInvalid(InvalidInput):
    """The Compose file cannot be used as it is. Correct the problems listed and send it again."""

    code, status_code = "spec_invalid", 422

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        self.problems = problems
        errors = [problem for problem in problems if problem.severity == "error"]
        if not errors:
            super().__init__()
            return
        counted = "one problem" if len(errors) == 1 else f"{len(errors)} problems, first"
        super().__init__(f"The Compose file has {counted}: {errors[0]}", param=errors[0].path or None)


class Report:
    """Collects problems, and the line of every path, while one file is read."""

    def __init__(self) -> None:
        self._problems: list[Problem] = []
        self._untold = 0
        self._failed = False
        self._spoiled: set[Position] = set()
        self.lines: dict[str, int] = {}

    def error(self, path: str, at: Position, message: str) -> None:
        """Something has to be changed before the file can be used."""
        self._failed = True
        if at in self._spoiled:
            return
        self._add(path, at, message, "error")

    def spoil(self, path: str, at: Position, message: str) -> None:
        """The value at this place cannot be known: an error, and no further ones about what it would have to be."""
        self.error(path, at, message)
        self._spoiled.add(at)

    def warning(self, path: str, at: Position, message: str) -> None:
        """Something is ignored; the file can be used."""
        self._add(path, at, message, "warning")

    @property
    def failed(self) -> bool:
        """Whether any error was reported, told or untold."""
        return self._failed

    @property
    def is_long(self) -> bool:
        """Whether so much is wrong that searching for nearest spellings is not worth its time any more."""
        return len(self._problems) >= MAX_PROBLEMS // 4

    @property
    def is_full(self) -> bool:
        """Whether further problems are only counted."""
        return len(self._problems) >= MAX_PROBLEMS

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Everything found, in the order of the text."""
        found = sorted(self._problems, key=lambda problem: (problem.line, problem.column, problem.path))
        if self._untold:
            last = found[-1]
            found.append(
                Problem(
                    path="",
                    line=last.line,
                    column=last.column,
                    message=f"There are {self._untold} more problems. Correct these first.",
                    severity="error" if self._failed else "warning",
                )
            )
        return tuple(found)

    def _add(self, path: str, at: Position, message: str, severity: Severity) -> None:
        if self.is_full:
            self._untold += 1
            return
        self._problems.append(Problem(path=path, line=at.line, column=at.column, message=message, severity=severity))


def join(path: str, key: str | int) -> str:
    """The path of a key or a list item under `path`: `models.llm.runtime_flags[0]`, `models["a.b"].model`."""
    if isinstance(key, int):
        return f"{path}[{key}]"
    if _PLAIN_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f'{path}["{shown(key)[1:-1]}"]'


def shown(text: str) -> str:
    """A piece of the caller's text as it may be printed: quoted, escaped and cut."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")


def listed(names: Mapping[str, object] | tuple[str, ...] | list[str] | frozenset[str]) -> str:
    """Names for a sentence: `a, b and c`."""
    words = sorted(names) if isinstance(names, frozenset) else list(names)
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
