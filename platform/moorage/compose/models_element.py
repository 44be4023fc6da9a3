"""The `models` element: official fields, the older dialect's, and `x-moorage` -> ModelSpecs."""

import re
from collections.abc import Mapping as Table

from moorage.compose import (
    fields,
    flags,
    model_extension,
    placement_extension,
    reference,
    scale_extension,
    sleep_extension,
    update_extension,
)
from moorage.compose.problems import Position, Report, join, listed, shown
from moorage.compose.spec import Driver, Flag, Gpus, HealthSpec, ModelSpec, ScaleSpec, SleepSpec, UpdateSpec
from moorage.compose.yaml_nodes import Entry, Mapping, Node, Scalar

MIN_CONTEXT, MAX_CONTEXT = 128, 1_048_576
MAX_MODELS = 32

EXAMPLE = "models:\n  llm:\n    model: ai/smollm2:360M-Q4_K_M"
NO_MODELS = f"The file declares no models, so there is nothing to run. Add at least:\n{EXAMPLE}"

DRIVERS: Table[str, Driver] = {"llama.cpp": "llamacpp", "llamacpp": "llamacpp", "llama-cpp": "llamacpp", "vllm": "vllm"}

_KEY = re.compile(r"[a-zA-Z0-9._-]{1,63}")
_SERVED_NAME = re.compile(r"[A-Za-z0-9._/-]{1,120}")
_OFFICIAL = ("model", "name", "context_size", "runtime_flags")
# Keys of the older dialect stand in the model itself; written under x-moorage, Docker Compose accepts the file too.
_BOTH_PLACES = ("driver", "gpus", "healthcheck")
_EXTENSION = (*_BOTH_PLACES, "gpu_memory", "priority", "node", "scale", "update", "environment", "labels")
_HINTS = {
    "backend": "There is no key 'backend' here. Write driver: llama.cpp or driver: vllm.",
    "image": "There is no key 'image' in a model. Write the reference as model.",
    "replicas": "There is no key 'replicas' here. Write x-moorage: {scale: {min: 1, max: 2}}.",
    "scale": "There is no key 'scale' here. Write it under x-moorage.",
    "deploy": "There is no key 'deploy' in a model. Write gpus, and x-moorage: {scale: …} for replicas.",
    "update": "There is no key 'update' in a model. Write it under x-moorage.",
    "gpu_memory": "There is no key 'gpu_memory' in a model. Write it under x-moorage.",
    "priority": "There is no key 'priority' in a model. Write it under x-moorage.",
    "node": "There is no key 'node' in a model. Write it under x-moorage.",
    "environment": "There is no key 'environment' in a model. Write it under x-moorage.",
    "labels": "There is no key 'labels' in a model. Write it under x-moorage.",
    "quantization": "There is no key 'quantization' here. Choose it with the tag in model.",
    "keep_alive": "There is no key 'keep_alive' here. Write x-moorage: {scale: {idle: 5m}}.",
}


def read_models(node: Node, report: Report) -> dict[str, ModelSpec | None]:
    """Every declared key with its model, or None where the model has errors, which are reported."""
    table = fields.mapping(node, "models", report)
    if table is None:
        return {}
    if len(table.entries) > MAX_MODELS:
        report.error("models", node.at, f"There are more than {MAX_MODELS} models. Split the file.")
        return dict.fromkeys(table.entries)
    return {key: _read_entry(key, entry, report) for key, entry in table.entries.items()}


def _read_entry(key: str, entry: Entry, report: Report) -> ModelSpec | None:
    path = join("models", key)
    if not _KEY.fullmatch(key):
        report.error(
            path, entry.key_at, "A model's key is 1 to 63 letters, digits, dots, dashes and underscores. Rename it."
        )
        return None
    if isinstance(entry.value, Scalar) and entry.value.kind == "string":
        # The shorthand `llm: ai/smollm2`.
        table = Mapping(at=entry.value.at, entries={"model": entry})
        return read_model(key, path, entry.key_at, table, report, names={"model": ""})
    mapping = fields.mapping(entry.value, path, report)
    if mapping is None:
        return None
    fields.refuse_unknown(mapping.entries, (*_OFFICIAL, *_BOTH_PLACES, "x-moorage"), path, report, _HINTS)
    return read_model(key, path, entry.key_at, mapping, report)


def read_model(
    key: str, path: str, at: Position, table: Mapping, report: Report, *, names: Table[str, str] | None = None
) -> ModelSpec | None:
    """One model from its fields. `names` says how fields are spelled where `path` is not a model of `models`."""
    spelled = names or {}

    def place(field: str) -> str:
        name = spelled.get(field, field)
        return join(path, name) if name else path

    values = {field: entry.value for field, entry in table.entries.items()}
    extension = _read_extension(table, path, report)
    if "model" not in values:
        report.error(path, at, "The key 'model' is missing. Add a reference, such as model: ai/smollm2:360M-Q4_K_M.")
    found = _read_reference(values["model"], place("model"), report) if "model" in values else None
    name = _read_name(values["name"], place("name"), report) if "name" in values else None
    context = values.get("context_size")
    context_size = (
        fields.integer(context, place("context_size"), report, low=MIN_CONTEXT, high=MAX_CONTEXT) if context else None
    )
    driver = _read_driver(extension["driver"], report) if "driver" in extension else None
    gpus = _read_gpus(extension, report)
    placement = placement_extension.read_placement(extension, gpus, report)
    if placement.gpu_memory_bytes is not None:
        gpus = None  # a share is of one GPU, whether that is said or not
    chosen = (
        _read_flags(values["runtime_flags"], place("runtime_flags"), driver, report)
        if "runtime_flags" in values
        else ()
    )
    _check_parallel(chosen, 1 if placement.gpu_memory_bytes else gpus, place("runtime_flags"), at, report)
    return None if found is None else ModelSpec(
        key=key,
        reference=found,
        name=name,
        driver=driver,
        context_size=context_size,
        flags=chosen,
        gpus=gpus,
        placement=placement,
        health=_read_health(extension, report),
        scale=_read_scale(extension, report),
        sleep=_read_sleep(extension, report),
        update=_read_update(extension, report),
        environment=_read_pairs(extension, "environment", report),
        labels=_read_pairs(extension, "labels", report),
    )  # fmt: skip


_Placed = tuple[str, Entry]


def _read_extension(table: Mapping, path: str, report: Report) -> dict[str, _Placed]:
    """Dialect keys and x-moorage keys with their paths; a key in both places is an error."""
    found: dict[str, _Placed] = {
        key: (join(path, key), table.entries[key]) for key in _BOTH_PLACES if key in table.entries
    }
    if "x-moorage" not in table.entries:
        return found
    inside = join(path, "x-moorage")
    extension = fields.mapping(table.entries["x-moorage"].value, inside, report)
    for key, entry in (extension.entries if extension else {}).items():
        place = join(inside, key)
        if key not in _EXTENSION:
            fields.refuse(key, entry, _EXTENSION, inside, report)
        elif key in found:
            report.error(place, entry.key_at, f"{key} is given in the model and again under x-moorage. Keep one.")
        else:
            found[key] = (place, entry)
    return found


def _read_reference(node: Node, path: str, report: Report) -> str | None:
    written = fields.text(node, path, report)
    if written is None:
        return None
    try:
        return reference.canonical(written)
    except reference.BadReference as error:
        report.error(path, node.at, str(error))
        return None


def _read_name(node: Node, path: str, report: Report) -> str | None:
    name = fields.text(node, path, report)
    if name is None:
        return None
    if not _SERVED_NAME.fullmatch(name) or name.startswith("/") or name.endswith("/") or "//" in name:
        report.error(
            path,
            node.at,
            f"{shown(name)} cannot be a served name: use up to 120 letters, digits, dots, dashes, _ and /.",
        )
        return None
    return name


def _read_driver(placed: _Placed, report: Report) -> Driver | None:
    path, entry = placed
    written = fields.text(entry.value, path, report)
    if written is None:
        return None
    if written not in DRIVERS:
        report.error(path, entry.value.at, f"There is no driver {shown(written)}. Write one of {listed(DRIVERS)}.")
    return DRIVERS.get(written)


def _read_flags(node: Node, path: str, driver: Driver | None, report: Report) -> tuple[Flag, ...]:
    # The provider form has one shell string where the models element has a list.
    items = (node,) if isinstance(node, Scalar) and node.kind == "string" else fields.sequence(node, path, report)
    # A bare number is the value of the flag before it: `- --seed` and `- 7`.
    usable = []
    for index, item in enumerate(items):
        if isinstance(item, Scalar) and item.kind != "null":
            usable.append(item)
        else:
            report.error(join(path, index), item.at, "Each flag must be text, such as --seed 7.")
    reading = flags.read([item.text for item in usable], driver)
    for problem in reading.problems:
        at = usable[problem.item].at if usable else node.at
        tell = report.error if problem.severity == "error" else report.warning
        tell(path + problem.suffix, at, problem.message)
    for name, index in reading.items.items():
        report.lines[f"{path}[{name}]"] = usable[index].at.line
    return reading.flags


def _read_gpus(extension: Table[str, _Placed], report: Report) -> Gpus | None:
    if "gpus" not in extension:
        return None
    path, entry = extension["gpus"]
    return model_extension.read_gpus(entry.value, path, report)


def _read_health(extension: Table[str, _Placed], report: Report) -> HealthSpec | None:
    if "healthcheck" not in extension:
        return None
    path, entry = extension["healthcheck"]
    return model_extension.read_health(entry.value, path, report)


def _read_scale(extension: Table[str, _Placed], report: Report) -> ScaleSpec:
    if "scale" not in extension:
        return ScaleSpec()
    path, entry = extension["scale"]
    return scale_extension.read_scale(entry.value, path, report)


def _read_sleep(extension: Table[str, _Placed], report: Report) -> SleepSpec:
    if "scale" not in extension:
        return SleepSpec()
    path, entry = extension["scale"]
    if not isinstance(entry.value, Mapping) or "sleep" not in entry.value.entries:
        return SleepSpec()
    return sleep_extension.read_sleep(entry.value.entries["sleep"].value, join(path, "sleep"), report)


def _read_update(extension: Table[str, _Placed], report: Report) -> UpdateSpec:
    if "update" not in extension:
        return UpdateSpec()
    path, entry = extension["update"]
    return update_extension.read_update(entry.value, path, report)


def _read_pairs(extension: Table[str, _Placed], key: str, report: Report) -> tuple[tuple[str, str], ...]:
    if key not in extension:
        return ()
    path, entry = extension[key]
    read = model_extension.read_environment if key == "environment" else model_extension.read_labels
    return read(entry.value, path, report)


def _check_parallel(chosen: tuple[Flag, ...], gpus: Gpus | None, path: str, at: Position, report: Report) -> None:
    """vLLM's parallel sizes multiply to the GPUs it takes; more than were asked for never starts."""
    sizes = {flag.name: flag.value for flag in chosen if flag.name.endswith("-parallel-size")}
    product = 1
    for value in sizes.values():
        product *= int(value) if value and value.isdigit() else 1
    if isinstance(gpus, int) and sizes and product > max(gpus, 1):
        message = f"These flags spread the model over {product} GPUs, but gpus says {gpus}. Make them agree."
        report.error(path, at, message)
