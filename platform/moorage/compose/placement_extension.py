"""`x-moorage` of a model: a share of one GPU (`gpu_memory`), who goes first (`priority`), which nodes (`node`)."""

import re
from collections.abc import Mapping as Table
from typing import Final

from moorage.compose import fields
from moorage.compose.problems import Report, join, shown
from moorage.compose.spec import Gpus, PlacementSpec, Priority
from moorage.compose.yaml_nodes import Entry, Node, Scalar

MIB: Final = 1024**2
MIN_SHARE, MAX_SHARE = 256 * MIB, 1024 * 1024 * MIB
MAX_NODE_LABELS = 8
PRIORITIES: Final[Table[str, Priority]] = {"low": "low", "normal": "normal", "high": "high"}

#: As Docker and Compose write sizes: b, k, m, g, with or without a second b, in powers of 1024.
_SIZE: Final = re.compile(r"([0-9]{1,15})(?:\.([0-9]))?([kmgt]?)i?b?", re.I)
_UNITS: Final = {"": 1, "k": 1024, "m": MIB, "g": 1024 * MIB, "t": 1024 * 1024 * MIB}
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?")


def read_placement(placed: Table[str, tuple[str, Entry]], gpus: Gpus | None, report: Report) -> PlacementSpec:
    """What a model says of its place. ``gpus`` is what it says of whole GPUs, which a share is not."""
    share = priority = None
    labels: tuple[tuple[str, str], ...] = ()
    if "gpu_memory" in placed:
        path, entry = placed["gpu_memory"]
        share = _read_size(entry.value, path, report)
        if gpus is not None and gpus != 1:
            report.error(
                path,
                entry.key_at,
                f"gpu_memory is a share of one GPU, and gpus says {gpus}. Remove one: gpu_memory for whole GPUs.",
            )
    if "priority" in placed:
        path, entry = placed["priority"]
        written = fields.text(entry.value, path, report)
        if written is not None and written not in PRIORITIES:
            report.error(path, entry.value.at, f"There is no priority {shown(written)}. Write low, normal or high.")
        priority = PRIORITIES.get(written or "")
    if "node" in placed:
        path, entry = placed["node"]
        table = fields.mapping(entry.value, path, report)
        if table is not None:
            hints = {"name": "Moorage chooses the node. Ask for what it must have with labels."}
            fields.refuse_unknown(table.entries, ("labels",), path, report, hints)
            if "labels" in table.entries:
                labels = _read_labels(table.entries["labels"].value, join(path, "labels"), report)
    return PlacementSpec(gpu_memory_bytes=share, priority=priority or "normal", node_labels=labels)


def _read_size(node: Node, path: str, report: Report) -> int | None:
    found = _SIZE.fullmatch(node.text) if isinstance(node, Scalar) and node.kind != "null" else None
    if found is not None:
        size = (int(found[1]) * 10 + int(found[2] or 0)) * _UNITS[found[3].lower()] // 10
        if MIN_SHARE <= size <= MAX_SHARE:
            # Whole MiB, as memory is reserved.
            return -(-size // MIB) * MIB
    report.error(path, node.at, "This must be a size such as 20g or 512m, from 256m to 1t.")
    return None


def _read_labels(node: Node, path: str, report: Report) -> tuple[tuple[str, str], ...]:
    found = fields.pairs(node, path, report)
    if len(found) > MAX_NODE_LABELS:
        report.error(path, node.at, f"There are more than {MAX_NODE_LABELS} labels. Keep those that decide.")
    for name, (value, at) in found.items():
        if not _LABEL.fullmatch(name) or not _LABEL.fullmatch(value.lower()):
            report.error(
                join(path, name),
                at,
                "A node's label and its value are 1 to 63 letters, digits, dots, dashes, slashes and underscores.",
            )
    return tuple(sorted((name, value) for name, (value, _) in found.items()))
