"""Nodes that an operator declares in a file: an emulated pool, and the writing of any node's devices.

Declared nodes stand in the same tables as real ones and go through the same services. No container is ever given their
devices: see :func:`moorage.fleet.queries.device_vendor_ids`.
"""

import dataclasses
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from django.conf import settings
from django.db import transaction

from moorage.fleet.errors import PoolInvalid
from moorage.fleet.models import SLICE, WHOLE, Device, Node, NodeWeights
from moorage.fleet.nvml import FoundDevice
from moorage.kernel import clock

_UNITS: Final = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}
_SIZE: Final = re.compile(r"(\d{1,12})(?:([kmgt])(?:i?b)?)?", re.I)
_RANGE: Final = re.compile(r"\{(\d{1,5})\.\.(\d{1,5})\}")
_NODE_KEYS: Final = frozenset({"name", "memory", "cpus", "gpus", "labels", "taints", "weights"})
_GPU_KEYS: Final = frozenset({"name", "memory", "count", "mig"})
_MOST_NODES: Final = 10_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeclaredNode:
    """One node of a pool file."""

    name: str
    memory_bytes: int
    cpu_millis: int
    devices: tuple[FoundDevice, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[tuple[str, str], ...] = ()
    weights: tuple[str, ...] = ()  #: digests that its store has


@dataclasses.dataclass(frozen=True, kw_only=True)
class Pool:
    """A whole pool file."""

    nodes: tuple[DeclaredNode, ...]
    is_this_machine_included: bool = False


def configured() -> Pool | None:
    """The pool that MOORAGE_POOL names; None where it names none. Raises PoolInvalid."""
    return None if settings.MOORAGE_POOL is None else read(settings.MOORAGE_POOL)


def read(file: Path) -> Pool:
    """The pool of a YAML or JSON file. Raises PoolInvalid, which says where."""
    try:
        return parse(yaml.safe_load(file.read_text()))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise PoolInvalid(f"{file} cannot be read: {error}") from error


def parse(document: object) -> Pool:
    """The pool of a parsed file. Raises PoolInvalid."""
    top = _table(document, "the file", frozenset({"nodes", "this_machine"}))
    nodes: dict[str, DeclaredNode] = {}
    for index, entry in enumerate(_list(top.get("nodes"), "nodes")):
        where = f"nodes[{index}]"
        table = _table(entry, where, _NODE_KEYS)
        for name in _names(_text(table.get("name"), f"{where}.name")):
            if name in nodes:
                raise PoolInvalid(f"{where}: there are two nodes named {name}. Names are unique.")
            nodes[name] = _node(name, table, where)
        if len(nodes) > _MOST_NODES:
            raise PoolInvalid(f"There are more than {_MOST_NODES} nodes. Declare fewer.")
    is_included = top.get("this_machine", False)
    if not isinstance(is_included, bool):
        raise PoolInvalid("this_machine is yes or no.")
    return Pool(nodes=tuple(nodes.values()), is_this_machine_included=is_included)


@transaction.atomic
def declare(pool: Pool) -> None:
    """Make the declared nodes of the tables those of ``pool``. Idempotent. One that is not declared any more and still
    holds replicas is drained; it goes with the last of them. Raises PoolInvalid where a machine has a declared name."""
    for declared in pool.nodes:
        node, _ = Node.objects.select_for_update().get_or_create(
            name=declared.name,
            defaults={
                "memory_bytes": declared.memory_bytes,
                "cpu_millis": declared.cpu_millis,
                "runtime": settings.MOORAGE_RUNTIME,
                "is_emulated": True,
                "labels": dict(declared.labels),
                "taints": dict(declared.taints),
            },
        )
        if not node.is_emulated:
            raise PoolInvalid(f"There is a machine named {declared.name}. Give the declared node another name.")
        # What is reserved stays reserved, and what an administrator has set besides stays set.
        Node.objects.filter(pk=node.pk).update(
            memory_bytes=max(declared.memory_bytes, node.used_memory_bytes),
            cpu_millis=declared.cpu_millis,
            labels={**node.labels, **dict(declared.labels)},
            taints={**node.taints, **dict(declared.taints)},
            seen_at=clock.now(),
        )
        write_devices(node, declared.devices)
        for digest in declared.weights:
            NodeWeights.objects.get_or_create(node=node, digest=digest)
    undeclared = Node.objects.filter(is_emulated=True).exclude(name__in=[node.name for node in pool.nodes])
    undeclared.filter(reservations=None).delete()
    undeclared.filter(is_drained=False).update(is_drained=True, drained_why="It is not declared in the pool any more.")


def write_devices(node: Node, found: Iterable[FoundDevice]) -> None:
    """Make the devices of ``node``, which the caller has locked, those that were found; what has vanished takes nothing
    new, and goes on being held by whoever holds it."""
    known = {device.vendor_id: device for device in node.devices.select_for_update().order_by("pk")}
    present = []
    for device in found:
        present.append(device.vendor_id)
        row = known.get(device.vendor_id) or Device(node=node, vendor_id=device.vendor_id)
        row.kind, row.name, row.is_present = device.kind, device.name, True
        row.memory_bytes = max(device.memory_bytes, row.used_memory_bytes)
        row.save()
    node.devices.exclude(vendor_id__in=present).filter(is_present=True).update(is_present=False)


def _node(name: str, table: Mapping[str, Any], where: str) -> DeclaredNode:
    return DeclaredNode(
        name=name,
        memory_bytes=_size(table.get("memory"), f"{where}.memory"),
        cpu_millis=1000 * _whole(table.get("cpus"), f"{where}.cpus", most=4096),
        devices=tuple(_devices(name, table.get("gpus"), f"{where}.gpus")),
        labels=_pairs(table.get("labels"), f"{where}.labels"),
        taints=_pairs(table.get("taints"), f"{where}.taints"),
        weights=tuple(_text(item, f"{where}.weights") for item in _list(table.get("weights"), f"{where}.weights")),
    )


def _devices(node: str, value: object, where: str) -> Iterator[FoundDevice]:
    number = 0
    for index, entry in enumerate(_list(value, where)):
        table = _table(entry, f"{where}[{index}]", _GPU_KEYS)
        mig = table.get("mig")
        name = _text(table.get("name"), f"{where}[{index}].name")
        for _ in range(_whole(table.get("count", 1), f"{where}[{index}].count", most=64)):
            yield FoundDevice(
                kind=WHOLE if mig is None else SLICE,
                vendor_id=f"emulated-{node}-{number}",
                name=name if mig is None else f"{name} MIG {_text(mig, f'{where}[{index}].mig')}",
                memory_bytes=_size(table.get("memory"), f"{where}[{index}].memory"),
            )
            number += 1


def _names(pattern: str) -> list[str]:
    """``gpu-{1..4}`` is four names."""
    found = _RANGE.search(pattern)
    if found is None:
        return [pattern]
    first, last = int(found[1]), int(found[2])
    return [f"{pattern[: found.start()]}{number}{pattern[found.end() :]}" for number in range(first, last + 1)]


def _table(value: object, where: str, known: frozenset[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise PoolInvalid(f"{where} must be a mapping of keys to values.")
    unknown = sorted(str(key) for key in value if key not in known)
    if unknown:
        raise PoolInvalid(f"{where}: there is no key {unknown[0]}. The keys are {', '.join(sorted(known))}.")
    return value


def _list(value: object, where: str) -> list[Any]:
    if value is not None and not isinstance(value, list):
        raise PoolInvalid(f"{where} must be a list.")
    return value or []


def _text(value: object, where: str) -> str:
    if not isinstance(value, str) or not 1 <= len(value) <= 100:
        raise PoolInvalid(f"{where} must be text of 1 to 100 characters.")
    return value


def _whole(value: object, where: str, *, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most:
        raise PoolInvalid(f"{where} must be a whole number from 1 to {most}.")
    return value


def _size(value: object, where: str) -> int:
    found = _SIZE.fullmatch(str(value).strip())
    if isinstance(value, bool) or found is None or not int(found[1]):
        raise PoolInvalid(f"{where} must be a size such as 80g or 512m.")
    return int(found[1]) * _UNITS[(found[2] or "").lower()]


def _pairs(value: object, where: str) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise PoolInvalid(f"{where} must be a mapping of names to values.")
    return tuple(sorted((_text(name, where), _text(str(text), where)) for name, text in value.items()))
