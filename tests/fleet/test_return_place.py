"""The short way to a place: as safe as the long one, and only where that one would decide the same."""

import datetime as dt
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection

from moorage.fleet import return_place, services
from moorage.fleet.models import Node, Reservation, Waiting
from moorage.fleet.placement import Demand
from moorage.kernel import clock, ids

GIB = 1024**3


def a_node(*, memory: int = 10, **more: object) -> Node:
    return Node.objects.create(
        name=f"n{ids.new('node')[-6:]}", memory_bytes=memory * GIB, cpu_millis=4000, runtime="memory", **more
    )


def take(replica_id: str, *, node: Node | None = None, memory: int = 1, **more: object) -> Reservation | None:
    demand = Demand(memory_bytes=memory * GIB, cpu_millis=500, **more)  # type: ignore[arg-type]
    return return_place.take(
        replica_id=replica_id, organization_id="org_1", demand=demand, node_id=node.pk if node else ""
    )


def test_who_comes_back_holds_what_a_reservation_holds(committed_db: None) -> None:
    node = a_node()
    a_node()

    given = take("rep_1", node=node, memory=3)

    node.refresh_from_db()
    stored = Reservation.objects.get()
    assert given is not None and given.node_id == stored.node_id == node.pk
    assert (node.used_memory_bytes, node.used_cpu_millis) == (3 * GIB, 500)
    assert (stored.organization_id, stored.why) == ("org_1", f"Its container is on {node.name}.")
    services.release(replica_id="rep_1")
    node.refresh_from_db()
    assert (node.used_memory_bytes, node.used_cpu_millis) == (0, 0)


def test_sixty_who_come_back_at_once_get_exactly_what_there_is(committed_db: None) -> None:
    node = a_node(memory=10)

    def ask(number: int) -> bool:
        try:
            return take(f"rep_{number}", node=node) is not None
        finally:
            connection.close()

    with ThreadPoolExecutor(max_workers=20) as pool:
        granted = sum(pool.map(ask, range(60)))

    node.refresh_from_db()
    assert granted == 10 == Reservation.objects.count()
    assert node.used_memory_bytes == node.memory_bytes


def test_who_has_no_container_yet_takes_the_only_node_and_never_chooses(committed_db: None) -> None:
    a_node()

    first = take("rep_1")
    a_node()
    second = take("rep_2")

    assert first is not None and second is None


@pytest.mark.parametrize(
    "node",
    [
        {"is_drained": True},
        {"is_emulated": True},
        {"taints": {"organization": "org_2"}},
        {"seen_at": clock.now() - dt.timedelta(minutes=11)},
        {"memory": 0},
    ],
)
def test_a_node_that_is_not_plainly_open_is_left_to_the_long_way(node: dict[str, object], committed_db: None) -> None:
    made = a_node(**node)  # type: ignore[arg-type]

    assert take("rep_1", node=made) is None
    assert not Reservation.objects.exists()


def test_what_asks_for_more_than_memory_is_left_to_the_long_way(committed_db: None) -> None:
    node = a_node(labels={"zone": "a"})

    assert take("rep_1", node=node, gpus=1) is None
    assert take("rep_2", node=node, labels=(("zone", "b"),)) is None
    assert take("rep_3", node=node, labels=(("zone", "a"),)) is not None


def test_nobody_overtakes_who_waits_and_nobody_holds_room_twice(committed_db: None) -> None:
    node = a_node()
    Waiting.objects.create(replica_id="rep_0", organization_id="org_2", demand={})

    before = take("rep_1", node=node)
    Waiting.objects.all().delete()

    assert before is None
    assert take("rep_1", node=node) is not None
    assert take("rep_1", node=node) is None
    node.refresh_from_db()
    assert node.used_memory_bytes == GIB
