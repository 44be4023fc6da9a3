"""What operators ask: is it alive, is it ready, what does it count. None of it names a tenant, and none needs a key.

Whether a worker is alive or ready is told to everybody. Metrics are for the operators' own address where there is one
(MOORAGE_GATEWAY_METRICS); else for callers on this machine. A proxy on this machine passes for one of those: give the
operators an address of their own when there is one.
"""

from collections.abc import Callable
from typing import Final

from moorage.gateway import engine_metrics, exposition
from moorage.gateway.errors import UnknownPath
from moorage.gateway.parts import Parts
from moorage.wire.records import ReplicaAddress

ALIVE: Final = "/-/healthz"
READY: Final = "/-/readyz"
METRICS: Final = "/-/metrics"
ENGINES: Final = "/-/metrics/engines"
PATHS: Final = frozenset({ALIVE, READY, METRICS, ENGINES})
_PLAIN: Final = "text/plain"
_EXPOSITION: Final = "text/plain; version=0.0.4; charset=utf-8"

#: Status, content, media type.
Answer = tuple[int, bytes, str]


def answer(parts: Parts, path: str, peer: str, then: Callable[[int, bytes, str], None]) -> None:
    """Answer ``path`` on the port for clients, now or soon. Raises UnknownPath for what ``peer`` is not to see."""
    has_own_address = parts.settings.metrics_address is not None
    if path in (METRICS, ENGINES) and not is_for_operators(peer, has_own_address=has_own_address):
        raise UnknownPath
    if path == ENGINES:
        task = parts.loop.create_task(_engines(parts), name="engine metrics")
        task.add_done_callback(lambda done: then(*done.result()) if not done.cancelled() else None)
    else:
        then(*_at_once(parts, path))


async def answer_operators(parts: Parts, path: str) -> Answer:
    """Answer ``path`` on the operators' own address."""
    if path == ENGINES:
        return await _engines(parts)
    return _at_once(parts, path) if path in PATHS else (404, b"not here\n", _PLAIN)


def is_for_operators(peer: str, *, has_own_address: bool) -> bool:
    """Whether metrics are shown on the port for clients to ``peer``, an address or nothing for a Unix socket."""
    return not has_own_address and (peer in ("", "::1") or peer.removeprefix("::ffff:").startswith("127."))


def _at_once(parts: Parts, path: str) -> Answer:
    if path == METRICS:
        return 200, exposition.render(parts), _EXPOSITION
    if path == ALIVE or (parts.is_loaded and parts.journal.is_healthy and not parts.is_stopping):
        return 200, b"ok\n", _PLAIN
    return 503, b"not ready\n", _PLAIN


async def _engines(parts: Parts) -> Answer:
    replicas: dict[str, ReplicaAddress] = {each.id: each for route in parts.routes for each in route.replicas}
    return 200, await engine_metrics.gather(replicas.values()), _EXPOSITION
