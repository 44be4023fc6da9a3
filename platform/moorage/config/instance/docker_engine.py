"""What starting an instance asks of a Docker Engine: does it answer, is the image there, build it.

Three calls of the Engine's HTTP API with the standard library, over a Unix socket or plain TCP. Running containers is
the fleet's business, with its own client and its own checks.
"""

import http.client
import io
import json
import socket
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlencode, urlsplit

from moorage.config.instance.errors import PartMissing, StartFailed

DEFAULT_HOST: Final = "unix:///var/run/docker.sock"
#: An Engine that is there answers a ping at once.
PING_SECONDS: Final = 2.0
_BUILD_SECONDS: Final = 900.0
#: How much of a build step's text is shown.
_SHOWN: Final = 90


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def connect(host: str, *, seconds: float) -> http.client.HTTPConnection:
    """A connection to the Engine at ``host`` (`unix:///path` or `tcp://address:port`). Raises PartMissing."""
    parts = urlsplit(host)
    if parts.scheme == "unix":
        return _UnixConnection(parts.path, seconds)
    if parts.scheme in {"tcp", "http"} and parts.hostname:
        return http.client.HTTPConnection(parts.hostname, parts.port or 2375, timeout=seconds)
    raise PartMissing(f"DOCKER_HOST is {host!r}; Moorage knows unix:///path and tcp://address:port.")


def answers(host: str) -> bool:
    """Whether a Docker Engine that we may use answers at ``host``."""
    connection = connect(host, seconds=PING_SECONDS)
    try:
        connection.request("GET", "/_ping")
        response = connection.getresponse()
        return response.status == 200 and response.read().strip() == b"OK"
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def has_image(host: str, reference: str) -> bool:
    """Whether the Engine has the image ``reference``. Raises StartFailed where it does not say."""
    connection = connect(host, seconds=30)
    try:
        connection.request("GET", f"/images/{quote(reference, safe='')}/json")
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        raise StartFailed(f"The Docker Engine at {host} stopped answering: {error}") from error
    finally:
        connection.close()
    if status not in {200, 404}:
        raise StartFailed(f"The Docker Engine at {host} answered {status} when asked for the image {reference}.")
    return status == 200


def build(
    host: str,
    *,
    tag: str,
    context: bytes,
    dockerfile: str,
    arguments: Mapping[str, str],
    say: Callable[[str], None],
) -> None:
    """Build an image from ``context``, a tar archive. Raises StartFailed with the Engine's words."""
    query = {"t": tag, "dockerfile": dockerfile, "buildargs": json.dumps(dict(arguments)), "rm": "1", "forcerm": "1"}
    connection = connect(host, seconds=_BUILD_SECONDS)
    try:
        headers = {"Content-Type": "application/x-tar"}
        connection.request("POST", f"/build?{urlencode(query)}", body=context, headers=headers)
        response = connection.getresponse()
        if response.status != 200:
            raise StartFailed(
                f"The Docker Engine refused to build {tag}: {response.read(2000).decode('utf-8', 'replace')}"
            )
        for line in response:
            _hear(json.loads(line), tag=tag, say=say)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise StartFailed(f"Building the image {tag} on {host} broke off: {error}") from error
    finally:
        connection.close()


def context(files: Mapping[str, Path]) -> bytes:
    """A build context of these files (name in the context -> file here), without this machine's users and times."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in sorted(files.items()):
            entry = archive.gettarinfo(str(path), arcname=name)
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = ""
            entry.mtime = 0
            with path.open("rb") as file:
                archive.addfile(entry, file)
    return buffer.getvalue()


def _hear(message: Mapping[str, object], *, tag: str, say: Callable[[str], None]) -> None:
    if "error" in message:
        raise StartFailed(f"Building the image {tag} failed: {message['error']}")
    sentence = str(message.get("stream", "")).strip()
    if sentence.startswith("Step "):
        say(sentence if len(sentence) <= _SHOWN else f"{sentence[:_SHOWN]} …")
