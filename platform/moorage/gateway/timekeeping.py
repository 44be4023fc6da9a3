"""All clocks of the worker: one sweep over what is open instead of a timer for each, in portions.

Between two portions the event loop serves, so that ten thousand open streams wait no longer for their next token than
a few hundred do.
"""

import asyncio
import gc
import time
from collections.abc import Iterator, Sequence
from typing import Final, TypeVar

from moorage.gateway.errors import KeyRefused
from moorage.gateway.parts import Parts
from moorage.wire import journal

_TICK_SECONDS: Final = 0.25
#: One tick below the second that is promised: a checkpoint is due at the first tick after it.
_CHECKPOINT_SECONDS: Final = 0.7
_COLLECT_SECONDS: Final = 10.0
#: Connections or streams looked at without letting anybody else in.
_PORTION: Final = 250

_Open = TypeVar("_Open")


async def keep_time(parts: Parts) -> None:
    """Until cancelled: time limits, checkpoints, expired keys, the access log, young garbage."""
    loop = parts.loop
    checkpoint_at = collect_at = 0.0
    while True:
        await asyncio.sleep(_TICK_SECONDS)
        now = loop.time()
        for connections in _portions(list(parts.connections)):
            for connection in connections:
                connection.tick(now)
            await asyncio.sleep(0)
        for exchanges in _portions(list(parts.live)):
            for exchange in exchanges:
                exchange.tick(now)
            await asyncio.sleep(0)
        parts.holding.tick(now)
        parts.admission.retry()  # whoever has waited long enough is told, even if the database is silent
        parts.journal.tick()
        parts.pool.tick(idle_seconds=parts.settings.pool_idle_seconds)
        if now >= checkpoint_at:
            checkpoint_at = now + _CHECKPOINT_SECONDS
            await _checkpoint(parts)
            parts.idempotency.tick(now)
            if parts.certificate is not None:
                parts.certificate.check()
        if now >= collect_at:
            # Young cycles (broken connections, exceptions) go soon; nobody waits for a walk over everything.
            collect_at = now + _COLLECT_SECONDS
            gc.collect(1)
        parts.access_log.flush()


async def _checkpoint(parts: Parts) -> None:
    """How far every live stream is, in one write; and the end of those whose key has expired."""
    records: list[bytes] = []
    at = time.time()
    for exchanges in _portions(list(parts.live)):
        streams = tuple(progress for exchange in exchanges if (progress := exchange.progress()) is not None)
        if streams:
            records.append(journal.encode(journal.Checkpoint(streams=streams)))
        for exchange in exchanges:
            if exchange.expires_at is not None and exchange.expires_at <= at:
                exchange.cut(KeyRefused("The API key has expired."), "refused")
        await asyncio.sleep(0)
    if records:
        parts.journal.checkpoint(b"".join(records))


def _portions(opened: Sequence[_Open]) -> Iterator[Sequence[_Open]]:
    for start in range(0, len(opened), _PORTION):
        yield opened[start : start + _PORTION]
