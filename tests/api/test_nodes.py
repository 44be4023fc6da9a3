"""Nodes for an administrator: read, drained, taken back, labelled, each with its line in the audit log."""

import pytest

from moorage.accounts.models import AuditEntry
from moorage.fleet import declared_pool, services
from moorage.fleet.models import Node
from moorage.fleet.placement import Demand
from tests.api.conftest import Caller, error_of

GIB = 1024**3


@pytest.fixture
def pool(db: None) -> None:
    gpus = [{"name": "H100", "memory": "80g", "count": 2}]
    declared_pool.declare(declared_pool.parse({"nodes": [{"name": "gpu-1", "memory": "64g", "cpus": 8, "gpus": gpus}]}))


def test_a_node_shows_its_devices_who_holds_them_and_why(pool: None, ada: Caller) -> None:
    demand = Demand(memory_bytes=GIB, cpu_millis=1000, gpu_share_bytes=20 * GIB)
    services.reserve(replica_id="rep_1", organization_id="org_1", demand=demand)

    node = ada.get("admin/nodes/gpu-1")

    assert [device["used_memory_bytes"] for device in node["devices"]] == [20 * GIB, 0]
    (held,) = node["reservations"]
    assert (held["replica_id"], held["device_class"], held["priority"]) == ("rep_1", "2/8 H100", "normal")
    assert "it gets 20.0 of 80.0 GiB of one H100" in held["why"]


def test_a_node_is_drained_and_taken_back_once_each(pool: None, ada: Caller) -> None:
    for _ in range(2):
        assert ada("POST", "admin/nodes/gpu-1/drain", {"why": "A fan."}).json()["drained_why"] == "A fan."
    for _ in range(2):
        assert not ada("POST", "admin/nodes/gpu-1/undrain").json()["is_drained"]

    entries = AuditEntry.objects.filter(action__startswith="node.").order_by("pk")
    assert [entry.action for entry in entries] == ["node.drained", "node.undrained"]
    assert entries[0].detail["why"] == "A fan."


def test_labels_and_taints_are_set_whole_and_checked(pool: None, ada: Caller) -> None:
    node = ada("PUT", "admin/nodes/gpu-1", {"labels": {"zone": "a"}}).json()
    refused = error_of(ada("PUT", "admin/nodes/gpu-1", {"taints": {"No Such": "a"}}), 422)

    assert (node["labels"], node["taints"]) == ({"zone": "a"}, {})
    assert refused["code"] == "not_for_this_node"
    assert Node.objects.get().labels == {"zone": "a"}


def test_an_unknown_node_is_not_found(ada: Caller) -> None:
    assert error_of(ada("GET", "admin/nodes/gpu-9"), 404)["code"] == "node_not_found"
