"""Idempotency claims in PostgreSQL, so that all workers and later boots know which keys are taken.

A row says which call holds a key, nothing more; whether that call was answered is read from its usage event. Only calls
that carry the header come here, many in one statement.
"""

import asyncio
from typing import Final

import psycopg

from moorage.gateway.database import connect
from moorage.gateway.errors import RetriesUnavailable
from moorage.gateway.idempotency import Claim, Then, verdict

_PATIENCE_SECONDS: Final = 2.0
_BACKOFF_SECONDS: Final = 1.0
_SWEEP_SECONDS: Final = 600.0
_SWEEP_ROWS: Final = 10_000
_AT_ONCE: Final = 1000

# A key is free again when its day is over, when the call that held it ended with nothing billed, and when the worker
# that held it is dead and nothing came of the call by the time its journal was read to the end.
_CLAIM: Final = """
    INSERT INTO idempotency_claim AS held (id, body_digest, request_id, boot_id, claimed_at, expires_at)
    SELECT id, body_digest, request_id, %s, now(), now() + interval '24 hours'
      FROM unnest(%s::text[], %s::text[], %s::text[]) AS asked (id, body_digest, request_id)
    ON CONFLICT (id) DO UPDATE SET body_digest = excluded.body_digest, request_id = excluded.request_id,
        boot_id = excluded.boot_id, claimed_at = excluded.claimed_at, expires_at = excluded.expires_at
    WHERE held.expires_at <= now() OR EXISTS (
        SELECT FROM usage_event WHERE usage_event.request_id = held.request_id
           AND outcome <> 'completed' AND input_tokens + output_tokens = 0)
       OR EXISTS (SELECT FROM shipped_boot WHERE shipped_boot.boot_id = held.boot_id)
          AND NOT EXISTS (SELECT FROM usage_event WHERE usage_event.request_id = held.request_id)
    RETURNING id
"""
_HOLDERS: Final = """
    SELECT held.id, held.body_digest, held.request_id,
           coalesce(outcome = 'completed' OR input_tokens + output_tokens > 0, false)
      FROM idempotency_claim AS held LEFT JOIN usage_event USING (request_id) WHERE held.id = ANY(%s)
"""
_FREE: Final = """
    DELETE FROM idempotency_claim AS held USING unnest(%s::text[], %s::text[]) AS freed (id, request_id)
    WHERE held.id = freed.id AND held.request_id = freed.request_id
"""
_SWEEP: Final = """
    DELETE FROM idempotency_claim WHERE id IN (
        SELECT id FROM idempotency_claim WHERE expires_at <= now() LIMIT %s FOR UPDATE SKIP LOCKED)
"""


class ClaimRegister:
    """A Register in PostgreSQL, for one boot of one worker. ``run`` it in a task; it connects when there is need."""

    def __init__(self, *, database_url: str, boot_id: str) -> None:
        self._database_url = database_url
        self._boot_id = boot_id
        self._asked: list[tuple[Claim, Then]] = []
        self._freed: dict[tuple[str, str], None] = {}
        self._ring = asyncio.Event()
        self._sweep_at = 0.0

    def claim(self, claim: Claim, then: Then) -> None:
        """Write ``claim`` soon; ``then`` comes within about four seconds, whatever the database does."""
        self._asked.append((claim, then))
        self._ring.set()

    def free(self, claim: Claim) -> None:
        """Delete ``claim``, before any claim that is asked for from now on; tried until it is done."""
        self._freed[claim.id, claim.request_id] = None
        self._ring.set()

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._rings()
            try:
                async with asyncio.timeout(_PATIENCE_SECONDS):
                    connecting = connect(self._database_url)
                    connection = await connecting.__aenter__()
                try:
                    while True:
                        async with asyncio.timeout(_PATIENCE_SECONDS):
                            await self._write(connection)
                        await self._rings()
                finally:
                    await connection.close()
            except (psycopg.Error, OSError, TimeoutError):
                self._refuse_all()
            if self._freed:
                await asyncio.sleep(_BACKOFF_SECONDS)
                self._ring.set()

    async def _rings(self) -> None:
        """Wait for something to do; sweeping is something to do."""
        try:
            async with asyncio.timeout(_SWEEP_SECONDS):
                await self._ring.wait()
        except TimeoutError:
            return
        self._ring.clear()

    def _refuse_all(self) -> None:
        asked, self._asked = self._asked, []
        for claim, then in asked:
            # It may have been written all the same: only the answer was lost.
            self._freed[claim.id, claim.request_id] = None
            then(RetriesUnavailable())

    async def _write(self, connection: psycopg.AsyncConnection) -> None:
        while self._freed or self._asked:
            freed = list(self._freed)[:_AT_ONCE]
            if freed:
                await connection.execute(_FREE, ([pair[0] for pair in freed], [pair[1] for pair in freed]))
                for pair in freed:
                    self._freed.pop(pair, None)
            batch = self._asked[:_AT_ONCE]
            if batch:
                await self._claim(connection, batch)
        now = asyncio.get_running_loop().time()
        if now >= self._sweep_at:
            self._sweep_at = now + _SWEEP_SECONDS
            await connection.execute(_SWEEP, (_SWEEP_ROWS,))

    async def _claim(self, connection: psycopg.AsyncConnection, batch: list[tuple[Claim, Then]]) -> None:
        claims = [claim for claim, _ in batch]
        columns = [[each.id for each in claims], [each.digest for each in claims], [each.request_id for each in claims]]
        cursor = await connection.execute(_CLAIM, (self._boot_id, *columns))
        made = {row[0] for row in await cursor.fetchall()}
        holders: dict[str, tuple[str, str, bool]] = {}
        if len(made) < len(claims):
            cursor = await connection.execute(_HOLDERS, ([each.id for each in claims if each.id not in made],))
            holders = {row[0]: (row[1], row[2], row[3]) for row in await cursor.fetchall()}
        # From here on nothing fails: each of them is told exactly once.
        del self._asked[: len(batch)]
        for claim, then in batch:
            if claim.id in made:
                then(None)
                continue
            # A holder that vanished in between has just been freed; the client is told to come again.
            digest, request_id, is_answered = holders.get(claim.id, (claim.digest, claim.request_id, False))
            then(verdict(claim, digest=digest, request_id=request_id, is_answered=is_answered))
