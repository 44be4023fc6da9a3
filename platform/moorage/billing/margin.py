"""Revenue, cost of devices and margin of a month in one currency, by organization, model and device class. Pure, whole
pico-units.

Revenue is rated usage. What tokens earned is shared among the device classes that the deployment ran on, by their
seconds; where none ran it belongs to no class. Cost is replica seconds at what a second of the class costs. Devices
cost while nobody runs on them too: that is idle cost, charged to nobody and shown as its own line. Whatever is shared
adds up to what was there: the largest remainders get the last pico. Nothing is converted: where a cost is declared in
another currency than the revenue's alone, it is unknown here, and so is the margin.
"""

import dataclasses
from collections.abc import Callable, Iterable, Sequence

from moorage.kernel.currencies import USD


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Earned:
    """What one model of one deployment earned; ``device_class`` None: tokens, earned on whatever it ran on."""

    organization_id: str
    deployment_id: str
    served_name: str
    pico: int
    device_class: str | None = None


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Ran:
    """How long replicas of one model of one deployment ran on a device class, and what that cost."""

    organization_id: str
    deployment_id: str
    served_name: str
    device_class: str
    seconds: int
    cost_pico: int
    #: False: what it costs is declared in other currencies alone.
    is_cost_known: bool = True


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Stood:
    """How long the devices of a class were there altogether, and what that cost."""

    device_class: str
    seconds: int
    cost_pico: int


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of a table. The names that a table does not tell apart are empty."""

    organization_id: str = ""
    served_name: str = ""
    device_class: str = ""
    seconds: int = 0
    revenue_pico: int = 0
    #: What is known of it.
    cost_pico: int = 0
    is_cost_known: bool = True
    #: What the amounts are in.
    currency: str = USD

    @property
    def margin_pico(self) -> int:
        """What is left, where the cost is known."""
        return self.revenue_pico - self.cost_pico


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Margin:
    """The month: every combination, the same by one of the three, what stood idle, and the total of all of it."""

    rows: tuple[Row, ...]
    by_organization: tuple[Row, ...]
    by_model: tuple[Row, ...]
    by_device_class: tuple[Row, ...]
    #: Cost of devices on which nothing ran, by class.
    idle: tuple[Row, ...]
    total: Row


def share(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """``total`` in parts like ``weights`` (none negative), which add up to it: by largest remainder, of equal ones the
    earlier. Weights of nothing share evenly."""
    if not weights:
        return ()
    if total < 0:
        return tuple(-part for part in share(-total, weights))
    even = weights if any(weights) else [1] * len(weights)
    whole = sum(even)
    parts = [total * weight // whole for weight in even]
    by_remainder = sorted(range(len(even)), key=lambda index: (-(total * even[index] % whole), index))
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return tuple(parts)


def devices_of(device_class: str) -> tuple[tuple[str, int], ...]:
    """The devices that a class names, with how many of each: ``2 x NVIDIA H200 + NVIDIA L4``."""
    found = []
    for part in device_class.split(" + "):
        count, separator, name = part.partition(" x ")
        is_counted = bool(separator) and count.isascii() and count.isdecimal()
        found.append((name, int(count)) if is_counted else (part, 1))
    return tuple(found)


def build(
    *,
    earned: Iterable[Earned],
    ran: Iterable[Ran],
    stood: Iterable[Stood] = (),
    busy: Iterable[Ran] | None = None,
    currency: str = USD,
) -> Margin:
    """The tables of a month in ``currency``: ``earned`` and ``ran`` are of those who pay in it; ``busy`` is all that
    ran on the devices of ``stood``, whoever's it was, at what these cost (None: ``ran``)."""
    times = list(ran)
    rows = [
        Row(
            organization_id=one.organization_id,
            served_name=one.served_name,
            device_class=one.device_class,
            seconds=one.seconds,
            cost_pico=one.cost_pico,
            is_cost_known=one.is_cost_known,
        )
        for one in times
    ]
    for one in earned:
        rows.extend(_placed(one, times))
    rows = [dataclasses.replace(row, currency=currency) for row in rows]
    finest = _summed(rows, lambda row: (row.organization_id, row.served_name, row.device_class))
    idle = tuple(
        dataclasses.replace(row, currency=currency) for row in _idle(stood, times if busy is None else list(busy))
    )
    total = _sum([*finest, *idle], Row(currency=currency))
    return Margin(
        rows=finest,
        by_organization=_summed(finest, lambda row: (row.organization_id, "", "")),
        by_model=_summed(finest, lambda row: ("", row.served_name, "")),
        by_device_class=_summed(finest, lambda row: ("", "", row.device_class)),
        idle=idle,
        total=total,
    )


def _placed(earned: Earned, times: Sequence[Ran]) -> list[Row]:
    """What was earned, on the device classes that it was earned on."""
    seconds: dict[str, int] = {}
    if earned.device_class is not None:
        seconds[earned.device_class] = 1
    else:
        for one in times:
            same = (one.organization_id, one.deployment_id, one.served_name)
            if same == (earned.organization_id, earned.deployment_id, earned.served_name):
                seconds[one.device_class] = seconds.get(one.device_class, 0) + one.seconds
    seconds = seconds or {"": 1}
    classes = sorted(seconds)
    parts = share(earned.pico, [seconds[one] for one in classes])
    return [
        Row(
            organization_id=earned.organization_id,
            served_name=earned.served_name,
            device_class=device_class,
            revenue_pico=pico,
        )
        for device_class, pico in zip(classes, parts, strict=True)
    ]


def _idle(stood: Iterable[Stood], times: Sequence[Ran]) -> tuple[Row, ...]:
    """Device seconds that stood less those that ran, and the same of what they cost, by device.
    Where more ran than stood (a device was added late to the books) nothing was idle."""
    used: dict[str, int] = {}
    for one in times:
        for name, count in devices_of(one.device_class):
            used[name] = used.get(name, 0) + one.seconds * count
    spent: dict[str, int] = {}
    for one in times:
        devices = devices_of(one.device_class)
        parts = share(one.cost_pico, [count for _, count in devices])
        for (name, _), pico in zip(devices, parts, strict=True):
            spent[name] = spent.get(name, 0) + pico
    found = []
    for there in sorted(stood, key=lambda there: there.device_class):
        seconds = max(there.seconds - used.get(there.device_class, 0), 0)
        pico = max(there.cost_pico - spent.get(there.device_class, 0), 0)
        if seconds or pico:
            found.append(Row(device_class=there.device_class, seconds=seconds, cost_pico=pico))
    return tuple(found)


def _summed(rows: Iterable[Row], key: Callable[[Row], tuple[str, str, str]]) -> tuple[Row, ...]:
    groups: dict[tuple[str, str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault(key(row), []).append(row)
    summed = [
        _sum(
            found,
            Row(organization_id=names[0], served_name=names[1], device_class=names[2], currency=found[0].currency),
        )
        for names, found in groups.items()
    ]
    return tuple(
        sorted(summed, key=lambda row: (-row.revenue_pico, row.organization_id, row.served_name, row.device_class))
    )


def _sum(rows: Iterable[Row], names: Row) -> Row:
    seconds = revenue = cost = 0
    is_known = True
    for row in rows:
        is_known = is_known and row.is_cost_known
        seconds, revenue, cost = seconds + row.seconds, revenue + row.revenue_pico, cost + row.cost_pico
    return dataclasses.replace(names, seconds=seconds, revenue_pico=revenue, cost_pico=cost, is_cost_known=is_known)
