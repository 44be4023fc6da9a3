"""Nodes and demands for the tests of placement, in whole GiB."""

import dataclasses

from moorage.fleet.placement import PRIORITIES, Demand, DeviceKind, DeviceState, NodeState, Priority

GIB = 1024**3


def gpu(device_id: str, size: int = 80, *, name: str = "", used: int = 0, org: str = "") -> DeviceState:
    """One device, free or in shares of ``org``."""
    return DeviceState(
        device_id=device_id,
        memory_bytes=size * GIB,
        name=name or f"GPU {size}",
        is_slice="MIG" in name,
        used_memory_bytes=used * GIB,
        organization_id=org,
    )


def node(
    name: str,
    *,
    memory: int = 16,
    used: int = 0,
    gpus: tuple[int, ...] = (),
    held: int = 0,
    slices: tuple[int, ...] = (),
    **more: object,
) -> NodeState:
    """A node with devices of these sizes, the first ``held`` of which are taken whole."""
    devices = [gpu(f"{name}-gpu{n}", size) for n, size in enumerate(gpus)]
    cut = [gpu(f"{name}-mig{n}", size, name=f"MIG {size}") for n, size in enumerate(slices)]
    state = NodeState(
        node_id=f"node_{name}",
        name=name,
        memory_bytes=memory * GIB,
        used_memory_bytes=used * GIB,
        cpu_millis=4000,
        used_cpu_millis=0,
        kinds=tuple(
            DeviceKind(
                name=kind,
                memory_bytes=max(d.memory_bytes for d in (*devices, *cut) if d.name == kind),
                count=sum(d.name == kind for d in (*devices, *cut)),
                is_slice="MIG" in kind,
            )
            for kind in sorted({device.name for device in (*devices, *cut)})
        ),
        free_devices=(*devices[held:], *cut),
    )
    return dataclasses.replace(state, **more)  # type: ignore[arg-type]


def demand(
    memory: int = 4,
    *,
    cpu: int = 1000,
    gpus: int = 0,
    gpu_memory: int = 0,
    total: int = 0,
    share: int = 0,
    priority: Priority = "normal",
    org: str = "org_1",
    **more: object,
) -> Demand:
    """What a replica needs."""
    wanted = Demand(
        memory_bytes=memory * GIB,
        cpu_millis=cpu,
        gpus=gpus,
        gpu_memory_bytes=gpu_memory * GIB,
        gpu_total_bytes=total * GIB,
        gpu_share_bytes=share * GIB,
        priority=PRIORITIES[priority],
        organization_id=org,
    )
    return dataclasses.replace(wanted, **more)  # type: ignore[arg-type]
