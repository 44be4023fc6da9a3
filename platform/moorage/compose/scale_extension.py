"""`scale` of a model: how many replicas, when fewer, when at least so many."""

import re
import zoneinfo

from moorage.compose import fields
from moorage.compose.problems import Report, join, shown
from moorage.compose.spec import DAYS, DEFAULT_IDLE_SECONDS, ScaleSpec, ScheduleSpec
from moorage.compose.yaml_nodes import Mapping, Node, Scalar, Sequence

MAX_REPLICAS = 64
MAX_IDLE_SECONDS = 7 * 24 * 3600
MAX_DELAY_SECONDS = 3600
MAX_TARGET = 4096
MAX_SCHEDULES = 16

#: `sleep` is read by sleep_extension.py.
_KEYS = ("min", "max", "idle", "warm", "target", "down_delay", "schedule", "sleep")
_HINTS = {
    "replicas": "Write min and max instead of replicas.",
    "cooldown": "Write down_delay instead of cooldown.",
    "concurrency": "Write target instead of concurrency.",
}
_SCHEDULE_KEYS = ("days", "from", "to", "timezone", "min")
_SCHEDULE_HINTS = {
    "cron": "There are no cron expressions here. Write days, from and to.",
    "tz": "Write timezone instead of tz.",
    "max": "A schedule has no max: it raises min only. Write max in scale.",
}
_TIME = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])|(24):(00)")
_DAYS_WORDS = {"daily": DAYS, "weekdays": DAYS[:5], "weekend": DAYS[5:]}
_BAD_DAYS = "{} are no days. Write daily, weekdays, weekend, or days such as mon-fri or [sat, sun]."


def read_scale(node: Node, path: str, report: Report) -> ScaleSpec:
    """All but `sleep`; what is not given keeps its default."""
    table = fields.mapping(node, path, report)
    if table is None:
        return ScaleSpec()
    fields.refuse_unknown(table.entries, _KEYS, path, report, _HINTS)

    def whole(key: str, low: int, high: int) -> int | None:
        entry = table.entries.get(key)
        return None if entry is None else fields.integer(entry.value, join(path, key), report, low=low, high=high)

    least = whole("min", 0, MAX_REPLICAS) or 0
    most = whole("max", 1, MAX_REPLICAS)
    warm = whole("warm", 0, MAX_REPLICAS) or 0
    schedules: tuple[ScheduleSpec, ...] = ()
    if "schedule" in table.entries:
        schedules = _read_schedules(table.entries["schedule"].value, join(path, "schedule"), report)
    delay = None
    if "down_delay" in table.entries:
        place, value = join(path, "down_delay"), table.entries["down_delay"].value
        delay = fields.seconds(value, place, report, low=0, high=MAX_DELAY_SECONDS)
    most = _most(table, path, report, least=least, most=most, warm=warm, schedules=schedules)
    return ScaleSpec(
        min=least,
        max=most,
        idle_seconds=_read_idle(table, path, report),
        warm=warm,
        target=whole("target", 1, MAX_TARGET),
        down_delay_seconds=delay or 0,
        schedule=schedules,
    )


def _most(
    table: Mapping,
    path: str,
    report: Report,
    *,
    least: int,
    most: int | None,
    warm: int,
    schedules: tuple[ScheduleSpec, ...],
) -> int:
    """max; where it is not given, as many as the others ask for."""
    floors = {"min": least, "warm": warm, "a schedule's min": max((one.min for one in schedules), default=0)}
    if most is None:
        return max(1, least, floors["a schedule's min"], warm + 1 if warm else 1)
    for name, floor in floors.items():
        if most < floor:
            at = table.entries["max"].key_at
            report.error(join(path, "max"), at, f"max is below {name} ({floor}). Raise max or lower {name}.")
            return floor
    return most


def _read_idle(table: Mapping, path: str, report: Report) -> int | None:
    if "idle" not in table.entries:
        return DEFAULT_IDLE_SECONDS
    value = table.entries["idle"].value
    if isinstance(value, Scalar) and value.text == "never":
        return None
    read = fields.seconds(value, join(path, "idle"), report, low=1, high=MAX_IDLE_SECONDS)
    return read or DEFAULT_IDLE_SECONDS


def _read_schedules(node: Node, path: str, report: Report) -> tuple[ScheduleSpec, ...]:
    items = (node,) if isinstance(node, Mapping) else fields.sequence(node, path, report)
    if len(items) > MAX_SCHEDULES:
        report.error(path, node.at, f"There are more than {MAX_SCHEDULES} schedules. Keep those you need.")
        return ()
    single = isinstance(node, Mapping)
    read = [_read_schedule(item, path if single else join(path, index), report) for index, item in enumerate(items)]
    return tuple(one for one in read if one is not None)


def _read_schedule(node: Node, path: str, report: Report) -> ScheduleSpec | None:
    table = fields.mapping(node, path, report)
    if table is None:
        return None
    fields.refuse_unknown(table.entries, _SCHEDULE_KEYS, path, report, _SCHEDULE_HINTS)
    missing = [key for key in ("from", "to", "min") if key not in table.entries]
    if missing:
        report.error(path, node.at, f"A schedule needs from, to and min. Add {missing[0]}.")
        return None
    values = {key: entry.value for key, entry in table.entries.items()}
    days = _read_days(values["days"], join(path, "days"), report) if "days" in values else DAYS
    begin = _read_time(values["from"], join(path, "from"), report, is_end=False)
    end = _read_time(values["to"], join(path, "to"), report, is_end=True)
    zone = _read_zone(values["timezone"], join(path, "timezone"), report) if "timezone" in values else "UTC"
    least = fields.integer(values["min"], join(path, "min"), report, low=1, high=MAX_REPLICAS)
    if days is None or begin is None or end is None or zone is None or least is None:
        return None
    if begin == end:
        sentence = 'from and to are the same. Write from: "00:00" and to: "24:00" for the whole day.'
        report.error(join(path, "to"), values["to"].at, sentence)
        return None
    return ScheduleSpec(days=days, from_minute=begin, to_minute=end, timezone=zone, min=least)


def _read_days(node: Node, path: str, report: Report) -> tuple[str, ...] | None:
    """Days in the order of the week."""
    items = node.items if isinstance(node, Sequence) else (node,)
    found: set[str] = set()
    for item in items:
        written = item.text.lower() if isinstance(item, Scalar) and item.kind == "string" else ""
        for part in written.split(",") if written else [""]:
            days = _days_of(part.strip())
            if not days:
                text = item.text if isinstance(item, Scalar) else ""
                report.error(path, item.at, _BAD_DAYS.format(shown(text) if text else "These"))
                return None
            found.update(days)
    if not found:
        report.error(path, node.at, _BAD_DAYS.format("These"))
        return None
    return tuple(day for day in DAYS if day in found)


def _days_of(word: str) -> tuple[str, ...]:
    """`fri`, `friday`, `fri-mon`; empty for anything else."""
    if word in _DAYS_WORDS:
        return _DAYS_WORDS[word]
    first, dash, last = word.partition("-")
    ends = [_day(name) for name in ((first, last) if dash else (first,))]
    if None in ends:
        return ()
    begin, end = DAYS.index(ends[0] or ""), DAYS.index(ends[-1] or "")
    return DAYS[begin : end + 1] if begin <= end else DAYS[begin:] + DAYS[: end + 1]


def _day(name: str) -> str | None:
    whole = {"mon": "monday", "tue": "tuesday", "wed": "wednesday", "thu": "thursday", "fri": "friday"}
    whole |= {"sat": "saturday", "sun": "sunday"}
    return next((day for day, long in whole.items() if name in (day, long)), None)


def _read_time(node: Node, path: str, report: Report, *, is_end: bool) -> int | None:
    """Minutes after midnight."""
    found = _TIME.fullmatch(node.text) if isinstance(node, Scalar) and node.kind == "string" else None
    if found is not None and (is_end or found[3] is None):
        return int(found[1] or found[3]) * 60 + int(found[2] or found[4])
    last = "24:00" if is_end else "23:59"
    report.error(path, node.at, f'This must be a time of day in quotes from "00:00" to "{last}", such as "08:30".')
    return None


def _read_zone(node: Node, path: str, report: Report) -> str | None:
    written = fields.text(node, path, report)
    if written is None:
        return None
    try:
        zoneinfo.ZoneInfo(written)
    except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
        report.error(path, node.at, f"There is no time zone {shown(written)}. Write one such as Europe/Berlin or UTC.")
        return None
    return written
