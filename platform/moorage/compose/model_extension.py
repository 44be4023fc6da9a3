"""What Compose has no word for, per model: GPUs, probing, engine environment, labels (`x-moorage`)."""

import re

from moorage.compose import fields
from moorage.compose.problems import Report, join, listed, shown
from moorage.compose.spec import Gpus, HealthSpec
from moorage.compose.yaml_nodes import Node, Scalar, Sequence

MAX_GPUS = 16
MAX_LABELS = 32

# Everything else is refused: engines read dozens of variables, and VLLM_*, LD_*, HF_*, CUDA_* or LLAMA_ARG_* would
# undo the flags' allow-list.
ENVIRONMENT: dict[str, re.Pattern[str]] = {
    "LANG": re.compile(r"[A-Za-z]{1,3}(?:_[A-Z]{2})?(?:\.[A-Za-z0-9-]{1,10})?"),
    "MALLOC_ARENA_MAX": re.compile(r"[1-9][0-9]{0,2}"),
    "OMP_NUM_THREADS": re.compile(r"[1-9][0-9]{0,2}"),
    "TOKENIZERS_PARALLELISM": re.compile(r"true|false"),
    "TZ": re.compile(r"[A-Za-z]{1,32}(?:/[A-Za-z0-9_+-]{1,32}){0,2}"),
}

_LABEL = re.compile(r"[a-z0-9](?:[a-z0-9._/-]{0,61}[a-z0-9])?")
_RESERVED_LABELS = ("moorage", "com.docker", "io.docker", "org.dockerproject", "org.opencontainers")
_GPU_CAPABILITIES = frozenset({"gpu", "nvidia", "compute", "utility"})


def read_gpus(node: Node, path: str, report: Report) -> Gpus | None:
    """`all`, a number, or the list that Compose services have; devices are chosen by the platform."""
    if isinstance(node, Sequence):
        return _read_gpu_list(node, path, report)
    if isinstance(node, Scalar) and node.text == "all":
        return "all"
    if isinstance(node, Scalar) and fields.is_null(node):
        return None
    if isinstance(node, Scalar) and node.kind in ("string", "integer"):
        return fields.integer(node, path, report, low=0, high=MAX_GPUS)
    report.error(path, node.at, "This must be a number of GPUs, the word all, or a list with count.")
    return None


def _read_gpu_list(node: Sequence, path: str, report: Report) -> Gpus | None:
    if len(node.items) != 1:
        report.error(path, node.at, "Ask for GPUs with one list item, such as count: 1.")
        return None
    place = join(path, 0)
    request = fields.mapping(node.items[0], place, report)
    if request is None:
        return None
    hints = {"device_ids": "Moorage chooses the devices. Remove device_ids and write count."}
    fields.refuse_unknown(request.entries, ("count", "capabilities", "driver", "options"), place, report, hints)
    for key in ("driver", "options"):
        if key in request.entries:
            report.warning(join(place, key), request.entries[key].key_at, "Moorage sets this itself and ignores it.")
    if "capabilities" in request.entries:
        inside = join(place, "capabilities")
        for index, item in enumerate(fields.sequence(request.entries["capabilities"].value, inside, report)):
            capability = fields.text(item, join(inside, index), report)
            if capability is not None and capability not in _GPU_CAPABILITIES:
                report.error(
                    join(inside, index), item.at, f"GPUs are for computing here. Write {listed(_GPU_CAPABILITIES)}."
                )
    if "count" not in request.entries:
        return "all"
    return read_gpus(request.entries["count"].value, join(place, "count"), report)


def read_health(node: Node, path: str, report: Report) -> HealthSpec | None:
    """Intervals, timeouts and retries of the platform's own probe; a `test` of the file's is never run."""
    table = fields.mapping(node, path, report)
    if table is None:
        return None
    known = ("interval", "timeout", "retries", "start_period", "test", "disable", "start_interval")
    fields.refuse_unknown(table.entries, known, path, report, {})
    values: dict[str, int | None] = {}
    for key, entry in table.entries.items():
        place = join(path, key)
        match key:
            case "interval" | "timeout":
                values[f"{key}_seconds"] = fields.seconds(entry.value, place, report, low=1, high=3600)
            case "start_period":
                values["start_period_seconds"] = fields.seconds(entry.value, place, report, low=0, high=7200)
            case "retries":
                values["retries"] = fields.integer(entry.value, place, report, low=1, high=100)
            case "test" | "disable" | "start_interval":
                report.warning(place, entry.key_at, "Moorage probes the model with a real request and ignores this.")
    return HealthSpec(**values) if any(value is not None for value in values.values()) else None


def read_environment(node: Node, path: str, report: Report) -> tuple[tuple[str, str], ...]:
    """Variables of the engine's process, from a short allow-list."""
    found = fields.pairs(node, path, report)
    for name, (value, at) in found.items():
        place = join(path, name)
        if name not in ENVIRONMENT:
            report.error(place, at, f"This variable is not yours to set. Allowed are {listed(ENVIRONMENT)}.")
        elif not ENVIRONMENT[name].fullmatch(value):
            report.error(place, at, f"{shown(value)} is not a value that {name} takes here. Correct or remove it.")
    return tuple(sorted((name, value) for name, (value, _) in found.items()))


def read_labels(node: Node, path: str, report: Report) -> tuple[tuple[str, str], ...]:
    """The organization's own labels; the platform's and Docker's prefixes are taken."""
    found = fields.pairs(node, path, report)
    if len(found) > MAX_LABELS:
        report.error(path, node.at, f"There are more than {MAX_LABELS} labels. Keep those you need.")
    for name, (value, at) in found.items():
        place = join(path, name)
        if name.startswith(_RESERVED_LABELS):
            report.error(place, at, "Labels with this beginning are Moorage's and Docker's own. Choose another name.")
        elif not _LABEL.fullmatch(name):
            report.error(place, at, "A label is 1 to 63 of a-z, 0-9, dot, dash, slash and underscore. Rename it.")
        elif len(value) > 255 or not value.isprintable():
            report.error(place, at, "A label's value is one line of at most 255 characters. Shorten it.")
    return tuple(sorted((name, value) for name, (value, _) in found.items()))
