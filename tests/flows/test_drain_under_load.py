"""A node is drained while callers call: what runs there comes up elsewhere first, and no request fails."""

from pathlib import Path

import pytest

from moorage.accounts.models import Scope
from moorage.deployments.models import Deployment, Replica, ReplicaStatus
from moorage.fleet.models import Node, Reservation
from tests.cast import Cast
from tests.flows.constant_load import Load
from tests.flows.stack import Stack
from tests.flows.test_update_under_load import LEAST, billed_once
from tests.waiting import wait_until

pytestmark = pytest.mark.engine

R = ReplicaStatus
#: Room for two replicas on each.
POOL = """
nodes:
  - {name: quay-1, memory: 640m, cpus: 8}
  - {name: quay-2, memory: 640m, cpus: 8}
"""
COMPOSE = """
models:
  llm:
    model: catalog/harbour:q8_0
    context_size: 512
    x-moorage: {scale: {min: 2, max: 2, idle: never}}
"""


@pytest.fixture(scope="module")
def stack_environment(stack_home: Path) -> dict[str, str]:
    """Two nodes, declared: their replicas are processes of this machine."""
    pool = stack_home / "pool.yaml"
    pool.write_text(POOL)
    return {"MOORAGE_POOL": str(pool)}


def living() -> list[tuple[str, str]]:
    """Node and status of each replica."""
    names = dict(Node.objects.values_list("id", "name"))
    rows = Replica.objects.exclude(status=R.GONE).values_list("node_id", "status")
    return sorted((names.get(node_id, ""), status) for node_id, status in rows)


def test_a_drained_node_ends_empty_and_no_request_fails(committed_cast: Cast, secret: str, stack: Stack) -> None:
    administrator = stack.api(committed_cast.charlie.key(Scope.ADMIN))
    with stack.api(secret) as api:
        assert api.put("/deployments/load", params={"wait": "ready"}, content=COMPOSE).status_code == 200
    wait_until(lambda: [status for _, status in living()] == [R.READY, R.READY], seconds=60)
    load = Load(stack.openai(secret), model="load/llm")
    ready_counts: list[int] = []

    with administrator, load.running():
        for number, (drained, other) in enumerate((("quay-1", "quay-2"), ("quay-2", "quay-1"))):
            load.phase = f"before {number}"
            wait_until(lambda: load.count(load.phase) >= LEAST or load.failures, seconds=60)
            load.phase = f"drain {number}"
            administrator.post(f"/admin/nodes/{drained}/drain", json={"why": "New memory."}).raise_for_status()

            def has_moved(other: str = other) -> bool:
                ready_counts.append(sum(status == R.READY for _, status in living()))
                return living() == [(other, R.READY)] * 2

            wait_until(has_moved, seconds=90, what=f"two replicas on {other}: {living()}")
            wait_until(lambda: load.count(load.phase) >= LEAST or load.failures, seconds=60)
            assert not Reservation.objects.filter(node__name=drained).exists()
            assert Node.objects.get(name=drained).used_memory_bytes == 0
            Node.objects.filter(name=drained).update(is_drained=False)

    assert load.failures == []
    assert min(ready_counts) >= 2, "what replaces it is ready before it leaves"
    messages = list(Deployment.objects.get().timeline.values_list("message", flat=True))
    assert any(message.startswith("Its node is drained; another replica has taken over") for message in messages)
    print(f"{len(load.calls)} requests through two drains")
    billed_once(load)
