"""What stands around replicas over REST: for their tenants, and for administrators alone what hosts are made of."""

from django.test import override_settings

from moorage.deployments.models import Deployment, Replica
from moorage.fleet import isolation_rows
from moorage.fleet.models import Node, NodeProbe, ReplicaIsolation
from moorage.kernel import ids
from tests.api.conftest import Caller
from tests.cast import Cast

DOCUMENT = {
    "runtime": "docker",
    "level": "container",
    "sentence": "A container on the machine's own kernel, without a network.",
    "container_runtime": "runc",
    "walls": [{"code": "network", "name": "Network", "found": "none", "holds": True}],
    "host": {"runc": "1.1.5", "runc_is_safe": False},
}


def deployed(alice: Caller, cast: Cast) -> Replica:

    assert alice.put("demo").status_code in {200, 201, 202}
    deployment = Deployment.objects.get()
    return Replica.objects.create(
        id=ids.new("rep"), deployment=deployment, revision=deployment.revisions.get(), model_key="llm"
    )


def test_a_tenant_reads_what_their_replica_got_and_not_what_its_host_is_made_of(alice: Caller, cast: Cast) -> None:
    replica = deployed(alice, cast)
    address = f"deployments/demo/replicas/{replica.pk}/isolation"
    before = alice.get(address)
    ReplicaIsolation.objects.create(replica_id=replica.pk, level="container", document=DOCUMENT)

    after = alice.get(address)

    assert before["level"] == "unknown"
    assert after["level"] == "container" and after["walls"] == DOCUMENT["walls"]
    assert "host" not in after


def test_a_stranger_reads_nothing_of_it(alice: Caller, charlie: Caller, cast: Cast) -> None:
    replica = deployed(alice, cast)

    assert charlie("GET", f"deployments/demo/replicas/{replica.pk}/isolation").status_code == 404


def test_hosts_and_probes_are_for_administrators(alice: Caller, ada: Caller, cast: Cast) -> None:
    node = Node.objects.create(name="quay-1", memory_bytes=1, cpu_millis=1, runtime="docker")
    finding = {"code": "network.raw", "claim": "No raw sockets", "is_closed": False, "found": "a socket was made"}
    NodeProbe.objects.create(
        node=node, engine="llamacpp", is_closed=False, document={"findings": [finding], "trouble": ""}
    )

    (host,) = ada.get("admin/hosts")["data"]

    assert host["name"] == "quay-1" and host["host"] == {}
    assert host["probes"][0]["findings"] == [finding] and host["probes"][0]["is_closed"] is False
    assert alice("GET", "admin/hosts").status_code in {401, 403, 404}


@override_settings(MOORAGE_RUNTIME_CLASSES={"default": "runc", "untrusted": "runsc"})
def test_only_an_administrator_puts_an_organization_into_a_class(alice: Caller, ada: Caller, cast: Cast) -> None:
    address = f"admin/organizations/{cast.alice.organization.slug}/trust-class"

    changed = ada("PUT", address, {"trust_class": "untrusted"})
    refused = ada("PUT", address, {"trust_class": "another"})
    tenant = alice("PUT", address, {"trust_class": "default"})

    assert changed.status_code == 200 and changed.json()["trust_class"] == "untrusted"
    assert refused.status_code == 422
    assert tenant.status_code in {401, 403, 404}
    assert ada.get(address) == {
        "trust_class": "untrusted",
        "classes": {"default": "runc", "untrusted": "runsc"},
    }


def test_what_is_unread_is_told_as_such() -> None:
    assert isolation_rows.UNREAD["level"] == "unknown"
