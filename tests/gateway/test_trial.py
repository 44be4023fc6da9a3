"""Two revisions share a route by weight: who gets which request, what is counted, what the journal says."""

import collections

import msgspec
import pytest

from moorage.gateway.activity import Activity
from moorage.gateway.pool import Pool
from moorage.gateway.routes import RouteTable
from moorage.gateway.trial import Figures, Trial, bucket_of
from moorage.wire.records import ReplicaAddress, Route, UsageEvent
from tests.gateway.conftest import MODEL, ControlPlane, Start, client_of, wait_until_knows
from tests.gateway.fake_engine import FakeEngine
from tests.gateway.rush_hour import route_of
from tests.waiting import wait_until
from tests.wire.events import event

LONG = b'{"messages":["%b"]}' % (b"tide table " * 500)


def shared_route(*, slots: int = 0, canaries: int = 1) -> Route:
    addresses = [("old", 90, 2), ("new", 10, canaries)]
    return msgspec.structs.replace(
        route_of(),
        trial="upd_1",
        version=7,
        replicas=tuple(
            ReplicaAddress(id=f"{name}_{n}", socket=f"/s/{name}{n}", slots=slots, revision_id=name, weight=weight)
            for name, weight, count in addresses
            for n in range(count)
        ),
    )


def chosen(pool: Pool, route: Route, count: int, content: bytes = b"{}") -> list[str]:
    found = []
    for _ in range(count):
        replica = pool.choose(route, content, 100, 1000.0)
        assert replica is not None
        found.append(replica.revision_id)
    return found


@pytest.mark.parametrize("content", [b"{}", LONG])
def test_each_revision_gets_its_weight_spread_evenly(content: bytes) -> None:
    pool = Pool()

    revisions = chosen(pool, shared_route(), 100, content)

    assert collections.Counter(revisions) == {"old": 90, "new": 10}
    assert all(revisions[start : start + 10].count("new") == 1 for start in range(0, 100, 10))


def test_inside_a_revision_a_beginning_stays_with_its_replica() -> None:
    pool, route = Pool(), shared_route(canaries=2)
    by_revision: dict[str, set[str]] = {}

    for _ in range(60):
        replica = pool.choose(route, LONG, 100, 1000.0)
        assert replica is not None
        by_revision.setdefault(replica.revision_id, set()).add(replica.id)

    assert {name: len(ids) for name, ids in by_revision.items()} == {"old": 1, "new": 1}


def test_nobody_waits_for_a_trial() -> None:
    pool, route = Pool(), shared_route(slots=1)
    first = pool.choose(route, b"{}", 100, 1000.0)
    assert first is not None
    first.take(100)

    taken = [first.id]
    for _ in range(2):
        replica = pool.choose(route, b"{}", 100, 1000.0)
        assert replica is not None
        replica.take(100)
        taken.append(replica.id)

    assert sorted(taken) == ["new_0", "old_0", "old_1"]
    assert pool.choose(route, b"{}", 100, 1000.0) is None
    assert not pool.can_take(route, 1000.0)


def test_without_weights_the_fewest_tokens_decide() -> None:
    route = shared_route()
    plain = [msgspec.structs.replace(address, weight=0) for address in route.replicas]
    pool, route = Pool(), msgspec.structs.replace(route, trial="", replicas=tuple(plain))
    busy = pool.choose(route, b"{}", 100, 1000.0)
    assert busy is not None
    busy.take(10_000)

    second = pool.choose(route, b"{}", 100, 1000.0)

    assert second is not busy


def served(**values: object) -> UsageEvent:
    """A request that the new revision has answered."""
    known: dict[str, object] = {
        "revision_id": "new",
        "replica_id": "new_0",
        "output_tokens": 21,
        "started_at_us": 1_000_000,
        "first_token_at_us": 1_600_000,
        "ended_at_us": 2_600_000,
        "held_us": 500_000,
    }
    return event(**{**known, **values})


def test_a_stream_counts_its_first_token_without_the_wait_and_the_tokens_after_it() -> None:
    figures = Figures()

    figures.observe(served())

    assert (figures.requests, figures.streams, figures.first_token_us) == (1, 1, 100_000)
    assert (figures.stream_tokens, figures.stream_us) == (20, 1_000_000)
    assert figures.first_token == {bucket_of(100_000): 1}


@pytest.mark.parametrize(
    ("values", "counted"),
    [
        ({"outcome": "engine_failed", "status": 502}, (1, 1, 0)),
        ({"outcome": "refused", "status": 400}, (1, 0, 1)),
        ({"outcome": "refused", "status": 401}, (0, 0, 0)),
        ({"outcome": "refused", "status": 503}, (0, 0, 0)),
        ({"outcome": "client_gone", "status": 200}, (0, 0, 0)),
        ({"is_stream": False}, (1, 0, 0)),
    ],
)
def test_what_says_something_of_a_revision_is_counted(values: dict[str, object], counted: tuple[int, int, int]) -> None:
    figures = Figures()

    figures.observe(served(**values))

    assert (figures.requests, figures.errors, figures.refused) == counted


def test_a_request_that_reached_no_replica_says_nothing() -> None:
    trial = Trial("upd_1")

    trial.observe(served(replica_id="", outcome="engine_failed"))

    assert trial.document() == {"trial": "upd_1", "revisions": {}}


def test_a_route_that_changes_is_told_of_at_once_with_its_version() -> None:
    activity, route = Activity(), shared_route()
    known = activity.arrived(route, 1)
    activity.due()
    known.is_changed = False

    activity.routes_changed(RouteTable([route]))
    assert not activity.is_urgent

    activity.routes_changed(RouteTable([msgspec.structs.replace(route, version=8, trial="")]))
    assert activity.is_urgent and known.is_changed
    assert (known.heard, known.trial) == (8, None)


def test_the_journal_and_the_report_tell_the_revisions_apart(
    control: ControlPlane, start_gateway: Start, alices_key: str, engine: FakeEngine
) -> None:
    control.put_route(
        trial="upd_1",
        version=7,
        replicas=tuple(
            ReplicaAddress(id=f"rep_{name}", socket=str(engine.path), revision_id=name, weight=50)
            for name in ("old", "new")
        ),
    )
    gateway = start_gateway()
    wait_until_knows(gateway, alices_key, MODEL)
    client = client_of(gateway, alices_key)

    for _ in range(4):
        client.chat.completions.create(model="harbour/pilot", messages=[{"role": "user", "content": "Tide?"}])

    def reported() -> dict[str, int] | None:
        rows = control.rows("SELECT figures, heard FROM route_activity")
        if not rows or rows[0][1] != 7:
            return None
        revisions = rows[0][0]["revisions"]  # type: ignore[index]
        counts = {name: told["requests"] for name, told in revisions.items()}
        return counts if sum(counts.values()) == 4 else None

    assert wait_until(reported, seconds=20, what="the figures") == {"old": 2, "new": 2}
    events = [one for one in gateway.events() if one.outcome == "completed"]
    assert sorted((one.revision_id, one.replica_id) for one in events) == [
        ("new", "rep_new"),
        ("new", "rep_new"),
        ("old", "rep_old"),
        ("old", "rep_old"),
    ]
