"""The gateway tells how long each engine has been silent, so that one that hangs is found by its own requests."""

import types
from typing import Any

from moorage.gateway.engine_call import EngineCall
from tests.gateway.rush_hour import route_of
from tests.gateway.test_engine_call import call_of, parts

__all__ = ["parts"]


def test_silence_counts_from_the_last_word_and_a_comment_is_none(parts: Any) -> None:
    now = [100.0]
    parts.loop = types.SimpleNamespace(time=lambda: now[0])
    route = route_of(slots=2)
    call: EngineCall = call_of(parts, route)
    assert call.choose(route, b"", 10)
    (replica_id,) = parts.pool.signs(route.id, 107.5)

    asked = parts.pool.signs(route.id, 107.5)[replica_id]
    now[0] = 110.0
    call.answer_came([b": ping\n\n"])
    pinged = parts.pool.signs(route.id, 112.0)[replica_id]
    call.answer_came([b"data: {}\n\n"])
    spoke = parts.pool.signs(route.id, 112.0)[replica_id]

    assert asked == {"silent": 7.5, "broken": False}
    assert pinged["silent"] == 12.0
    assert spoke["silent"] == 2.0
