"""The conversation with PostgreSQL about leases: one statement for many at once, on a connection of its own.

What was used is told after half a second, or after up to five where thousands of keys are in use; what lies idle goes
back; at once when somebody waits. A statement whose answer was lost is said again with its number, which the database
takes once. While the database is away the leases that are held go on being used, and when they are used up nothing
that they count is started.
"""

import asyncio
import time
from typing import Final, LiteralString

import msgspec
import psycopg

from moorage.gateway.access_log import AccessLog
from moorage.gateway.admission import Admission
from moorage.gateway.database import connect
from moorage.gateway.lease_book import Report

_REPORT_SECONDS: Final = 0.5
#: While somebody waits for what other workers may give back, the database is asked so often.
_AGAIN_SECONDS: Final = 0.02
#: Nothing to say is said so often: it is also the worker's sign of life.
_SIGN_OF_LIFE_SECONDS: Final = 2.0
#: A database that takes longer is away.
_ANSWER_SECONDS: Final = 3.0
_BACKOFF_SECONDS: Final = (0.1, 0.2, 0.5, 1.0, 2.0)
_CALL: Final = "SELECT gateway_lease(%s, %s, %s, %s)::text"
#: Any worker does it for all: leases of workers that died are taken back, and windows that have ended are forgotten.
_IS_ANY_DEAD: Final = "SELECT EXISTS (SELECT FROM gateway_worker JOIN shipped_boot USING (boot_id))"
_REAP: Final = "SELECT reap_gateway_leases()"
_SWEEP: Final = "SELECT sweep_allowances()"
_REAP_SECONDS: Final = 3.0
_SWEEP_SECONDS: Final = 60.0
_LEAVE: Final = "SELECT gateway_leave(%s)"


class _Answer(msgspec.Struct):
    at: float
    rows: list[tuple[int, int, int, int, int]]


_answers: Final = msgspec.json.Decoder(_Answer)


class LeaseKeeper:
    """The task that keeps ``admission`` in leases; ``boot_id`` is the worker's."""

    def __init__(self, *, admission: Admission, boot_id: str, database_url: str, log: AccessLog) -> None:
        self._admission = admission
        self._boot_id = boot_id
        self._database_url = database_url
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._bell = asyncio.Event()
        #: What was said and not answered: the same words have to be said again before others.
        self._unheard: tuple[Report, str, int] | None = None
        self._number = 0
        self._reap_at = self._sweep_at = 0.0
        self._housework: asyncio.Task[None] | None = None
        admission.ring = self._bell.set

    async def run(self) -> None:
        """Keep leases until cancelled."""
        failures = 0
        while True:
            try:
                async with connect(self._database_url) as connection:
                    while True:
                        async with asyncio.timeout(_ANSWER_SECONDS):
                            is_cut = await self._say(connection)
                        self._admission.lost_at = None
                        failures = 0
                        if not is_cut:
                            await self._maintain(connection)
                            await self._pause()
            except (psycopg.Error, OSError, TimeoutError, msgspec.DecodeError) as error:
                if self._admission.lost_at is None:
                    self._admission.lost_at = self._loop.time()
                    self._log.write("leases_lost", error=type(error).__name__)
            until = self._loop.time() + _BACKOFF_SECONDS[min(failures, len(_BACKOFF_SECONDS) - 1)]
            failures += 1
            while self._loop.time() < until:
                # Those who wait may be served by what others give back here, or hear that they wait in vain.
                self._admission.retry()
                await asyncio.sleep(0.05)

    async def _maintain(self, connection: psycopg.AsyncConnection) -> None:
        now = self._loop.time()
        if self._housework is not None and not self._housework.done():
            return
        statement: LiteralString | None = None
        if now >= self._reap_at:
            self._reap_at = now + _REAP_SECONDS
            cursor = await connection.execute(_IS_ANY_DEAD)
            row = await cursor.fetchone()
            statement = _REAP if row is not None and row[0] else None
        if statement is None and now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            statement = _SWEEP
        if statement is not None:
            self._housework = self._loop.create_task(self._do(statement), name="lease housework")

    async def _do(self, statement: LiteralString) -> None:
        """On a connection of its own: it may take a while, and requests may wait for a lease meanwhile."""
        try:
            async with connect(self._database_url) as connection:
                await connection.execute(statement)
        except (psycopg.Error, OSError) as error:
            self._log.write("lease_housework_failed", error=type(error).__name__)

    async def _pause(self) -> None:
        """Until there is something to say."""
        admission = self._admission
        said_at = self._loop.time()
        while not admission.book.has_more or self._loop.time() < said_at + _REPORT_SECONDS:
            timeout = _AGAIN_SECONDS if admission.waits else _REPORT_SECONDS
            try:
                async with asyncio.timeout(timeout):
                    await self._bell.wait()
            except TimeoutError:
                if admission.waits or self._loop.time() >= said_at + _SIGN_OF_LIFE_SECONDS:
                    return
                continue
            self._bell.clear()
            admission.retry()
            if admission.is_asked_anew or admission.book.is_wanted:
                return

    async def _say(self, connection: psycopg.AsyncConnection) -> bool:
        """Returns whether there is more to say at once."""
        if self._unheard is None:
            report = self._admission.report()
            until_us = time.time_ns() // 1000
            self._number += 1
            self._unheard = report, msgspec.json.encode(report.rows).decode(), until_us
        report, words, until_us = self._unheard
        cursor = await connection.execute(_CALL, (self._boot_id, self._number, until_us, words))
        row = await cursor.fetchone()
        assert row is not None
        answer = _answers.decode(row[0])
        self._unheard = None
        self._admission.learn(report, answer.rows, at=answer.at)
        return report.is_cut

    async def leave(self) -> None:
        """Tell what was used and give everything back: the worker ends, and ``run`` was cancelled.

        Raises psycopg.Error or OSError; then the leases are taken back when its journal has been read.
        """
        async with connect(self._database_url) as connection:
            if self._unheard is not None:
                await self._say(connection)
            report = self._admission.book.last_report()
            self._number += 1
            words = msgspec.json.encode(report.rows).decode()
            await connection.execute(_CALL, (self._boot_id, self._number, time.time_ns() // 1000, words))
            await connection.execute(_LEAVE, (self._boot_id,))
