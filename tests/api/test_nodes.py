"""Nodes for an administrator: read, drained, resumed, labelled, each with its line in the audit log."""

import pytest

from moorage.accounts.models import AuditEntry, Scope
from moorage.deployments import services as deployments
from moorage.deployments.models import Replica
from moorage.fleet import declared_pool, services
from moorage.fleet.models import Node
from moorage.fleet.placement import Demand
from tests.api.conftest import COMPOSE, Caller, calling, error_of
from tests.cast import Cast

GIB = 1024**3


@pytest.fixture
def pool(db: None) -> None:
    gpus = [{"name": "H100", "memory": "80g", "count": 2}]
    declared_pool.declare(declared_pool.parse({"nodes": [{"name": "gpu-1", "memory": "64g", "cpus": 8, "gpus": gpus}]}))


def a_replica(cast: Cast) -> Replica:
    """One of harbour's deployment ``demo``."""
    applied = deployments.apply(
        organization=cast.alice.organization, name="demo", compose_text=COMPOSE, by=cast.alice.actor
    )
    return Replica.objects.create(deployment=applied.deployment, revision=applied.revision, model_key="llm")


def test_a_node_shows_its_devices_who_holds_them_and_why(pool: None, ada: Caller) -> None:
    demand = Demand(memory_bytes=GIB, cpu_millis=1000, gpu_share_bytes=20 * GIB)
    services.reserve(replica_id="rep_1", organization_id="org_1", demand=demand)

    node = ada.get("admin/nodes/gpu-1")

    assert [device["used_memory_bytes"] for device in node["devices"]] == [20 * GIB, 0]
    (held,) = node["reservations"]
    assert (held["replica_id"], held["device_class"], held["priority"]) == ("rep_1", "2/8 H100", "normal")
    assert "it gets 20.0 of 80.0 GiB of one H100" in held["why"]


def test_a_node_is_drained_and_resumed_once_each(pool: None, ada: Caller) -> None:
    for _ in range(2):
        assert ada("POST", "admin/nodes/gpu-1/drain", {"why": "A fan."}).json()["drained_why"] == "A fan."
    for _ in range(2):
        assert not ada("POST", "admin/nodes/gpu-1/resume").json()["is_drained"]

    entries = AuditEntry.objects.filter(action__startswith="node.").order_by("pk")
    assert [entry.action for entry in entries] == ["node.drained", "node.resumed"]
    assert entries[0].detail["why"] == "A fan."


def test_labels_and_taints_are_set_whole_and_checked(pool: None, ada: Caller) -> None:
    node = ada("PUT", "admin/nodes/gpu-1", {"labels": {"zone": "a"}}).json()
    refused = error_of(ada("PUT", "admin/nodes/gpu-1", {"taints": {"No Such": "a"}}), 422)

    assert (node["labels"], node["taints"]) == ({"zone": "a"}, {})
    assert refused["code"] == "not_for_this_node"
    assert Node.objects.get().labels == {"zone": "a"}


def test_an_unknown_node_is_not_found(ada: Caller) -> None:
    assert error_of(ada("GET", "admin/nodes/gpu-9"), 404)["code"] == "node_not_found"


def test_some_labels_and_taints_are_changed_and_the_others_stay(pool: None, ada: Caller) -> None:
    ada("PUT", "admin/nodes/gpu-1", {"labels": {"zone": "a", "disk": "fast"}, "taints": {"team": "x"}})

    node = ada("POST", "admin/nodes/gpu-1/marks", {"labels": {"zone": "b", "disk": None, "rack": "r1"}}).json()
    refused = error_of(ada("POST", "admin/nodes/gpu-1/marks", {"taints": {"No Such": "a"}}), 422)

    assert (node["labels"], node["taints"]) == ({"zone": "b", "rack": "r1"}, {"team": "x"})
    assert refused["code"] == "not_for_this_node"
    assert node["history"][0]["detail"] == {"labels": {"zone": "b", "rack": "r1"}}
    assert [deed["action"] for deed in node["history"]] == ["node.marked", "node.marked"]


def test_a_change_that_changes_nothing_is_no_deed(pool: None, ada: Caller) -> None:
    for _ in range(2):
        ada("POST", "admin/nodes/gpu-1/marks", {"labels": {"zone": "a"}, "taints": {"team": None}})

    assert AuditEntry.objects.filter(action="node.marked").count() == 1


def test_who_sits_there_is_named_by_organization_and_deployment(pool: None, cast: Cast, ada: Caller) -> None:
    replica = a_replica(cast)
    demand = Demand(memory_bytes=GIB, cpu_millis=1000, gpu_share_bytes=20 * GIB)
    services.reserve(replica_id=replica.pk, organization_id=cast.alice.organization.pk, demand=demand)
    services.note_weights(replica_id=replica.pk, digest=replica.revision.pins["llm"]["digest"])

    node = ada.get("admin/nodes/gpu-1")

    (held,) = node["reservations"]
    assert (held["organization"], held["deployment"], held["model_key"]) == ("harbour", "demo", "llm")
    assert node["devices"][0]["shares"] == [{"replica_id": replica.pk, "memory_bytes": 20 * GIB}]
    assert node["weights"][0]["references"] == ["catalog/harbour:q8_0"]


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", ""), ("PUT", ""), ("POST", "/marks"), ("POST", "/drain"), ("POST", "/resume")],
)
def test_neither_a_member_nor_a_stranger_reaches_a_node(pool: None, cast: Cast, method: str, path: str) -> None:
    for person in (cast.alice, cast.bob, cast.charlie):
        answer = calling(person, Scope.MANAGE)(method, f"admin/nodes/gpu-1{path}", {} if method != "GET" else None)

        assert error_of(answer, 403)["code"] == "scope_missing"
    node = Node.objects.get()
    assert not (node.is_drained or node.labels or AuditEntry.objects.filter(subject=node.pk).exists())
