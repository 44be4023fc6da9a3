"""Places at which a test may let a process die: ``fault.point("after_create")``. Off; only a test turns them on.

A point stands between two effects that should have been one: whatever is done before it is there, whatever comes after
it is not. No program of Moorage calls :func:`arm`; the tests' own workers do (``tests/faults/fleet/armed_worker.py``).
"""

from collections.abc import Callable

_reached: Callable[[str], None] | None = None


def point(name: str) -> None:
    """Says that the work has come to ``name``. Costs one comparison while nobody listens."""
    if _reached is not None:
        _reached(name)


def arm(reached: Callable[[str], None] | None) -> None:
    """From now on ``reached`` is called with the name of each point, in the thread that comes to it; None: nobody."""
    global _reached
    _reached = reached
