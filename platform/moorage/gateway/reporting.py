"""What the gateway tells the control plane: wakes at once, activity every two seconds. Rows, not calls."""

import asyncio
from typing import Final

import psycopg
from psycopg.types.json import Jsonb

from moorage.gateway.activity import Activity
from moorage.gateway.database import connect
from moorage.gateway.parts import Parts
from moorage.gateway.pool import Pool
from moorage.wire.records import Route

_BACKOFF_SECONDS: Final = 1.0
#: Reports of "the last request has ended" are not sent closer together than this.
_URGENT_SECONDS: Final = 0.2

_WAKE: Final = """
    INSERT INTO wake (route_id, deployment_id, model_key, requested_at) VALUES (%s, %s, %s, now())
    ON CONFLICT (route_id) DO UPDATE SET requested_at = excluded.requested_at
"""
_REPORT: Final = """
    INSERT INTO route_activity
        (route_id, gateway_id, in_flight, waiting, last_request_at, replicas, heard, figures, signs,
         waiting_since, busy, kv_used, reported_at)
    VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, clock_timestamp() - %s::bigint * interval '1 microsecond', %s, %s,
        now())
    ON CONFLICT (route_id, gateway_id) DO UPDATE SET in_flight = excluded.in_flight, waiting = excluded.waiting,
        last_request_at = excluded.last_request_at, replicas = excluded.replicas, heard = excluded.heard,
        figures = excluded.figures, signs = excluded.signs, waiting_since = excluded.waiting_since,
        busy = excluded.busy, kv_used = excluded.kv_used, reported_at = excluded.reported_at
"""


class WakeWriter:
    """One wake row for each route that is asked for; asking again soon is the same wake."""

    _AGAIN_SECONDS = 2.0

    def __init__(self) -> None:
        self._wanted: dict[str, Route] = {}
        self._asked_at: dict[str, float] = {}
        self._ring = asyncio.Event()
        self._loop = asyncio.get_running_loop()

    def ask(self, route: Route) -> None:
        """Write a wake as soon as can be."""
        now = self._loop.time()
        if now - self._asked_at.get(route.id, -self._AGAIN_SECONDS) >= self._AGAIN_SECONDS:
            self._asked_at[route.id] = now
            self._wanted[route.id] = route
            self._ring.set()

    async def run(self, parts: Parts) -> None:
        """Write wakes until cancelled. What could not be written is written when the database is back."""
        while True:
            try:
                async with connect(parts.settings.database_url) as connection:
                    # A wake that a crash of the database forgets is asked for again, while somebody waits.
                    await connection.execute("SET synchronous_commit TO off")
                    while True:
                        await self._ring.wait()
                        self._ring.clear()
                        await self._write(connection, parts)
            except (psycopg.Error, OSError):
                self._ring.set()
            await asyncio.sleep(_BACKOFF_SECONDS)

    async def _write(self, connection: psycopg.AsyncConnection, parts: Parts) -> None:
        for route_id, route in list(self._wanted.items()):
            await connection.execute(_WAKE, (route.id, route.deployment_id, route.model_key))
            self._wanted.pop(route_id, None)
            parts.metrics.wakes += 1


class ActivityReporter:
    """Upserts the rows of routes whose numbers changed, and of those that are busy."""

    def __init__(self, *, gateway_id: str) -> None:
        self._gateway_id = gateway_id

    async def run(self, parts: Parts) -> None:
        """Report until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                async with connect(parts.settings.database_url) as connection:
                    while True:
                        await self.report(connection, parts.activity, parts.pool)
                        reported_at = loop.time()
                        await asyncio.sleep(_URGENT_SECONDS)
                        while (
                            not parts.activity.is_urgent and loop.time() - reported_at < parts.settings.activity_seconds
                        ):
                            await asyncio.sleep(_URGENT_SECONDS)
            except (psycopg.Error, OSError):
                await asyncio.sleep(_BACKOFF_SECONDS)

    async def report(self, connection: psycopg.AsyncConnection, activity: Activity, pool: Pool) -> None:
        """One round. Raises psycopg.Error; what was not reported stays due."""
        due = activity.due()
        now = asyncio.get_running_loop().time()
        for route_id, route in due:
            route.is_changed = False
            figures = route.trial.document() if route.trial is not None else {}
            values = (
                route.in_flight,
                route.waiting,
                route.last_request_at,
                Jsonb(route.replicas),
                route.heard,
                Jsonb(figures),
                Jsonb(pool.signs(route_id, now)),
                route.queue_us(),
                Jsonb(route.busy_document()),
                Jsonb(route.kv_used),
            )
            route.told_waiting = route.waiting
            try:
                await connection.execute(_REPORT, (route_id, self._gateway_id, *values))
            except psycopg.Error:
                route.is_changed = True
                raise
