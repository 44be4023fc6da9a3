"""How full the KV caches of busy replicas are, asked of their engines now and then, for the autoscaler.

Only vLLM tells (``vllm:kv_cache_usage_perc``, 1.0 is full; ``gpu_cache_usage_perc`` in older versions). llama-server
divides its context among its slots, so there the number of requests says it all.
https://docs.vllm.ai/en/latest/design/metrics.html
"""

import asyncio
import re
from typing import Final

from moorage.gateway import engine_metrics
from moorage.gateway.parts import Parts
from moorage.wire.records import ReplicaAddress

_EVERY_SECONDS: Final = 4.0
_AT_ONCE: Final = 16
_SAMPLE: Final = re.compile(
    r"^vllm:(?:kv|gpu)_cache_usage_perc(?:\{[^{}]*\})? ([0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)$", re.MULTILINE
)


async def watch(parts: Parts) -> None:
    """Ask until cancelled."""
    while True:
        await asyncio.sleep(_EVERY_SECONDS)
        await look(parts)


async def look(parts: Parts) -> None:
    """Ask every busy replica whose engine tells; takes about a second at most."""
    places = asyncio.Semaphore(_AT_ONCE)
    asked: list[asyncio.Task[None]] = []

    async def ask(found: dict[str, float], replica: ReplicaAddress) -> None:
        async with places:
            used = parse(await engine_metrics.fetch(replica.socket))
        if used is not None:
            found[replica.id] = used

    found: dict[str, dict[str, float]] = {}
    for route in parts.routes:
        activity = parts.activity.get(route.id)
        if activity is None or route.engine != "vllm":
            continue
        found[route.id] = {}
        busy = [replica for replica in route.replicas if replica.id in activity.replicas]
        asked += [asyncio.ensure_future(ask(found[route.id], replica)) for replica in busy]
    if asked:
        await asyncio.wait(asked, timeout=engine_metrics.PATIENCE_SECONDS)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    for route_id, used_by in found.items():
        activity = parts.activity.get(route_id)
        if activity is not None and activity.kv_used != used_by:
            activity.kv_used = used_by
            activity.is_changed = True


def parse(text: str) -> float | None:
    """The fullest of an engine's caches, 1.0 at most; None where it does not tell."""
    found = [float(sample) for sample in _SAMPLE.findall(text)]
    return min(max(found), 1.0) if found else None
