"""Seeded arrivals: when each request comes and how long it is worked on, in seconds."""

import dataclasses
import math
import random
from collections.abc import Callable
from typing import Final

#: Mean of the exponential time that a request takes, and its bounds.
_WORK_SECONDS: Final = 2.0
_WORK_BOUNDS: Final = (0.2, 20.0)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trace:
    """Requests ``(arrival, work)`` in their order, within ``seconds``."""

    name: str
    seconds: float
    requests: tuple[tuple[float, float], ...]


def steady(seed: int) -> Trace:
    """Eight a second for half an hour."""
    return _poisson("steady", seed, 1800, 8, lambda _: 8)


def diurnal(seed: int) -> Trace:
    """A day in an hour: a calm night, a morning, a noon of 15 a second."""
    return _poisson("diurnal", seed, 3600, 15, lambda at: 15 * max(0.0, math.sin(math.pi * (at / 1800 - 0.25))) ** 2)


def bursts(seed: int) -> Trace:
    """Two a second; every few minutes twenty, for half a minute."""
    chance = random.Random(f"bursts {seed}")
    begins, at = [], 0.0
    while (at := at + chance.uniform(120, 300)) < 3600:
        begins.append((at, at + chance.uniform(20, 40)))
    return _poisson("bursts", seed, 3600, 20, lambda now: 20 if any(a <= now < b for a, b in begins) else 2)


def spike(seed: int) -> Trace:
    """Nobody; then forty a second out of nothing for a minute; then few; then nobody."""
    return _poisson("spike", seed, 1200, 40, lambda at: 40 if 300 <= at < 360 else 1 if 360 <= at < 700 else 0)


def on_off(seed: int) -> Trace:
    """A minute and a half of eight a second, then five minutes of nobody, again and again."""
    return _poisson("on/off", seed, 3900, 8, lambda at: 8 if at % 390 < 90 else 0)


TRACES: Final[tuple[Callable[[int], Trace], ...]] = (steady, diurnal, bursts, spike, on_off)


def _poisson(name: str, seed: int, seconds: float, most: float, rate: Callable[[float], float]) -> Trace:
    """Arrivals at ``rate(at)`` a second, thinned from ``most`` (Lewis and Shedler 1979)."""
    chance = random.Random(f"{name} {seed}")
    found: list[tuple[float, float]] = []
    at = 0.0
    while (at := at + chance.expovariate(most)) < seconds:
        if chance.random() * most < rate(at):
            low, high = _WORK_BOUNDS
            found.append((at, min(max(chance.expovariate(1 / _WORK_SECONDS), low), high)))
    return Trace(name=name, seconds=seconds, requests=tuple(found))
