"""Reserving and giving back: never more than there is, whoever asks at the same time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import IntegrityError, connection, transaction

from moorage.fleet import queries, services
from moorage.fleet.errors import NoCapacity
from moorage.fleet.models import Device, Node, Reservation
from moorage.fleet.placement import Demand
from moorage.kernel import clock, ids

GIB = 1024**3
ORG = "org_1"


def a_node(*, memory: int = 10, gpus: int = 0, **more: object) -> Node:
    node = Node.objects.create(
        name=f"n{ids.new('node')[-6:]}", memory_bytes=memory * GIB, cpu_millis=4000, runtime="memory", **more
    )
    for number in range(gpus):
        Device.objects.create(node=node, kind="nvidia", vendor_id=f"GPU-{number}", name="H200", memory_bytes=139 * GIB)
    return node


def demand(memory: int = 1, gpus: int = 0) -> Demand:
    return Demand(memory_bytes=memory * GIB, cpu_millis=500, gpus=gpus)


def reserve(replica_id: str, wanted: Demand) -> Reservation:
    return services.reserve(replica_id=replica_id, organization_id=ORG, demand=wanted)


def test_sixty_who_ask_at_once_get_exactly_what_there_is(committed_db: None) -> None:
    node = a_node(memory=10, gpus=4)

    def ask(number: int) -> bool:
        try:
            reserve(f"rep_{number}", demand(1, gpus=number % 2))
        except NoCapacity:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(max_workers=20) as pool:
        granted = sum(pool.map(ask, range(60)))

    node.refresh_from_db()
    assert node.used_memory_bytes == granted * GIB == Reservation.objects.count() * GIB
    assert node.used_memory_bytes == node.memory_bytes
    assert Device.objects.exclude(reservation=None).count() <= 4
    for reservation in Reservation.objects.all():
        assert reservation.devices.count() == int(reservation.replica_id.removeprefix("rep_")) % 2


def test_taking_and_giving_back_at_once_ends_where_it_began(committed_db: None) -> None:
    node = a_node(memory=3, gpus=1)

    def turn(number: int) -> None:
        try:
            reserve(f"rep_{number}", demand(1, gpus=1))
        except NoCapacity:
            pass
        finally:
            services.release(replica_id=f"rep_{number}")
            connection.close()

    with ThreadPoolExecutor(max_workers=12) as pool:
        list(pool.map(turn, range(60)))

    node.refresh_from_db()
    assert (node.used_memory_bytes, node.used_cpu_millis, Reservation.objects.count()) == (0, 0, 0)
    assert Device.objects.filter(reservation=None).count() == 1


def test_a_replica_that_asks_again_keeps_what_it_has(db: None) -> None:
    node = a_node()

    first = reserve("rep_1", demand(4))
    second = reserve("rep_1", demand(4))

    node.refresh_from_db()
    assert first == second
    assert node.used_memory_bytes == 4 * GIB


def test_giving_back_twice_gives_back_once(db: None) -> None:
    node = a_node(gpus=1)
    reserve("rep_1", demand(4, gpus=1))
    reserve("rep_2", demand(4))

    services.release(replica_id="rep_1")
    services.release(replica_id="rep_1")

    node.refresh_from_db()
    assert node.used_memory_bytes == 4 * GIB
    assert node.used_cpu_millis == 500
    assert queries.reservation_of(replica_id="rep_1") is None
    assert Device.objects.filter(reservation=None).count() == 1


def test_who_finds_no_room_is_told_what_would_fit(db: None) -> None:
    a_node(memory=10)
    reserve("rep_1", demand(8))

    with pytest.raises(NoCapacity, match=r"needs 4\.0 GiB .* 2\.0 GiB free"):
        reserve("rep_2", demand(4))

    assert queries.reserved_replica_ids() == {"rep_1"}


def test_the_database_itself_refuses_to_oversell(db: None) -> None:
    node = a_node(memory=1)

    with pytest.raises(IntegrityError, match="node_memory_is_never_oversold"), transaction.atomic():
        Node.objects.filter(pk=node.pk).update(used_memory_bytes=node.memory_bytes + 1)


def test_a_replica_is_told_which_devices_are_its(db: None) -> None:
    a_node(gpus=3)

    reservation = reserve("rep_1", demand(1, gpus=2))

    assert queries.device_vendor_ids(reservation) == ("GPU-0", "GPU-1")


def test_a_silent_or_drained_node_takes_nothing_new(db: None) -> None:
    a_node(seen_at=clock.now() - 2 * services.SILENT_AFTER)
    a_node(is_drained=True)

    with pytest.raises(NoCapacity, match="1 drained, 1 not heard of"):
        reserve("rep_1", demand())


def test_this_machine_reports_itself_when_nobody_has(db: None, settings: object) -> None:
    reservation = reserve("rep_1", Demand(memory_bytes=GIB // 4, cpu_millis=100))

    assert reservation.node.memory_bytes > GIB // 4
    assert reservation.node.cpu_millis >= 100
    assert services.register_node() == reservation.node
    assert Node.objects.count() == 1


def test_a_machine_that_shrank_is_full_and_not_oversold(db: None, settings: object) -> None:
    settings.MOORAGE_NODE_MEMORY_BYTES = 8 * GIB
    services.register_node()
    reserve("rep_1", demand(6))

    settings.MOORAGE_NODE_MEMORY_BYTES = 4 * GIB
    node = services.register_node()

    assert node.memory_bytes == 6 * GIB
    with pytest.raises(NoCapacity):
        reserve("rep_2", demand(1))


def test_an_organization_sees_what_it_holds_and_no_more(db: None) -> None:
    a_node()
    reserve("rep_1", demand())
    services.reserve(replica_id="rep_2", organization_id="org_2", demand=demand())

    held = queries.reservations(organization_id=ORG)

    assert [reservation.replica_id for reservation in held] == ["rep_1"]
    assert [node.replica_count for node in queries.nodes()] == [2]
