"""The socket directories of runners in containers: whose they are, and what the Engine's answer says of them."""

import os
from collections.abc import Iterator
from pathlib import Path

from moorage.fleet import profile, socket_mount, sockets
from moorage.fleet.engine_calls import Document
from moorage.fleet.runtime import ContainerSpec


def uid_of(spec: ContainerSpec) -> int:
    """Its own uid where we may give it away. Without root we could neither hand over the socket directory nor open a
    socket in it, so the runner is then ourselves, still without capabilities."""
    return profile.uid_of(spec.replica_id) if os.getuid() == 0 else os.getuid()


def prepare(socket_dir: Path, *, uid: int, engine: str, is_emptied: bool = True) -> None:
    """A directory of the runner's own, and of a size, where we may give it away and the Engine at the address
    ``engine`` sees our mounts."""
    scheme, _, path = engine.partition("://")
    is_bounded = scheme == "unix" and socket_mount.is_seen_by(Path(path))
    owner = uid if os.getuid() == 0 else None
    sockets.prepare(socket_dir, uid=owner, is_bounded=is_bounded, is_emptied=is_emptied)


def prepare_again(inspected: Document, *, engine: str) -> None:
    """For the next start of a container that is there."""
    for directory in of_container(inspected):
        prepare(directory, uid=int(inspected["Config"]["User"].partition(":")[0]), engine=engine)


def of_container(inspected: Document) -> Iterator[Path]:
    """Where they are on this machine."""
    return (Path(mount["Source"]) for mount in inspected["Mounts"] if mount["Destination"] == profile.SOCKET_DIR)


def is_as_left(inspected: Document) -> bool:
    """Whether its socket's directory is there, and empty: it is neither removed nor started by another."""
    return all(directory.is_dir() and not sockets.path(directory).exists() for directory in of_container(inspected))
