"""The worker: makes the parts, listens, keeps the clocks, and stops without losing an answer or a usage event."""

import asyncio
import gc
import os
from collections.abc import Callable
from typing import Final

import psycopg

from moorage.gateway import compiled, disk_sync, host_names, kv_usage, tls, traces
from moorage.gateway.access_log import AccessLog
from moorage.gateway.activity import Activity
from moorage.gateway.admission import Admission
from moorage.gateway.claims import ClaimRegister
from moorage.gateway.database import connect
from moorage.gateway.errors import KeyRefused, Stopping
from moorage.gateway.holding import Holding
from moorage.gateway.idempotency import Idempotency
from moorage.gateway.journal_writer import JournalWriter
from moorage.gateway.keys import Keyring
from moorage.gateway.large_bodies import LargeBodies
from moorage.gateway.lease_keeper import LeaseKeeper
from moorage.gateway.listeners import Listeners
from moorage.gateway.metrics import Metrics
from moorage.gateway.parts import Parts
from moorage.gateway.pool import Pool
from moorage.gateway.reporting import ActivityReporter, WakeWriter
from moorage.gateway.settings import Settings
from moorage.gateway.state import StateListener
from moorage.gateway.timekeeping import keep_time
from moorage.kernel import ids
from moorage.wire.journal import Progress

_JOURNAL_PATIENCE_SECONDS: Final = 5.0
_LEAVE_SECONDS: Final = 5.0


class Server:
    """One gateway worker. ``start`` once, then ``stop`` once."""

    def __init__(self, settings: Settings) -> None:
        loop = asyncio.get_running_loop()
        self.boot_id = "gw_" + ids.encode(ids.uuid7().int)
        self._settings = settings
        self._loop = loop
        self._wakes = WakeWriter()
        self._claims = ClaimRegister(database_url=settings.database_url, boot_id=self.boot_id)
        log = AccessLog()
        metrics = Metrics()
        pool = Pool()
        admission = Admission(console_url=settings.console_url, soon=loop.call_soon)
        #: What all its connections share.
        self.parts = Parts(
            loop=loop,
            admission=admission,
            keys=Keyring(organizations=admission.organizations),
            settings=settings,
            metrics=metrics,
            journal=JournalWriter(
                directory=settings.journal_dir,
                boot_id=self.boot_id,
                segment_bytes=settings.segment_bytes,
                loop=loop,
                metrics=metrics.journal,
                progress=self._progress,
                disk=disk_sync.configured(loop),
            ),
            holding=Holding(limit=settings.hold_requests_max, ask_wake=self._wakes.ask, pool=pool, clock=loop.time),
            activity=Activity(),
            pool=pool,
            access_log=log,
            idempotency=Idempotency(secret=settings.secret, register=self._claims),
            large_bodies=LargeBodies(limit=settings.large_bodies_bytes),
            hosts=host_names.configured(settings),
            traces=traces.configured(settings, boot_id=self.boot_id),
            certificate=tls.configured(settings, log=log),
        )
        self._listeners = Listeners(self.parts)
        self._tasks: list[asyncio.Task[None]] = []
        self._reporter = ActivityReporter(gateway_id=self.boot_id)
        self._leases = LeaseKeeper(
            admission=admission,
            boot_id=self.boot_id,
            database_url=settings.database_url,
            log=self.parts.access_log,
        )

    async def start(self) -> None:
        """Begin to serve. Raises OSError when the port cannot be had."""
        parts = self.parts
        parts.keys.is_loading = True
        parts.journal.start()
        state = StateListener(
            parts, boot_id=self.boot_id, keys_gone=self._keys_gone, routes_changed=self._routes_changed
        )
        self._tasks = [
            self._loop.create_task(state.run(), name="state"),
            self._loop.create_task(self._leases.run(), name="leases"),
            self._loop.create_task(self._wakes.run(parts), name="wakes"),
            self._loop.create_task(self._claims.run(), name="claims"),
            self._loop.create_task(self._reporter.run(parts), name="activity"),
            self._loop.create_task(kv_usage.watch(parts), name="kv"),
            self._loop.create_task(keep_time(parts), name="clock"),
        ]
        if parts.traces is not None:
            parts.traces.start()
        where = await self._listeners.start()
        native = int(compiled.is_used())
        parts.access_log.write("gateway_started", boot=self.boot_id, **where, pid=os.getpid(), native=native)
        parts.access_log.flush()
        # What lives now lives to the end; the collector need not walk it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 1_000, 10)

    async def stop(self) -> None:
        """Drain, settle what does not end in time, make it durable, and leave."""
        parts = self.parts
        parts.is_stopping = True
        self._listeners.close()
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
        await self._give_leases_back()
        for connection in list(parts.connections):
            connection.abort()
        parts.pool.close()
        parts.journal.stop()
        if parts.traces is not None:
            await self._loop.run_in_executor(None, parts.traces.stop)
        parts.access_log.write("gateway_stopped", boot=self.boot_id)
        parts.access_log.flush()

    async def _until(self, is_reached: Callable[[], bool], seconds: float) -> None:
        deadline = self._loop.time() + seconds
        while not is_reached() and self._loop.time() < deadline:
            await asyncio.sleep(0.02)

    async def _report_last(self) -> None:
        try:
            async with asyncio.timeout(2), connect(self._settings.database_url) as connection:
                await self._reporter.report(connection, self.parts.activity, self.parts.pool)
        except (OSError, TimeoutError, psycopg.Error):
            return  # the rows grow stale and are read as such

    async def _give_leases_back(self) -> None:
        try:
            async with asyncio.timeout(_LEAVE_SECONDS):
                await self._leases.leave()
        except (OSError, TimeoutError, psycopg.Error):
            return  # they are taken back when the journal is read

    def read_certificate(self) -> None:
        """Read the certificate again if its files changed."""
        if self.parts.certificate is not None:
            self.parts.certificate.check()

    def _progress(self) -> list[Progress]:
        return [progress for exchange in self.parts.live if (progress := exchange.progress()) is not None]

    def _keys_gone(self, key_ids: frozenset[str]) -> None:
        for exchange in list(self.parts.live):
            if exchange.key_id in key_ids:
                exchange.cut(KeyRefused("The API key was revoked."), "refused")

    def _routes_changed(self) -> None:
        self.parts.pool.routes_changed(self.parts.routes)
        self.parts.activity.routes_changed(self.parts.routes)
        self.parts.holding.routes_changed(self.parts.routes)
