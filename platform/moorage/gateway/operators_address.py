"""The operators' own address (MOORAGE_GATEWAY_METRICS): probes and metrics on a listener of their own.

Each worker has one of its own, because on the shared port nobody knows which worker answers: the first takes the port
that is set, the next the one above it. It speaks as much HTTP as a scraper needs, one request a connection, and is
meant for a network that clients do not reach.
"""

import asyncio
import errno
import re
from collections.abc import Awaitable, Callable
from typing import Final

_REQUEST: Final = re.compile(rb"GET (/[!-~]{0,200}) HTTP/1\.[01]\r\n")
_MOST_HEAD: Final = 8192
_PATIENCE_SECONDS: Final = 5.0
_MOST_AT_ONCE: Final = 64
_WORKERS_MOST: Final = 64

#: Status, content and media type for a path.
Answer = Callable[[str], Awaitable[tuple[int, bytes, str]]]


class OperatorsAddress:
    """Listens from ``start`` to ``stop``."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._open = 0
        self.port = 0

    async def start(self, host: str, port: int) -> None:
        """Listen on ``port`` or the next that is free. Raises OSError when none can be had."""
        for choice in range(port, port + _WORKERS_MOST):
            try:
                self._server = await asyncio.start_server(self._talk, host, choice, limit=_MOST_HEAD)
                break
            except OSError as error:
                if error.errno != errno.EADDRINUSE or choice == port + _WORKERS_MOST - 1:
                    raise
        assert self._server is not None
        self.port = self._server.sockets[0].getsockname()[1]

    def stop(self) -> None:
        """Take no new connection."""
        if self._server is not None:
            self._server.close()

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _MOST_AT_ONCE:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # a scraper that left or dawdles; it comes again
        finally:
            self._open -= 1
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = _REQUEST.match(await reader.readuntil(b"\r\n\r\n"))
        if asked is None:
            status, content, media_type = 400, b"only GET is understood here\n", "text/plain"
        else:
            status, content, media_type = await self._answer(asked[1].decode("ascii").partition("?")[0])
        writer.write(
            b"HTTP/1.1 %d %b\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
            % (status, b"OK" if status == 200 else b"Error", media_type.encode(), len(content), content)
        )
        await writer.drain()
