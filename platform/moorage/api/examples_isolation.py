"""Examples of isolation in the API's document."""

from typing import Final

from moorage.api import examples

ISOLATION: Final = {
    "replica_id": examples.REPLICA["id"],
    "level": "container",
    "sentence": "A container on the machine's own kernel, without a network.",
    "runtime": "docker",
    "container_runtime": "runc",
    "walls": [{"code": "network", "name": "Network", "found": "none", "holds": True}],
    "read_at": examples.REPLICA["created_at"],
}
HOST: Final = {
    "node_id": examples.REPLICA["node_id"],
    "name": "quay-1",
    "host": {"engine": "29.3.1", "kernel": "6.12.9", "runc": "1.3.3", "runc_is_safe": True},
    "probes": [
        {
            "engine": "llamacpp",
            "container_runtime": "runc",
            "is_closed": True,
            "trouble": "",
            "findings": [
                {
                    "code": "network.interfaces",
                    "claim": "It has no network interface but loopback",
                    "is_closed": True,
                    "found": "lo",
                }
            ],
            "taken_at": examples.REPLICA["created_at"],
        }
    ],
}
TRUST: Final = {"trust_class": "default", "classes": {"default": "runc", "untrusted": "runsc"}}
