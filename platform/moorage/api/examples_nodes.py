"""Examples of nodes in the API's document."""

from typing import Final

from moorage.api import examples

NODE: Final = {
    **examples.NODE,
    "is_emulated": False,
    "drained_why": "",
    "labels": {"zone": "a"},
    "taints": {},
    "devices": [
        {
            "id": "dev_01k7wq0c9v7h3t5a2m8xj4n6bp",
            "name": "NVIDIA H200",
            "vendor_id": "GPU-2f1c7c3e-6a1b-4a3e-9c57-0c5f5d0c1a11",
            "is_slice": False,
            "is_present": True,
            "memory_bytes": 150754820096,
            "used_memory_bytes": 42949672960,
            "organization_id": "org_01k7wq0c9v7h3t5a2m8xj4n6bp",
            "replica_id": None,
            "shares": [{"replica_id": examples.REPLICA["id"], "memory_bytes": 42949672960}],
        }
    ],
    "reservations": [
        {
            "replica_id": examples.REPLICA["id"],
            "organization_id": "org_01k7wq0c9v7h3t5a2m8xj4n6bp",
            "organization": "harbour",
            "deployment": "demo",
            "model_key": "llm",
            "status": "ready",
            "memory_bytes": 8589934592,
            "cpu_millis": 2000,
            "device_class": "3/8 NVIDIA H200",
            "priority": "normal",
            "why": "gpu-1 has 120.0 GiB free of 128.0 GiB; the weights are there",
            "created_at": "2026-11-22T08:00:00Z",
        }
    ],
    "weights": [
        {
            "digest": examples.MODEL["digest"],
            "references": [examples.MODEL["reference"]],
            "seen_at": "2026-11-22T08:00:00Z",
        }
    ],
    "history": [
        {
            "at": "2026-11-22T08:00:00Z",
            "action": "node.marked",
            "by": "ada@example.com",
            "detail": {"labels": {"zone": "a"}},
        }
    ],
}
