"""What a replica runs on is written down with its seconds, as costs and prices name it."""

import datetime as dt

import pytest

from moorage.deployments import replica_time
from moorage.deployments.models import Replica
from moorage.fleet.models import Device, Node, Reservation
from moorage.kernel import clock
from moorage.metering.models import ReplicaUsage
from tests.cast import Cast
from tests.console.usage_rows import deployed


@pytest.mark.parametrize(
    ("names", "written"),
    [
        ([], "cpu"),
        (["NVIDIA H200"], "NVIDIA H200"),
        (["NVIDIA H200", "NVIDIA H200"], "2 x NVIDIA H200"),
        (["NVIDIA L4", "NVIDIA H200", "NVIDIA H200"], "2 x NVIDIA H200 + NVIDIA L4"),
    ],
)
def test_seconds_name_the_devices_that_are_held(cast: Cast, names: list[str], written: str) -> None:
    replica, now = deployed(cast.alice.organization), clock.now()
    Replica.objects.filter(pk=replica.pk).update(ready_at=now - dt.timedelta(seconds=60))
    node = Node.objects.create(name="quay-1", memory_bytes=10, cpu_millis=10, runtime="memory")
    held = Reservation.objects.create(
        replica_id=replica.pk,
        node=node,
        organization_id=cast.alice.organization.pk,
        memory_bytes=1,
        cpu_millis=1,
        why="",
    )
    for number, name in enumerate(names):
        Device.objects.create(
            node=node,
            kind="gpu",
            vendor_id=f"GPU-{number}",
            name=name,
            memory_bytes=1,
            reservation=held,
            organization_id=held.organization_id,
        )

    replica_time.record_all(now=now)

    assert ReplicaUsage.objects.get().device_class == written


def test_seconds_of_a_replica_that_holds_nothing_name_nothing(cast: Cast) -> None:
    replica, now = deployed(cast.alice.organization), clock.now()
    Replica.objects.filter(pk=replica.pk).update(ready_at=now - dt.timedelta(seconds=60))

    replica_time.record_all(now=now)

    assert ReplicaUsage.objects.get().device_class == ""
