"""Where the worker listens: one port for clients, with TLS or without, and perhaps an address for operators."""

import asyncio
from typing import Final, cast

from moorage.gateway import probes
from moorage.gateway.client_protocol import ClientProtocol
from moorage.gateway.operators_address import OperatorsAddress
from moorage.gateway.parts import Parts
from moorage.gateway.tls import HANDSHAKE_SECONDS

_BACKLOG: Final = 4096


class Listeners:
    """``start`` once, then ``close`` once."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._clients: asyncio.Server | None = None
        self._operators = OperatorsAddress(lambda path: probes.answer_operators(parts, path))

    async def start(self) -> dict[str, str | int]:
        """Begin to listen; returns what the log should say of it. Raises OSError when a port cannot be had."""
        parts, settings = self._parts, self._parts.settings
        said: dict[str, str | int] = {}
        if settings.metrics_address is not None:
            host, port = settings.metrics_address
            await self._operators.start(host, port)
            said["metrics"] = f"{host}:{self._operators.port}"
        certificate = parts.certificate
        self._clients = await parts.loop.create_server(
            # A protocol in all but its base class: see ``pool``.
            lambda: cast(asyncio.Protocol, ClientProtocol(parts)),
            settings.host,
            settings.port,
            backlog=_BACKLOG,
            reuse_port=settings.reuse_port or None,
            ssl=certificate.context if certificate is not None else None,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if certificate is not None else None,
        )
        host, port = self._clients.sockets[0].getsockname()[:2]
        return {"host": host, "port": port, "tls": int(certificate is not None), **said}

    def close(self) -> None:
        """Take no new connection."""
        if self._clients is not None:
            self._clients.close()
        self._operators.stop()
