"""The worker: makes the parts, listens, keeps the clocks, and stops without losing an answer or a usage event."""

import asyncio
import gc
import os
import time
from collections.abc import Callable
from typing import Final

import psycopg

from moorage.gateway.access_log import AccessLog
from moorage.gateway.activity import Activity
from moorage.gateway.admission import NoLimits
from moorage.gateway.client_protocol import ClientProtocol
from moorage.gateway.errors import KeyRefused, Stopping
from moorage.gateway.holding import Holding
from moorage.gateway.journal_writer import JournalWriter
from moorage.gateway.metrics import Metrics
from moorage.gateway.parts import Parts
from moorage.gateway.pool import Pool
from moorage.gateway.reporting import ActivityReporter, WakeWriter
from moorage.gateway.settings import Settings
from moorage.gateway.state import StateListener, connect
from moorage.kernel import ids
from moorage.wire.journal import Progress

_TICK_SECONDS: Final = 0.25
_CHECKPOINT_SECONDS: Final = 1.0
_COLLECT_SECONDS: Final = 10.0
_JOURNAL_PATIENCE_SECONDS: Final = 5.0


class Server:
    """One gateway worker. ``start`` once, then ``stop`` once."""

    def __init__(self, settings: Settings) -> None:
        loop = asyncio.get_running_loop()
        self.boot_id = "gw_" + ids.encode(ids.uuid7().int)
        self._settings = settings
        self._loop = loop
        self._wakes = WakeWriter()
        metrics = Metrics()
        self._parts = Parts(
            loop=loop,
            admission=NoLimits(),
            settings=settings,
            metrics=metrics,
            journal=JournalWriter(
                directory=settings.journal_dir,
                boot_id=self.boot_id,
                segment_bytes=settings.segment_bytes,
                loop=loop,
                metrics=metrics.journal,
                progress=self._progress,
            ),
            holding=Holding(limit=settings.hold_requests_max, ask_wake=self._wakes.ask),
            activity=Activity(),
            pool=Pool(),
            access_log=AccessLog(),
        )
        self._tasks: list[asyncio.Task[None]] = []
        self._listener: asyncio.Server | None = None
        self._reporter = ActivityReporter(gateway_id=self.boot_id)

    async def start(self) -> None:
        """Begin to serve. Raises OSError when the port cannot be had."""
        parts = self._parts
        parts.journal.start()
        state = StateListener(parts, keys_gone=self._keys_gone, routes_changed=self._routes_changed)
        self._tasks = [
            self._loop.create_task(state.run(), name="state"),
            self._loop.create_task(self._wakes.run(parts), name="wakes"),
            self._loop.create_task(self._reporter.run(parts), name="activity"),
            self._loop.create_task(self._keep_time(), name="clock"),
        ]
        self._listener = await self._loop.create_server(
            lambda: ClientProtocol(parts),
            self._settings.host,
            self._settings.port,
            backlog=4096,
            reuse_port=self._settings.reuse_port or None,
        )
        host, port = self._listener.sockets[0].getsockname()[:2]
        parts.access_log.write("gateway_started", boot=self.boot_id, host=host, port=port, pid=os.getpid())
        parts.access_log.flush()
        # What lives now lives to the end; the collector need not walk it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 1_000, 10)

    async def stop(self) -> None:
        """Drain, settle what does not end in time, make it durable, and leave."""
        parts = self._parts
        parts.is_stopping = True
        if self._listener is not None:
            self._listener.close()
        parts.holding.send_all_away(Stopping())
        for connection in list(parts.connections):
            connection.stop()
        await self._until(lambda: not parts.live and not parts.connections, self._settings.drain_seconds)
        for exchange in list(parts.live):
            exchange.cut(Stopping(), "gateway_lost")
        await self._until(lambda: parts.journal.is_idle and not parts.connections, _JOURNAL_PATIENCE_SECONDS)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._report_last()
        for connection in list(parts.connections):
            connection.abort()
        parts.pool.close()
        parts.journal.stop()
        parts.access_log.write("gateway_stopped", boot=self.boot_id)
        parts.access_log.flush()

    async def _until(self, is_reached: Callable[[], bool], seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while not is_reached() and self._loop.time() < deadline:
            await asyncio.sleep(0.02)

    async def _report_last(self) -> None:
        try:
            async with asyncio.timeout(2), connect(self._settings.database_url) as connection:
                await self._reporter.report(connection, self._parts.activity)
        except (OSError, TimeoutError, psycopg.Error):
            return  # the rows grow stale and are read as such

    async def _keep_time(self) -> None:
        """All timeouts of the worker: one scan of what is open instead of a timer for each."""
        parts = self._parts
        checkpoint_at = collect_at = 0.0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = self._loop.time()
            for connection in list(parts.connections):
                connection.tick(now)
            for exchange in list(parts.live):
                exchange.tick(now)
            parts.holding.tick(now, parts.routes)
            parts.journal.tick()
            parts.pool.tick(idle_seconds=self._settings.pool_idle_seconds)
            if now >= checkpoint_at:
                checkpoint_at = now + _CHECKPOINT_SECONDS
                parts.journal.checkpoint()
                self._cut_expired()
            if now >= collect_at:
                # Young cycles (broken connections, exceptions) go soon; nobody waits for a walk over everything.
                collect_at = now + _COLLECT_SECONDS
                gc.collect(1)
            parts.access_log.flush()

    def _progress(self) -> list[Progress]:
        return [progress for exchange in self._parts.live if (progress := exchange.progress()) is not None]

    def _keys_gone(self, key_ids: frozenset[str]) -> None:
        for exchange in list(self._parts.live):
            if exchange.key_id in key_ids:
                exchange.cut(KeyRefused("The API key was revoked."), "refused")

    def _cut_expired(self) -> None:
        now = time.time()
        for exchange in list(self._parts.live):
            if exchange.expires_at is not None and exchange.expires_at <= now:
                exchange.cut(KeyRefused("The API key has expired."), "refused")

    def _routes_changed(self) -> None:
        self._parts.pool.keep_only(self._parts.routes)
        self._parts.holding.routes_changed(self._parts.routes)
