"""Keys and routes as the control plane last told them: pushed by NOTIFY, read again in full every half minute.

The connection is never in a request's way. While the database is away the worker serves from what it has.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Final

import msgspec
import psycopg
from psycopg import sql

from moorage.gateway.access_log import AccessLog
from moorage.gateway.keys import Keyring
from moorage.gateway.parts import Parts
from moorage.gateway.routes import RouteTable
from moorage.wire.records import KEY_CHANGED, ROUTE_CHANGED, KeyGrant, Route

_ROWS_AT_ONCE: Final = 1000
_BACKOFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)
_CONNECT_SECONDS: Final = 5

_grants: Final = msgspec.json.Decoder(KeyGrant)
_routes: Final = msgspec.json.Decoder(Route)


class StateListener:
    """A background task; ``keys_gone`` is told which keys are no longer good, ``routes_changed`` that routes are."""

    def __init__(
        self, parts: Parts, *, keys_gone: Callable[[frozenset[str]], None], routes_changed: Callable[[], None]
    ) -> None:
        self._parts = parts
        self._keys_gone = keys_gone
        self._routes_changed = routes_changed
        self._was_connected = False

    async def run(self) -> None:
        """Listen until cancelled; connect again whenever the connection breaks."""
        failures = 0
        while True:
            try:
                async with connect(self._parts.settings.database_url) as connection:
                    await self._listen(connection, self._parts.access_log)
            except (psycopg.Error, OSError, msgspec.DecodeError) as error:
                self._parts.is_database_connected = False
                self._parts.access_log.write("database_lost", error=type(error).__name__)
                failures = 0 if self._was_connected else failures + 1
                self._was_connected = False
            await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])

    async def _listen(self, connection: psycopg.AsyncConnection, log: AccessLog) -> None:
        for channel in (ROUTE_CHANGED, KEY_CHANGED):
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        # Listening comes first: a change during the snapshot is then read twice rather than never.
        loop = asyncio.get_running_loop()
        await self._load_all(connection)
        self._was_connected = self._parts.is_database_connected = True
        log.write("state_loaded", keys=len(self._parts.keys))
        reload_at = loop.time() + self._parts.settings.reload_seconds
        while True:
            changed_keys: set[str] = set()
            changed_routes: set[str] = set()
            left = max(0.01, reload_at - loop.time())
            async for notice in connection.notifies(timeout=left, stop_after=1):
                (changed_keys if notice.channel == KEY_CHANGED else changed_routes).add(notice.payload)
            if "" in changed_keys or "" in changed_routes or loop.time() >= reload_at:
                await self._load_all(connection)
                reload_at = loop.time() + self._parts.settings.reload_seconds
                continue
            for key_id in changed_keys:
                await self._load_key(connection, key_id)
            if changed_routes:
                await self._load_changed_routes(connection, changed_routes)

    async def _load_key(self, connection: psycopg.AsyncConnection, key_id: str) -> None:
        cursor = await connection.execute("SELECT document::text FROM gateway_key WHERE id = %s", (key_id,))
        row = await cursor.fetchone()
        if row is None:
            self._parts.keys.remove(key_id)
            self._keys_gone(frozenset({key_id}))
        else:
            self._parts.keys.put(_grants.decode(row[0]))

    async def _load_changed_routes(self, connection: psycopg.AsyncConnection, route_ids: set[str]) -> None:
        cursor = await connection.execute(
            "SELECT id, document::text FROM route WHERE id = ANY(%s)", (sorted(route_ids),)
        )
        found = {row[0]: _routes.decode(row[1]) for row in await cursor.fetchall()}
        table = self._parts.routes
        for route_id in route_ids:
            table = table.replacing(route_id, found.get(route_id))
        self._swap_routes(table)

    async def _load_all(self, connection: psycopg.AsyncConnection) -> None:
        """Both tables in full, read in portions so that no request waits for the whole of them."""
        routes = [_routes.decode(text) async for text in _documents(connection, "route")]
        keys = Keyring()
        async for text in _documents(connection, "gateway_key"):
            keys.put(_grants.decode(text))
        gone = self._parts.keys.ids() - keys.ids()
        self._parts.keys = keys
        self._parts.is_loaded = True
        self._swap_routes(RouteTable(routes))
        if gone:
            self._keys_gone(gone)

    def _swap_routes(self, table: RouteTable) -> None:
        self._parts.routes = table
        self._routes_changed()


@contextlib.asynccontextmanager
async def connect(database_url: str) -> AsyncIterator[psycopg.AsyncConnection]:
    """A connection in autocommit that notices a dead peer. Raises psycopg.Error or OSError."""
    connection = await psycopg.AsyncConnection.connect(
        database_url,
        autocommit=True,
        connect_timeout=_CONNECT_SECONDS,
        application_name="moorage-gateway",
        keepalives_idle=10,
        keepalives_interval=5,
        keepalives_count=3,
    )
    try:
        yield connection
    finally:
        await connection.close()


async def _documents(connection: psycopg.AsyncConnection, table: str) -> AsyncIterator[str]:
    query = sql.SQL("SELECT document::text FROM {}").format(sql.Identifier(table))
    async with connection.transaction(), connection.cursor(name=f"all_{table}") as cursor:
        await cursor.execute(query)
        while rows := await cursor.fetchmany(_ROWS_AT_ONCE):
            for row in rows:
                yield row[0]
            await asyncio.sleep(0)
