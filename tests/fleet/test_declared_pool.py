"""Nodes that an operator declares: read exactly, written like any other, and given to no container."""

import json
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from moorage.fleet import declared_pool, queries, services
from moorage.fleet.errors import NoCapacity, PoolInvalid
from moorage.fleet.models import SLICE, Device, Node
from moorage.fleet.placement import Demand

GIB = 1024**3
POOL = """
nodes:
  - {name: "gpu-{1..3}", memory: 512g, cpus: 64, gpus: [{count: 8, name: NVIDIA H100, memory: 80g}], labels: {zone: a}}
  - name: acme-1
    memory: 256GiB
    cpus: 32
    gpus: [{name: NVIDIA H200, memory: 18g, mig: 1g.18gb, count: 7}]
    taints: {organization: org_acme}
    weights: ["sha256:w"]
"""


def pool_file(folder: Path, text: str) -> Path:
    file = folder / "pool.yaml"
    file.write_text(text)
    return file


def wanted(**more: object) -> Demand:
    return Demand(memory_bytes=GIB, cpu_millis=1000, **more)  # type: ignore[arg-type]


def test_a_pool_file_is_nodes_with_devices_labels_and_taints(tmp_path: Path) -> None:
    pool = declared_pool.read(pool_file(tmp_path, POOL))

    assert [node.name for node in pool.nodes] == ["gpu-1", "gpu-2", "gpu-3", "acme-1"]
    assert (pool.nodes[0].memory_bytes, pool.nodes[0].cpu_millis, len(pool.nodes[0].devices)) == (512 * GIB, 64_000, 8)
    assert pool.nodes[0].labels == (("zone", "a"),)
    assert pool.nodes[3].devices[0].kind == SLICE
    assert pool.nodes[3].devices[0].name == "NVIDIA H200 MIG 1g.18gb"
    assert not pool.is_this_machine_included
    assert declared_pool.read(pool_file(tmp_path, json.dumps({"nodes": []}))).nodes == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("nodes: [", "cannot be read"),
        ("[]", "the file must be a mapping"),
        ("nodes: {}", "nodes must be a list"),
        ("nodes: [{name: a, memory: 1g, cpus: 1, gpu: 1}]", "there is no key gpu"),
        ("nodes: [{name: a, memory: lots, cpus: 1}]", r"nodes\[0\].memory must be a size such as 80g"),
        ("nodes: [{name: a, memory: 1g, cpus: 0}]", "must be a whole number from 1"),
        ("nodes: [{name: a, memory: 1g, cpus: 1}, {name: a, memory: 1g, cpus: 1}]", "two nodes named a"),
        ("this_machine: 3", "this_machine is yes or no"),
    ],
)
def test_a_mistake_in_a_pool_file_is_one_sentence(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(PoolInvalid, match=says):
        declared_pool.read(pool_file(tmp_path, text))


def test_a_declared_pool_takes_replicas_in_the_place_of_this_machine(
    db: None, settings: object, tmp_path: Path
) -> None:
    settings.MOORAGE_POOL = pool_file(tmp_path, POOL)

    held = services.reserve(replica_id="rep_1", organization_id="org_1", demand=wanted(gpus=4))
    theirs = services.reserve(replica_id="rep_2", organization_id="org_acme", demand=wanted(gpu_share_bytes=GIB))

    assert held.node.name == "gpu-1"
    assert held.devices.count() == 4
    assert queries.device_class(held) == "4 x NVIDIA H100"
    assert queries.device_vendor_ids(held) == ()
    assert theirs.node.name == "acme-1"
    assert queries.device_vendor_ids(theirs) == ()
    assert Node.objects.filter(is_emulated=False).count() == 0


def test_this_machine_takes_replicas_beside_the_pool_if_the_file_says_so(
    db: None, settings: object, tmp_path: Path
) -> None:
    settings.MOORAGE_POOL = pool_file(tmp_path, f"{POOL}\nthis_machine: yes\n")

    services.report()

    assert Node.objects.filter(is_emulated=False).count() == 1
    assert Node.objects.filter(is_emulated=True).count() == 4


def test_declaring_again_keeps_what_is_held_and_what_administrators_set(db: None) -> None:
    small = declared_pool.parse({"nodes": [{"name": "a", "memory": "4g", "cpus": 4}]})
    declared_pool.declare(declared_pool.parse({"nodes": [{"name": "a", "memory": "8g", "cpus": 4}]}))
    services.reserve(replica_id="rep_1", organization_id="org_1", demand=Demand(memory_bytes=6 * GIB, cpu_millis=1))
    Node.objects.update(labels={"set": "by hand"})

    declared_pool.declare(small)

    node = Node.objects.get()
    assert (node.memory_bytes, node.used_memory_bytes, node.labels) == (6 * GIB, 6 * GIB, {"set": "by hand"})


def test_a_node_that_is_declared_no_more_is_drained_and_goes_with_its_last_replica(db: None) -> None:
    nothing = declared_pool.parse({"nodes": []})
    declared_pool.declare(declared_pool.parse({"nodes": [{"name": "a", "memory": "8g", "cpus": 4}]}))
    services.reserve(replica_id="rep_1", organization_id="org_1", demand=wanted())

    declared_pool.declare(nothing)
    drained = Node.objects.get()
    services.release(replica_id="rep_1")
    declared_pool.declare(nothing)

    assert drained.is_drained
    assert not Node.objects.exists()


def test_a_device_that_has_vanished_takes_nothing_new_and_keeps_its_holder(db: None) -> None:
    def declared(count: int) -> declared_pool.Pool:
        gpus = [{"name": "H100", "memory": "80g", "count": count}] if count else []
        return declared_pool.parse({"nodes": [{"name": "a", "memory": "8g", "cpus": 4, "gpus": gpus}]})

    declared_pool.declare(declared(2))
    services.reserve(replica_id="rep_1", organization_id="org_1", demand=wanted(gpus=1))

    declared_pool.declare(declared(0))

    assert Device.objects.filter(is_present=True).count() == 0
    assert Device.objects.exclude(reservation=None).count() == 1
    with pytest.raises(NoCapacity, match="no node has one"):
        services.reserve(replica_id="rep_2", organization_id="org_1", demand=wanted(gpus=1))


def test_a_real_machine_is_never_made_an_emulated_one(db: None) -> None:
    Node.objects.create(name="a", memory_bytes=GIB, cpu_millis=1000, runtime="memory")

    with pytest.raises(PoolInvalid, match="a machine named a"):
        declared_pool.declare(declared_pool.parse({"nodes": [{"name": "a", "memory": "8g", "cpus": 4}]}))


def test_the_command_checks_a_file_or_declares_it(db: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = pool_file(tmp_path, POOL)

    call_command("declare_pool", file, check=True)
    assert "4 nodes with 31 devices are right." in capsys.readouterr().out
    assert not Node.objects.exists()
    call_command("declare_pool", file)

    assert Device.objects.count() == 31
    with pytest.raises(CommandError, match="must be a mapping"):
        call_command("declare_pool", pool_file(tmp_path, "[]"))
