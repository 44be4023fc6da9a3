"""A call to an engine takes a place and gives it back at once, whatever it came to."""

import types
from typing import Any

import pytest

from moorage.gateway.activity import Activity
from moorage.gateway.engine_call import EngineCall
from moorage.gateway.holding import Holding
from moorage.gateway.metrics import Metrics
from moorage.gateway.pool import Pool
from tests.gateway.rush_hour import Call, route_of


class Nobody:
    """Whoever made the call."""

    def __getattr__(self, name: str) -> Any:
        return lambda *_: None


def call_of(parts: Any, route: Any) -> EngineCall:
    """A call of a request for ``route`` that was admitted."""
    call = EngineCall(parts, Nobody())  # type: ignore[arg-type]
    call.activity = parts.activity.arrived(route, 0)
    return call


@pytest.fixture
def parts() -> Any:
    clock = types.SimpleNamespace(time=lambda: 100.0)
    pool = Pool()
    return types.SimpleNamespace(
        loop=clock,
        pool=pool,
        metrics=Metrics(),
        activity=Activity(),
        holding=Holding(limit=10, ask_wake=lambda _route: None, pool=pool, clock=clock.time),
    )


def test_a_place_is_given_to_the_next_the_moment_it_is_free(parts: Any) -> None:
    route = route_of(slots=1)
    call = call_of(parts, route)
    assert call.choose(route, b"", 100)
    served: list[str] = []

    class Waiting(Call):
        def released(self, route: Any) -> None:
            served.append(self.key)
            assert call_of(parts, route).choose(route, b"", 100)

    for key in ("first", "second"):
        parts.holding.add(Waiting(key=key, came_at=0.0), route, organization_id="org_alice", key_id=key, tokens=1)
    before = list(served)
    call.drop()

    assert before == []
    assert served == ["first"]
    assert [(each.in_flight, each.outstanding) for each in parts.pool] == [(1, 100)]


@pytest.mark.parametrize(
    ("is_good", "failures"), [(True, 0), (None, 0), (False, 1)], ids=["answered", "no verdict", "failed"]
)
def test_the_breaker_hears_how_it_went(parts: Any, is_good: bool | None, failures: int) -> None:
    route = route_of(slots=1)

    for _ in range(5):
        call = call_of(parts, route)
        call.choose(route, b"", 100)
        call.is_good = is_good
        call.drop()

    assert [each.breaker.opened for each in parts.pool] == [failures]
