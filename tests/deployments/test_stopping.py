"""The end of a replica: its container goes before its room, whatever its row remembers."""

import pytest

from moorage.deployments import life
from moorage.deployments.models import Replica, ReplicaStatus
from moorage.fleet.models import Reservation
from tests.cast import Cast
from tests.deployments.conftest import Harbour, apply
from tests.deployments.test_reconcile import is_ready

pytestmark = pytest.mark.engine


def test_a_container_that_the_row_has_forgotten_goes_before_its_room(committed_cast: Cast, harbour: Harbour) -> None:
    deployment = apply(committed_cast)
    harbour.until(deployment, is_ready)
    replica = Replica.objects.get()
    # As after a crash of the database that lost the last commits.
    Replica.objects.filter(pk=replica.pk).update(status=ReplicaStatus.STOPPING, container_name="")

    life.drive(replica.pk, runtime=harbour.runtime)

    assert harbour.runtime.list() == ()
    assert not Reservation.objects.exists()
