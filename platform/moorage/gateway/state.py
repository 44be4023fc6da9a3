"""What the control plane last told: keys, organizations, prices and routes, pushed by NOTIFY.

Everything is read once on each connection; from then on a notice names what changed, and that alone is read again.
Should a change ever go unnoticed, a sweep that reads a few rows at a time finds it. The connection is never in a
request's way: portions are small, and while the database is away the worker serves from what it has.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, TypeVar

import msgspec
import psycopg
from psycopg import sql

from moorage.gateway.database import connect
from moorage.gateway.parts import Parts
from moorage.gateway.price_list import PriceList
from moorage.gateway.routes import RouteTable
from moorage.wire.records import (
    KEY_CHANGED,
    LEASE_WANTED,
    ORGANIZATION_CHANGED,
    PRICE_CHANGED,
    ROUTE_CHANGED,
    KeyGrant,
    OrganizationGrant,
    PriceGrant,
    Route,
)

_CHANNELS: Final = (ROUTE_CHANGED, KEY_CHANGED, ORGANIZATION_CHANGED, PRICE_CHANGED, LEASE_WANTED)
#: Rows between two turns of everybody else: about a millisecond of ours.
_ROWS_AT_ONCE: Final = 200
#: Between two portions: 100,000 keys take eight minutes, for notices are what tells of changes.
_SWEEP_SECONDS: Final = 1.0
#: What a sweep reads in one step; it costs what its rows cost, however many there are before and behind them.
PORTION: Final = sql.SQL("SELECT id, document::text FROM {} WHERE id > %s ORDER BY id LIMIT %s")
_BACKOFF_SECONDS: Final = (0.2, 0.5, 1.0, 2.0, 5.0)

_grants: Final = msgspec.json.Decoder(KeyGrant)
_organizations: Final = msgspec.json.Decoder(OrganizationGrant)
_prices: Final = msgspec.json.Decoder(PriceGrant)
_routes: Final = msgspec.json.Decoder(Route)

_Item = TypeVar("_Item")


class StateListener:
    """A background task; ``keys_gone`` is told which keys are no longer good, ``routes_changed`` that routes are."""

    def __init__(
        self,
        parts: Parts,
        *,
        boot_id: str,
        keys_gone: Callable[[frozenset[str]], None],
        routes_changed: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._boot_id = boot_id
        self._keys_gone = keys_gone
        self._routes_changed = routes_changed
        self._was_connected = False

    async def run(self) -> None:
        """Listen until cancelled; connect again whenever the connection breaks."""
        failures = 0
        while True:
            try:
                async with connect(self._parts.settings.database_url) as connection:
                    await self._listen(connection)
            except (psycopg.Error, OSError, msgspec.DecodeError) as error:
                self._parts.is_database_connected = False
                self._parts.access_log.write("database_lost", error=type(error).__name__)
                failures = 0 if self._was_connected else failures + 1
                self._was_connected = False
            await asyncio.sleep(_BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)])

    async def _listen(self, connection: psycopg.AsyncConnection) -> None:
        for channel in _CHANNELS:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        # Listening comes first: a change while all of it is read is then read twice rather than never.
        await self._load_all(connection)
        self._was_connected = self._parts.is_database_connected = True
        self._parts.access_log.write("state_loaded", keys=len(self._parts.keys))
        loop = asyncio.get_running_loop()
        sweep = _Sweep(self, connection)
        sweep_at = loop.time() + self._parts.settings.reload_seconds
        while True:
            changed: dict[str, set[str]] = {channel: set() for channel in _CHANNELS}
            async for notice in connection.notifies(timeout=max(0.01, sweep_at - loop.time()), stop_after=1):
                if notice.channel == LEASE_WANTED:
                    self._parts.admission.wanted(self._boot_id, notice.payload)
                else:
                    changed[notice.channel].add(notice.payload)
            await self._load_changes(connection, changed)
            if loop.time() >= sweep_at:
                is_done = await sweep.step()
                sweep_at = loop.time() + (self._parts.settings.reload_seconds if is_done else _SWEEP_SECONDS)

    async def _load_changes(self, connection: psycopg.AsyncConnection, changed: dict[str, set[str]]) -> None:
        # An organization before its keys: a key's first request finds its limits.
        if organizations := changed[ORGANIZATION_CHANGED]:
            await self._load_organizations(connection, sorted(organizations))
        if keys := changed[KEY_CHANGED]:
            await self._load_keys(connection, sorted(keys))
        if changed[PRICE_CHANGED]:
            await self.load_prices(connection)
        if routes := changed[ROUTE_CHANGED]:
            await self._load_changed_routes(connection, routes)

    async def _load_keys(self, connection: psycopg.AsyncConnection, key_ids: Sequence[str]) -> None:
        found = await _read(connection, "gateway_key", key_ids, _grants)
        self.take_keys({key_id: found.get(key_id) for key_id in key_ids})

    def take_keys(self, grants: dict[str, KeyGrant | None]) -> None:
        """Keys as they are now; None: it opens nothing."""
        parts = self._parts
        gone = set()
        for key_id, grant in grants.items():
            if grant is None:
                if parts.keys.remove(key_id) is not None:
                    parts.admission.book.gates.pop(key_id, None)
                    gone.add(key_id)
                continue
            before = parts.keys.put(grant)
            if before is not None and before.limits != grant.limits:
                parts.admission.book.gates.pop(key_id, None)
        if gone:
            self._keys_gone(frozenset(gone))

    async def _load_organizations(self, connection: psycopg.AsyncConnection, ids: Sequence[str]) -> None:
        found = await _read(connection, "gateway_organization", ids, _organizations)
        for organization_id in ids:
            grant = found.get(organization_id)
            if grant is None:
                self._parts.admission.book.remove_organization(organization_id)
            else:
                self._parts.admission.book.put_organization(grant)
        self._parts.admission.retry()

    async def load_prices(self, connection: psycopg.AsyncConnection) -> None:
        """The price list in full: it is short."""
        prices = [_prices.decode(text) async for text in _documents(connection, "gateway_price")]
        self._parts.admission.book.put_prices(PriceList(prices))

    async def _load_changed_routes(self, connection: psycopg.AsyncConnection, route_ids: set[str]) -> None:
        found = await _read(connection, "route", sorted(route_ids), _routes)
        table = self._parts.routes
        for route_id in route_ids:
            table = table.replacing(route_id, found.get(route_id))
        self.swap_routes(table)

    async def load_routes(self, connection: psycopg.AsyncConnection) -> None:
        """All routes."""
        self.swap_routes(RouteTable([_routes.decode(text) async for text in _documents(connection, "route")]))

    async def _load_all(self, connection: psycopg.AsyncConnection) -> None:
        parts = self._parts
        await self.load_prices(connection)
        await self.load_routes(connection)
        organizations = set()
        async for text in _documents(connection, "gateway_organization"):
            grant = _organizations.decode(text)
            parts.admission.book.put_organization(grant)
            organizations.add(grant.id)
        for organization_id in parts.admission.organizations.keys() - organizations:
            parts.admission.book.remove_organization(organization_id)
        before = parts.keys.ids()
        seen: set[str] = set()
        async for text in _documents(connection, "gateway_key"):
            key = _grants.decode(text)
            self.take_keys({key.id: key})
            if before:
                seen.add(key.id)
        parts.is_loaded = True
        parts.keys.is_loading = False
        self.take_keys(dict.fromkeys(before - seen))

    def swap_routes(self, table: RouteTable) -> None:
        """Another table of routes from now on."""
        self._parts.routes = table
        self._routes_changed()

    def put_organization(self, grant: OrganizationGrant) -> None:
        """An organization as it is now."""
        self._parts.admission.book.put_organization(grant)


class _Sweep:
    """Reads everything again in the order of ids, a few rows a step: what no notice told of is found so."""

    def __init__(self, listener: StateListener, connection: psycopg.AsyncConnection) -> None:
        self._listener = listener
        self._connection = connection
        self._table = "gateway_organization"
        self._after = ""

    async def step(self) -> bool:
        """One portion. Returns whether that was the last."""
        rows = await self._portion()
        if self._table == "gateway_organization":
            for _, document in rows:
                self._listener.put_organization(_organizations.decode(document))
        else:
            self._listener.take_keys({key_id: _grants.decode(text) if text else None for key_id, text in rows})
        if len(rows) == _ROWS_AT_ONCE:
            self._after = rows[-1][0]
            return False
        self._after = ""
        if self._table == "gateway_organization":
            self._table = "gateway_key_sweep"
            return False
        self._table = "gateway_organization"
        await self._listener.load_prices(self._connection)
        await self._listener.load_routes(self._connection)
        return True

    async def _portion(self) -> list[tuple[str, str]]:
        query = PORTION.format(sql.Identifier(self._table))
        cursor = await self._connection.execute(query, (self._after, _ROWS_AT_ONCE))
        return await cursor.fetchall()


async def _read(
    connection: psycopg.AsyncConnection, table: str, ids: Sequence[str], decoder: "msgspec.json.Decoder[_Item]"
) -> dict[str, _Item]:
    """Those of ``ids`` that ``table`` has."""
    query = sql.SQL("SELECT id, document::text FROM {} WHERE id = ANY(%s)").format(sql.Identifier(table))
    found: dict[str, _Item] = {}
    for start in range(0, len(ids), _ROWS_AT_ONCE):
        cursor = await connection.execute(query, (list(ids[start : start + _ROWS_AT_ONCE]),))
        rows: list[tuple[Any, ...]] = await cursor.fetchall()
        found |= {row[0]: decoder.decode(row[1]) for row in rows}
    return found


async def _documents(connection: psycopg.AsyncConnection, table: str) -> AsyncIterator[str]:
    query = sql.SQL("SELECT document::text FROM {}").format(sql.Identifier(table))
    async with connection.transaction(), connection.cursor(name=f"all_{table}") as cursor:
        await cursor.execute(query)
        while rows := await cursor.fetchmany(_ROWS_AT_ONCE):
            for row in rows:
                yield row[0]
            await asyncio.sleep(0)
