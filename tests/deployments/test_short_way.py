"""What lies between a request for a sleeping model and the word to the gateways: counted, and safe though short."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from moorage.deployments import arrivals, leases, reconcile, routes, services, states, waker
from moorage.deployments.models import Deployment, Replica, ReplicaStatus, Route, StatusSpan, TimelineEvent
from moorage.deployments.reasons import Reason
from moorage.fleet.isolation import Isolation
from moorage.fleet.models import Reservation
from moorage.fleet.runtime import Container, ContainerSpec
from tests.cast import Cast
from tests.deployments.conftest import Harbour
from tests.deployments.test_waking import COMPOSE, ask, let_time_pass, ready, replica, replicas_on_route, sleeping

pytestmark = pytest.mark.engine

R = ReplicaStatus
#: Statements up to the one that tells the gateways, that one included; what an engine needs to load hides four of them.
MOST = {R.FROZEN: 4, R.STOPPED: 9, R.GONE: 22}


class Watched:
    """A runtime that tells ``asked`` when somebody wants to know what a container really got."""

    def __init__(self, harbour: Harbour) -> None:
        self._runtime = harbour.runtime
        self.seen: list[tuple[list[str], bool]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._runtime, name)

    def isolation(self, name: str) -> Isolation:
        self.seen.append((replicas_on_route(), Replica.objects.get(container_name=name).lease_until is None))
        return self._runtime.isolation(name)


class Careful:
    """A runtime that looks, before a container is made or started, whether the database forgets nothing if it dies."""

    def __init__(self, harbour: Harbour) -> None:
        self._runtime = harbour.runtime
        self.unsafe_bytes: list[int] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._runtime, name)

    def ensure(self, spec: ContainerSpec) -> Container:
        self._look()
        return self._runtime.ensure(spec)

    def start(self, name: str) -> None:
        self._look()
        self._runtime.start(name)

    def _look(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), pg_current_wal_flush_lsn())")
            self.unsafe_bytes.append(int(cursor.fetchone()[0]))


@pytest.fixture
def hurried(committed_cast: Cast) -> Iterator[None]:
    """The session does not wait for the disk, as the waker's."""
    with connection.cursor() as cursor:
        cursor.execute("SET synchronous_commit TO off")
    yield
    with connection.cursor() as cursor:
        cursor.execute("RESET synchronous_commit")


@pytest.mark.parametrize("tier", [R.STOPPED, R.GONE])
def test_no_engine_runs_in_room_that_a_crash_of_the_database_forgets(
    tier: R, committed_cast: Cast, harbour: Harbour, hurried: None
) -> None:
    deployment = asleep(committed_cast, harbour, tier)
    ask(deployment)
    careful = Careful(harbour)

    waker.answer(deployment.pk, runtime=careful)  # type: ignore[arg-type]

    # A page's head may lie between the two places; a reservation is many times as long.
    assert careful.unsafe_bytes and max(careful.unsafe_bytes) < 64
    assert replica().status == R.READY


def asleep(cast: Cast, harbour: Harbour, tier: R) -> Deployment:
    """Alice's model in ``tier``; GONE: without a replica."""
    if tier != R.GONE:
        return sleeping(cast, harbour, tier)
    deployment = ready(cast, harbour, COMPOSE.replace("frozen: 10m, stopped: 2h", "frozen: never, stopped: never"))
    let_time_pass()
    harbour.until(deployment, lambda _: not Replica.objects.exclude(status=R.GONE).exists())
    return deployment


@pytest.mark.parametrize("tier", list(MOST))
def test_the_gateways_are_told_after_few_statements(tier: R, committed_cast: Cast, harbour: Harbour) -> None:
    deployment = asleep(committed_cast, harbour, tier)
    ask(deployment)

    with CaptureQueriesContext(connection) as told:
        waker.answer(deployment.pk, runtime=harbour.runtime)

    statements = [query["sql"] for query in told.captured_queries]
    count = 1 + next(number for number, text in enumerate(statements) if "UPDATE route" in text)
    assert count <= MOST[tier], "\n".join(statements[:count])
    assert replicas_on_route() == [replica().pk]


def test_who_waits_is_told_before_anything_is_written_down(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = sleeping(committed_cast, harbour, R.STOPPED)
    ask(deployment)
    watched = Watched(harbour)

    waker.answer(deployment.pk, runtime=watched)  # type: ignore[arg-type]

    assert watched.seen == [([replica().pk], True)]


def test_the_first_who_is_wished_for_is_taken_and_by_nobody_else(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = sleeping(committed_cast, harbour, R.FROZEN)
    ask(deployment)

    (one,) = arrivals.wished(deployment.pk)

    assert one.taken is not None and one.taken.epoch == replica().epoch
    assert leases.claim(Replica, one.replica_id) is None
    assert arrivals.wished(deployment.pk) == ()


def test_who_is_paused_meanwhile_is_ready_and_gets_no_request(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = sleeping(committed_cast, harbour, R.FROZEN)
    asleep = Replica.objects.select_related("revision", "deployment__target").get(pk=replica().pk)
    change = routes.change(asleep)
    assert change is not None
    services.pause(deployment=deployment, by=committed_cast.alice.actor)

    done = states.bring_to_service(asleep, reason=Reason.AWAKE, detail="", epoch=asleep.epoch, route=change)

    assert done == (True, False)
    assert replicas_on_route() == []


def test_a_route_that_names_others_is_left_to_a_look(committed_cast: Cast, harbour: Harbour) -> None:
    sleeping(committed_cast, harbour, R.FROZEN)
    asleep = Replica.objects.select_related("revision", "deployment__target").get(pk=replica().pk)
    change = routes.change(asleep)
    assert change is not None
    route = Route.objects.get()
    route.document["replicas"] = [{"id": "rep_other", "socket": "/x"}]
    route.save()

    done = states.bring_to_service(asleep, reason=Reason.AWAKE, detail="", epoch=asleep.epoch, route=change)

    assert done == (True, False)
    assert replicas_on_route() == ["rep_other"]


def test_a_change_is_newer_than_any_before_it(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = sleeping(committed_cast, harbour, R.FROZEN)
    ahead = 1 << 60
    route = Route.objects.get()
    route.document["version"] = ahead
    route.save()
    ask(deployment)

    (one,) = arrivals.wished(deployment.pk)
    arrivals.bring(one, runtime=harbour.runtime)

    assert Route.objects.get().document["version"] == ahead + 1


def test_whoever_lost_the_lease_neither_moves_nor_routes_nor_tells(committed_cast: Cast, harbour: Harbour) -> None:
    sleeping(committed_cast, harbour, R.FROZEN)
    asleep = Replica.objects.select_related("revision", "deployment__target").get(pk=replica().pk)
    change = routes.change(asleep)
    assert change is not None
    spans, events = StatusSpan.objects.count(), TimelineEvent.objects.count()

    done = states.bring_to_service(asleep, reason=Reason.AWAKE, detail="", epoch=asleep.epoch - 1, route=change)

    assert done == (False, False)
    assert (replica().status, replicas_on_route()) == (R.FROZEN, [])
    assert (StatusSpan.objects.count(), TimelineEvent.objects.count()) == (spans, events)


def test_what_wakes_short_of_room_goes_the_long_way(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = sleeping(committed_cast, harbour, R.STOPPED)
    asleep = replica()
    Reservation.objects.all().delete()
    node_id = asleep.node_id
    reconcile.reconcile(deployment.pk, runtime=harbour.runtime)
    ask(deployment)

    waker.answer(deployment.pk, runtime=harbour.runtime)

    held = Reservation.objects.get(pk=asleep.pk)
    assert (held.node_id, held.why.startswith("Its container is on ")) == (node_id, True)
    assert Path(replica().socket).exists()
