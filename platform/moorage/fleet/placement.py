"""Where a replica goes: what it needs, what nodes have, and the answer with its reason. Values; ``decision`` decides.

Memory and devices are never oversold. CPU time is shared: a replica must fit a node's CPUs alone, and nodes with idle
CPUs are preferred, but a busy node is no reason to refuse.
"""

import dataclasses
from typing import Any, Final, Literal

RefusalCode = Literal[
    "no_nodes",
    "no_node_matches",
    "too_little_memory",
    "too_few_cpus",
    "too_few_devices",
    "devices_too_small",
    "nodes_full",
    "others_first",
]
Policy = Literal["pack", "spread"]
Priority = Literal["low", "normal", "high"]
#: How far a replica that nobody calls is from giving its room back.
Quiet = Literal["awake", "asleep", "leaving"]

GIB: Final = 1024**3
PRIORITIES: Final[dict[Priority, int]] = {"low": 0, "normal": 1, "high": 2}
#: A node with this taint takes one organization's replicas alone, and they need not ask for it.
ORGANIZATION_TAINT: Final = "organization"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Demand:
    """What one replica needs."""

    memory_bytes: int
    cpu_millis: int
    gpus: int = 0  #: whole devices, of one kind and one node
    is_all_gpus: bool = False  #: every device of a node, whatever ``gpus`` says
    gpu_memory_bytes: int = 0  #: that each of them must have
    gpu_total_bytes: int = 0  #: that they must have together, in equal parts
    gpu_share_bytes: int = 0  #: instead of whole devices: so much of one
    heads: int = 0  #: a number that the count of devices must divide, as tensor parallelism wants; 0: any count does
    priority: int = PRIORITIES["normal"]
    labels: tuple[tuple[str, str], ...] = ()  #: that its node must have
    digest: str = ""  #: of its weights
    organization_id: str = ""

    @property
    def wants_device(self) -> bool:
        """Whether it takes a device or a share of one."""
        return bool(self.gpus or self.is_all_gpus or self.gpu_share_bytes)

    def each_device_needs(self, count: int) -> int:
        """Bytes that each of ``count`` devices must have."""
        return max(self.gpu_memory_bytes, -(-self.gpu_total_bytes // count))

    def can_use(self, count: int) -> bool:
        """Whether the model can be spread over ``count`` devices in equal parts."""
        return not self.heads or self.heads % count == 0

    def to_json(self) -> dict[str, Any]:
        """JSON types only."""
        return dataclasses.asdict(self)

    @classmethod
    def from_json(cls, document: dict[str, Any]) -> "Demand":
        """The inverse of to_json."""
        labels = tuple((str(name), str(value)) for name, value in document.get("labels", ()))
        return cls(**{**document, "labels": labels})


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceState:
    """One device that no replica holds whole."""

    device_id: str
    memory_bytes: int
    name: str = ""
    is_slice: bool = False  #: a MIG instance, which no model spans two of
    used_memory_bytes: int = 0  #: in shares
    organization_id: str = ""  #: whose the shares are

    @property
    def free_bytes(self) -> int:
        """Memory that no share holds."""
        return self.memory_bytes - self.used_memory_bytes


@dataclasses.dataclass(frozen=True, kw_only=True)
class DeviceKind:
    """So many equal devices of one node, free or not: what it could hold if it were empty."""

    name: str
    memory_bytes: int
    count: int
    is_slice: bool = False


@dataclasses.dataclass(frozen=True, kw_only=True)
class NodeState:
    """One node, as it is now."""

    node_id: str
    name: str
    memory_bytes: int
    used_memory_bytes: int
    cpu_millis: int
    used_cpu_millis: int
    is_drained: bool = False
    is_seen: bool = True  #: it has reported itself lately
    kinds: tuple["DeviceKind", ...] = ()  #: every device that is there, free or not
    free_devices: tuple[DeviceState, ...] = ()
    shared_devices: tuple[DeviceState, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    taints: tuple[tuple[str, str], ...] = ()
    digests: frozenset[str] = frozenset()

    @property
    def free_memory_bytes(self) -> int:
        """Memory that no replica has reserved."""
        return self.memory_bytes - self.used_memory_bytes

    @property
    def device_count(self) -> int:
        """Devices that are there; slices are none."""
        return sum(kind.count for kind in self.kinds if not kind.is_slice)

    @property
    def is_open(self) -> bool:
        """Whether it takes anything new."""
        return self.is_seen and not self.is_drained

    def keeps_out(self, demand: Demand) -> str:
        """What of its labels and taints stands against ``demand``, as ``name=value``; empty: nothing."""
        has = dict(self.labels)
        for name, value in demand.labels:
            if has.get(name) != value and (name, value) not in self.taints:
                return f"{name}={value}"
        for name, value in self.taints:
            is_its_own = name == ORGANIZATION_TAINT and value == demand.organization_id
            if not is_its_own and (name == ORGANIZATION_TAINT or (name, value) not in demand.labels):
                return f"{name}={value}"
        return ""


@dataclasses.dataclass(frozen=True, kw_only=True)
class IdleReplica:
    """A replica nobody calls, and what putting it away gives back."""

    replica_id: str
    node_id: str
    memory_bytes: int
    priority: int
    is_asleep: bool = False  #: frozen: it may make room for its equals too
    is_leaving: bool = False  #: it is on its way out already: whoever waits for its room puts nobody else away
    devices: tuple[DeviceState, ...] = ()  #: that it holds whole
    shares: tuple[tuple[str, int], ...] = ()  #: (device id, bytes) that it holds of devices


@dataclasses.dataclass(frozen=True, kw_only=True)
class Placement:
    """A yes: where, on which devices, and why there."""

    node_id: str
    device_ids: tuple[str, ...]
    why: str
    share_bytes: int = 0  #: of the one device; 0: the devices whole
    preempts: tuple[str, ...] = ()  #: replicas that must be put away first


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """A no: a code to branch on, and a sentence that says what would fit."""

    reason_code: RefusalCode
    sentence: str
