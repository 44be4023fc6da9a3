"""Reserving and giving back: never more than there is, whoever asks at the same time."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from moorage.fleet import queries, services, snapshot
from moorage.fleet.errors import NoCapacity, RoomIsIdle
from moorage.fleet.models import Device, DeviceShare, Node, NodeWeights, Reservation, Waiting
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


def demand(memory: int = 1, gpus: int = 0, **more: object) -> Demand:
    return Demand(memory_bytes=memory * GIB, cpu_millis=500, gpus=gpus, **more)  # type: ignore[arg-type]


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


def test_replicas_of_one_organization_share_a_device_until_it_is_full(db: None) -> None:
    a_node(memory=100, gpus=2)

    for number in range(5):
        reserve(f"rep_{number}", demand(gpu_share_bytes=40 * GIB))

    full, begun = Device.objects.order_by("-used_memory_bytes")
    assert (full.used_memory_bytes, begun.used_memory_bytes) == (120 * GIB, 80 * GIB)
    assert {full.organization_id, begun.organization_id} == {ORG}
    assert queries.share_percent(Reservation.objects.get(pk="rep_0")) == 28
    assert queries.device_class(Reservation.objects.get(pk="rep_0")) == "3/8 H200"


def test_a_shared_device_is_free_again_when_its_last_share_goes(db: None) -> None:
    a_node(gpus=1)
    reserve("rep_1", demand(gpu_share_bytes=GIB))
    reserve("rep_2", demand(gpu_share_bytes=GIB))
    theirs = demand(gpu_share_bytes=GIB)

    services.release(replica_id="rep_1")
    with pytest.raises(NoCapacity, match=r"at most 0\.0 GiB of a GPU are free for it"):
        services.reserve(replica_id="rep_3", organization_id="org_2", demand=theirs)
    services.release(replica_id="rep_2")

    assert services.reserve(replica_id="rep_3", organization_id="org_2", demand=theirs).shares.count() == 1


def refused(rows: object, match: str, **change: object) -> None:
    with pytest.raises(IntegrityError, match=match), transaction.atomic():
        rows.update(**change)  # type: ignore[attr-defined]
        with connection.cursor() as cursor:
            cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_the_database_itself_keeps_devices_whole_or_shared_and_of_one_organization(db: None) -> None:
    a_node(memory=100, gpus=3)
    whole = reserve("rep_1", demand(gpus=1))
    shared = reserve("rep_2", demand(gpu_share_bytes=GIB))
    devices = Device.objects.all()
    its, theirs = devices.filter(reservation=whole), devices.filter(shares__reservation=shared)

    refused(its, "device_is_whole_or_shared", used_memory_bytes=1)
    refused(theirs, "device_is_whole_or_shared", reservation=whole)
    refused(theirs, "device_memory_is_never_oversold", used_memory_bytes=140 * GIB)
    refused(theirs, "device_in_use_is_of_one_organization", organization_id="")
    refused(its, "device_is_of_its_holders_organization", organization_id="org_2")
    refused(theirs, "device_share_is_of_its_devices_organization", organization_id="org_2")
    refused(DeviceShare.objects.all(), "device_share_is_of_its_devices_organization", organization_id="org_2")
    refused(Reservation.objects.filter(pk="rep_2"), "of_its_holders_organization", organization_id="org_2")


def test_who_has_to_make_way_is_named_and_keeps_its_room_until_it_gives_it_back(db: None) -> None:
    a_node(memory=100, gpus=1)
    reserve("rep_asleep", demand(gpus=1))

    with pytest.raises(RoomIsIdle) as told:
        services.reserve(
            replica_id="rep_1", organization_id="org_2", demand=demand(gpus=1), idle={"rep_asleep": "asleep"}
        )
    services.release(replica_id="rep_asleep")

    assert told.value.preempts == ("rep_asleep",)
    assert services.reserve(replica_id="rep_1", organization_id="org_2", demand=demand(gpus=1)).devices.count() == 1


def test_who_waits_is_not_passed_by_who_comes_later(db: None) -> None:
    a_node(memory=10)
    reserve("rep_held", demand(8))
    with pytest.raises(NoCapacity):
        reserve("rep_waits", demand(6))

    services.release(replica_id="rep_held")

    with pytest.raises(NoCapacity, match="goes to 1 that waits longer") as told:
        reserve("rep_later", demand(5))
    assert told.value.reason_code == "others_first"
    assert reserve("rep_waits", demand(6)).memory_bytes == 6 * GIB
    assert reserve("rep_later", demand(4)).memory_bytes == 4 * GIB


@pytest.mark.parametrize(("patience", "is_kept_out"), [(3600, False), (0, True)])
def test_a_node_is_kept_for_the_eldest_from_the_operators_patience_on(
    db: None, settings: Any, patience: int, is_kept_out: bool
) -> None:
    settings.MOORAGE_PLACEMENT_PATIENCE_SECONDS = patience
    a_node(memory=10)
    reserve("rep_held", demand(4))
    with pytest.raises(NoCapacity):
        reserve("rep_eldest", demand(8))

    if is_kept_out:
        with pytest.raises(NoCapacity, match="goes to 1 that waits longer"):
            reserve("rep_later", demand(5))
    else:
        assert reserve("rep_later", demand(5))


def test_who_stopped_asking_waits_no_more(db: None) -> None:
    a_node(memory=10)
    reserve("rep_held", demand(8))
    with pytest.raises(NoCapacity):
        reserve("rep_waits", demand(6))

    services.release(replica_id="rep_held")
    Waiting.objects.update(asked_at=clock.now() - snapshot.ASKS_AGAIN)

    assert reserve("rep_later", demand(5))


def test_who_will_never_fit_keeps_nobody_waiting(db: None) -> None:
    a_node(memory=10)

    with pytest.raises(NoCapacity) as told:
        reserve("rep_1", demand(20))

    assert told.value.reason_code == "too_little_memory"
    assert not Waiting.objects.exists()


def test_weights_that_were_brought_to_a_node_bring_the_next_replica_there(db: None) -> None:
    first = a_node(memory=10)
    a_node(memory=100)
    reserve("rep_big", Demand(memory_bytes=91 * GIB, cpu_millis=1))
    held = reserve("rep_1", demand(2, digest="sha256:w"))

    services.note_weights(replica_id="rep_1", digest="sha256:w")
    services.note_weights(replica_id="rep_of_nobody", digest="sha256:w")
    services.release(replica_id="rep_big")

    assert held.node == first
    assert NodeWeights.objects.count() == 1
    assert reserve("rep_2", demand(1, digest="sha256:w")).node == first
    assert reserve("rep_3", demand(1)).node != first
