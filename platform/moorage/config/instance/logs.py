"""The processes' logs: one file a process, appended by the process itself, bounded by copy and truncate.

Appending (O_APPEND) is what makes truncation safe while the writer runs: its next line lands at the new end.
"""

import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final, TextIO

MAX_BYTES: Final = 10 * 1024 * 1024
KEPT: Final = 3


def rotate(path: Path, *, max_bytes: int = MAX_BYTES, kept: int = KEPT) -> bool:
    """Move the text of an oversized log to `NAME.log.1`, older ones one further, and say whether it was done."""
    if not path.exists() or path.stat().st_size <= max_bytes:
        return False
    for number in range(kept - 1, 0, -1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.rename(path.with_name(f"{path.name}.{number + 1}"))
    shutil.copyfile(path, path.with_name(f"{path.name}.1"))
    path.with_name(f"{path.name}.1").chmod(0o600)
    with path.open("r+b") as file:
        file.truncate(0)
    return True


def tail(path: Path, lines: int) -> list[str]:
    """The last ``lines`` lines of a log of any size; none if there is no such file."""
    if not path.exists():
        return []
    with path.open("rb") as file:
        size = file.seek(0, 2)
        block = min(size, max(4096, lines * 400))
        file.seek(size - block)
        text = file.read().decode("utf-8", "replace")
    return text.splitlines()[-lines:] if lines else []


def names(directory: Path) -> list[str]:
    """The processes that have a log, sorted."""
    return sorted(path.stem for path in directory.glob("*.log"))


def follow(
    paths: Iterable[Path], *, go_on: Callable[[], bool], begin: int | None = None, pause: float = 0.2
) -> Iterator[tuple[Path, str]]:
    """Lines as they are written, from byte ``begin`` (None: the present end) of each file, until ``go_on`` says no.

    A truncated file is read from its new start. What was written before ``go_on`` said no is still given.
    """
    places = {path: begin if begin is not None else path.stat().st_size if path.exists() else 0 for path in paths}
    goes_on = True
    while goes_on:
        goes_on = go_on()
        nothing = True
        for path, place in places.items():
            size = path.stat().st_size if path.exists() else 0
            start = place if size >= place else 0
            if size == start:
                places[path] = start
                continue
            with path.open("rb") as file:
                file.seek(start)
                whole, newline, _ = file.read(size - start).rpartition(b"\n")
            places[path] = start + len(whole) + len(newline)
            for line in whole.decode("utf-8", "replace").splitlines():
                nothing = False
                yield path, line
        if nothing and goes_on:
            time.sleep(pause)


def show(
    directory: Path,
    *,
    name: str | None,
    lines: int,
    follows: bool,
    out: TextIO,
    go_on: Callable[[], bool] = lambda: True,
) -> bool:
    """Print logs, all of them with their names in front or one alone. False if there is no log of that name."""
    found = names(directory)
    if name is not None and name not in found:
        return False
    chosen = [directory / f"{one}.log" for one in ([name] if name else found)]
    width = max((len(path.stem) for path in chosen), default=0)

    def line_of(path: Path, line: str) -> str:
        return line if name else f"{path.stem:<{width}} | {line}"

    for path in chosen:
        for line in tail(path, lines):
            print(line_of(path, line), file=out)
    if follows:
        for path, line in follow(chosen, go_on=go_on):
            print(line_of(path, line), file=out, flush=True)
    return True
