"""Where a gateway's time went: the samples of one run, added up by function and by line."""

import collections
import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Final

#: Where no Python function was running.
LOOP: Final = "event loop, sockets:0"
_OURS: Final = "moorage."


@dataclasses.dataclass(frozen=True, kw_only=True)
class Share:
    """``own`` is time in the function itself and in C below it, ``total`` with all it calls; both of 1."""

    name: str
    own: float
    total: float


def by_function(stacks: Iterable[tuple[Sequence[str], int]]) -> list[Share]:
    """Functions, those with the most time of their own first."""
    return _shares(stacks, lambda place: place.rsplit(":", 1)[0])


def by_line(stacks: Iterable[tuple[Sequence[str], int]]) -> list[Share]:
    """Lines, those with the most time of their own first."""
    return _shares(stacks, lambda place: place)


def render(stacks: Sequence[tuple[Sequence[str], int]], *, functions: int = 25, lines: int = 15) -> str:
    """Two tables."""
    count = sum(each for _, each in stacks)
    text = [f"Where the time goes ({count:,} samples; own time includes C functions and system calls below it)", ""]
    for title, shares, limit in (
        ("function", by_function(stacks), functions),
        ("line", by_line(stacks), lines),
    ):
        text.append(f"   own  total  {title}")
        text.extend(f"{share.own:6.1%} {share.total:6.1%}  {_short(share.name)}" for share in shares[:limit])
        text.append("")
    return "\n".join(text)


def _short(place: str) -> str:
    return place.removesuffix(":0") if place == LOOP else place.removeprefix(_OURS)


def _shares(stacks: Iterable[tuple[Sequence[str], int]], name_of: Callable[[str], str]) -> list[Share]:
    own: collections.Counter[str] = collections.Counter()
    total: collections.Counter[str] = collections.Counter()
    count = 0
    for stack, times in stacks:
        count += times
        names = [name_of(place) for place in stack]
        own[names[0]] += times
        for name in set(names):
            total[name] += times
    return [
        Share(name=name, own=own[name] / count, total=total[name] / count)
        for name in sorted(total, key=lambda name: -own[name])
    ]
