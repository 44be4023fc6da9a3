"""Which ports console and gateway listen on: asked for, else remembered, else the usual ones, else the next free."""

import dataclasses
import json
import socket
from collections.abc import Callable
from typing import Final

from moorage.config.instance.errors import InstanceError
from moorage.config.instance.home import Home, write_private

CONSOLE: Final = 8400
GATEWAY: Final = 8401
_LAST_TRIED: Final = 8600


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Loopback ports of the two doors."""

    console: int
    gateway: int


def is_free(port: int) -> bool:
    """Whether a server could listen on the loopback ``port`` now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def any_free() -> int:
    """A free loopback port of the system's choice."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def pick(
    *,
    console: int | None,
    gateway: int | None,
    remembered: Ports | None = None,
    free: Callable[[int], bool] = is_free,
) -> Ports:
    """The two ports. One that was asked for by number is used or refused, never replaced. Raises InstanceError."""
    if console is not None and console == gateway:
        raise InstanceError("Console and gateway cannot share a port; give --gateway-port another number.")
    taken: set[int] = {port for port in (console, gateway) if port is not None}
    chosen: list[int] = []
    choices = (
        ("--console-port", console, remembered.console if remembered else CONSOLE),
        ("--gateway-port", gateway, remembered.gateway if remembered else GATEWAY),
    )
    for option, asked, preferred in choices:
        if asked is not None:
            if not free(asked):
                raise InstanceError(f"Port {asked} is taken by another program; give {option} a free one.")
            chosen.append(asked)
            continue
        candidates = (port for port in (preferred, *range(CONSOLE, _LAST_TRIED)) if port not in taken and free(port))
        port = next(candidates, None)
        if port is None:
            raise InstanceError(f"No port from {CONSOLE} to {_LAST_TRIED} is free; choose one with {option}.")
        taken.add(port)
        chosen.append(port)
    return Ports(console=chosen[0], gateway=chosen[1])


def choose(home: Home, *, console: int | None, gateway: int | None) -> Ports:
    """:func:`pick` for ``home``, remembered there for the next start."""
    remembered = Ports(**json.loads(home.ports.read_text())) if home.ports.exists() else None
    ports = pick(console=console, gateway=gateway, remembered=remembered)
    write_private(home.ports, json.dumps(dataclasses.asdict(ports)) + "\n")
    return ports
