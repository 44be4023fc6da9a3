"""The pages of the nodes: an administrator sees who sits where, marks a machine, empties it, and resumes it."""

import pytest
from django.test import Client

from moorage.accounts.models import AuditEntry
from moorage.deployments.models import Deployment
from moorage.fleet import declared_pool, services
from moorage.fleet.models import Device, Node
from moorage.fleet.placement import Demand
from tests.cast import Cast
from tests.console.conftest import SignIn
from tests.console.pages import inline_code, text_of

GIB = 1024**3
POOL = {
    "nodes": [
        {
            "name": "gpu-1",
            "memory": "64g",
            "cpus": 8,
            "gpus": [{"name": "H100", "memory": "80g"}, {"name": "H200", "memory": "18g", "mig": "1g.18gb"}],
            "labels": {"zone": "a"},
        }
    ]
}


@pytest.fixture
def node(db: None) -> Node:
    """A machine with room."""
    return Node.objects.create(name="quay.1", memory_bytes=2**34, cpu_millis=4000, runtime="memory")


def test_a_node_is_drained_with_a_reason_and_resumed(ada: Client, node: Node) -> None:
    drained = text_of(ada.post("/admin/nodes/quay.1/drain", {"why": "A new disk."}, follow=True))
    node.refresh_from_db()

    assert node.is_drained and "A new disk." in drained and "Resume" in drained

    text_of(ada.post("/admin/nodes/quay.1/resume", follow=True))
    node.refresh_from_db()

    assert not node.is_drained
    actions = AuditEntry.objects.filter(subject=node.pk).values_list("action", flat=True)
    assert sorted(actions) == ["node.drained", "node.resumed"]


def test_a_drain_needs_a_reason(ada: Client, node: Node) -> None:
    page = text_of(ada.post("/admin/nodes/quay.1/drain", {"why": " "}, follow=True))

    node.refresh_from_db()
    assert not node.is_drained and "Say why quay.1 is drained" in page


def test_a_nodes_page_says_who_sits_there_on_which_device_and_why(
    ada: Client, cast: Cast, deployment: Deployment
) -> None:
    declared_pool.declare(declared_pool.parse(POOL))
    replica = deployment.replicas.get()
    demand = Demand(memory_bytes=GIB, cpu_millis=1000, gpu_share_bytes=20 * GIB)
    services.reserve(replica_id=replica.pk, organization_id=cast.alice.organization.pk, demand=demand)
    services.note_weights(replica_id=replica.pk, digest=replica.revision.pins["llm"]["digest"])

    page = text_of(ada.get("/admin/nodes/gpu-1"))

    assert "demo/llm" in page and "Harbour" in page and replica.pk in page
    assert "20 GiB of 80 GiB shared" in page
    assert "MIG instance" in page and "2/8 H100" in page
    assert "it gets 20.0 of 80.0 GiB of one H100" in page
    assert "catalog/harbour:q8_0" in page and "zone=a" in page
    assert inline_code(page) == []


def test_the_list_counts_devices_by_kind(ada: Client, cast: Cast) -> None:
    declared_pool.declare(declared_pool.parse(POOL))
    demand = Demand(memory_bytes=GIB, cpu_millis=1000, gpu_share_bytes=20 * GIB)
    services.reserve(replica_id="rep_1", organization_id=cast.alice.organization.pk, demand=demand)
    Device.objects.filter(name__contains="MIG").update(is_present=False)

    page = text_of(ada.get("/admin/nodes"))

    assert "0 of 1 free" in page and "0 of 1 free, 1 missing" in page


def test_the_list_leads_to_each_node(ada: Client, node: Node) -> None:
    assert 'href="/admin/nodes/quay.1"' in text_of(ada.get("/admin/nodes"))


def test_labels_and_taints_are_those_of_the_form_and_stand_in_the_history(ada: Client, node: Node) -> None:
    sent = {"labels": "zone=a\n disk = fast \n\n", "taints": "team=x"}

    page = text_of(ada.post("/admin/nodes/quay.1/marks", sent, follow=True))

    node.refresh_from_db()
    assert (node.labels, node.taints) == ({"zone": "a", "disk": "fast"}, {"team": "x"})
    assert "labels: disk=fast, zone=a; taints: team=x" in page


@pytest.mark.parametrize(
    ("labels", "sentence"),
    [
        ("zone", "zone is not name=value"),
        ("a=1\na=2", "a=2 stands there twice"),
        ("No Such=x", "cannot be one of a node&#x27;s labels"),
    ],
)
def test_labels_that_cannot_be_are_refused_and_kept_in_the_form(
    ada: Client, node: Node, labels: str, sentence: str
) -> None:
    answer = ada.post("/admin/nodes/quay.1/marks", {"labels": labels, "taints": ""})

    page = text_of(answer)
    node.refresh_from_db()
    assert answer.status_code == 422 and sentence in page and labels.splitlines()[0] in page
    assert node.labels == {}


def test_nobody_else_finds_it(cast: Cast, node: Node, signed_in: SignIn) -> None:
    for person in (cast.alice, cast.bob, cast.charlie):
        client = signed_in(person.user)
        assert client.get("/admin/nodes/quay.1").status_code == 404
        assert client.post("/admin/nodes/quay.1/drain", {"why": "x"}).status_code == 404
        assert client.post("/admin/nodes/quay.1/resume").status_code == 404
        assert client.post("/admin/nodes/quay.1/marks", {"labels": "zone=a"}).status_code == 404
    node.refresh_from_db()
    assert not node.is_drained and node.labels == {}


def test_a_node_that_there_is_not_is_a_page_that_there_is_not(ada: Client) -> None:
    assert ada.get("/admin/nodes/quay.9").status_code == 404
