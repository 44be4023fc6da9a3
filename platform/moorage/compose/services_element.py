"""The `services` element: only which service uses which model, and the older `provider` way to declare one."""

import re
from collections.abc import Mapping as Table

from moorage.compose import fields, models_element, variable_names
from moorage.compose.problems import Position, Report, join, listed, shown
from moorage.compose.service_keys import IGNORED, READ, REFUSED
from moorage.compose.spec import Binding, ModelSpec
from moorage.compose.yaml_nodes import Entry, Mapping, Node, Scalar, Sequence

MAX_SERVICES = 100

_KEY = re.compile(r"[a-zA-Z0-9._-]{1,63}")
_HOST_PATH = re.compile(r"[./~\\]|[A-Za-z]:[\\/]|\$")
_OPTIONS = {"model": "model", "context-size": "context_size", "runtime-flags": "runtime_flags", "backend": "driver"}
_SPELLINGS = {field: option for option, field in _OPTIONS.items()}


def read_services(
    node: Node, models: dict[str, ModelSpec | None], report: Report
) -> tuple[dict[str, ModelSpec | None], tuple[Binding, ...]]:
    """Models that provider services declare, and the bindings of all services, sorted."""
    table = fields.mapping(node, "services", report)
    if table is None:
        return {}, ()
    if len(table.entries) > MAX_SERVICES:
        report.error("services", node.at, f"There are more than {MAX_SERVICES} services. Keep those that use models.")
        return {}, ()
    services = {name: mapping for name, entry in table.entries.items() if (mapping := _service(name, entry, report))}
    provided = {
        name: _read_provider(name, service.entries["provider"], models, report)
        for name, service in services.items()
        if "provider" in service.entries
    }
    known = {**models, **provided}
    bindings = [
        binding
        for name, service in services.items()
        for binding in _read_bindings(name, service, known, frozenset(provided), report)
    ]
    return provided, tuple(sorted(bindings, key=lambda binding: (binding.service, binding.model_key)))


def _service(name: str, entry: Entry, report: Report) -> Mapping | None:
    """The service's mapping, its keys told apart into read, ignored and refused."""
    path = join("services", name)
    if not _KEY.fullmatch(name):
        report.error(
            path, entry.key_at, "A service's name is 1 to 63 letters, digits, dots, dashes and underscores. Rename it."
        )
        return None
    service = fields.mapping(entry.value, path, report)
    if service is None:
        return None
    ignored = []
    for key, value in service.entries.items():
        if key in REFUSED:
            report.error(join(path, key), value.key_at, REFUSED[key])
        elif key in IGNORED or (key.startswith("x-") and key != "x-moorage"):
            ignored.append(key)
        elif key == "x-moorage":
            report.error(join(path, key), value.key_at, "x-moorage belongs into a model. Move it under models.")
        elif key not in READ:
            fields.refuse(key, value, READ | IGNORED, path, report)
    if "volumes" in service.entries:
        _refuse_host_paths(service.entries["volumes"].value, join(path, "volumes"), report)
    if ignored:
        keys = listed([key if key.isascii() else shown(key) for key in ignored[:20]])
        message = f"Moorage runs models only and ignores {keys}; run this service with docker compose."
        report.warning(path, entry.key_at, message)
    return service


def _refuse_host_paths(node: Node, path: str, report: Report) -> None:
    for index, item in enumerate(node.items if isinstance(node, Sequence) else ()):
        if isinstance(item, Scalar):
            bound = ":" in item.text and _HOST_PATH.match(item.text) is not None
        else:
            kind = item.entries.get("type") if isinstance(item, Mapping) else None
            bound = kind is not None and isinstance(kind.value, Scalar) and kind.value.text in ("bind", "npipe")
        if bound:
            report.error(
                join(path, index), item.at, "Moorage mounts nothing of a machine. Use a named volume or remove it."
            )


def _read_provider(name: str, entry: Entry, models: Table[str, ModelSpec | None], report: Report) -> ModelSpec | None:
    """`provider: {type: model, options: …}` declares a model under the service's name."""
    path = join(join("services", name), "provider")
    provider = fields.mapping(entry.value, path, report)
    if provider is None:
        return None
    fields.refuse_unknown(provider.entries, ("type", "options"), path, report, {})
    kind = provider.entries.get("type")
    if kind is None or fields.text(kind.value, join(path, "type"), report) != "model":
        at = kind.value.at if kind else entry.key_at
        report.error(
            join(path, "type"), at, "Moorage knows the provider type model only. Write type: model or remove it."
        )
        return None
    if name in models:
        report.error(path, entry.key_at, f"There is a model {shown(name)} under models already. Rename this service.")
        return None
    inside = join(path, "options")
    options = provider.entries.get("options")
    table = fields.mapping(options.value, inside, report) if options else None
    if options is None or table is None:
        report.error(path, entry.key_at, "The options are missing. Add options: {model: ai/smollm2:360M-Q4_K_M}.")
        return None
    hints = {key: "Moorage runs no draft models. Remove it." for key in table.entries if key.startswith("speculative-")}
    fields.refuse_unknown(table.entries, _OPTIONS, inside, report, hints)
    renamed = {_OPTIONS[key]: value for key, value in table.entries.items() if key in _OPTIONS}
    fields_of_model = Mapping(at=table.at, entries=renamed)
    return models_element.read_model(name, inside, options.key_at, fields_of_model, report, names=_SPELLINGS)


def _read_bindings(
    name: str, service: Mapping, known: Table[str, ModelSpec | None], provided: frozenset[str], report: Report
) -> list[Binding]:
    path = join("services", name)
    found: dict[str, tuple[Binding, Position]] = {}
    if "models" in service.entries:
        found = _read_models(name, service.entries["models"].value, join(path, "models"), known, report)
    for key, at in _dependencies(service).items():
        # A service that depends on a provider service reads its variables, as Compose sets them.
        if key in provided and key not in found:
            found[key] = (_binding(name, key), at)
    taken: dict[str, str] = {}
    for key, (binding, at) in found.items():
        for variable in (binding.endpoint_var, binding.model_var):
            _check_variable(variable, key, taken, join(join(path, "models"), key), at, report)
    return [binding for binding, _ in found.values()]


def _read_models(
    name: str, node: Node, path: str, known: Table[str, ModelSpec | None], report: Report
) -> dict[str, tuple[Binding, Position]]:
    """The short list or the long mapping."""
    found: dict[str, tuple[Binding, Position]] = {}
    if isinstance(node, Mapping):
        for key, entry in node.entries.items():
            if _is_declared(key, join(path, key), entry.key_at, known, report):
                found[key] = (_read_long(name, key, entry, join(path, key), report), entry.key_at)
        return found
    for index, item in enumerate(fields.sequence(node, path, report)):
        place = join(path, index)
        listed_key = fields.text(item, place, report)
        if listed_key is None or not _is_declared(listed_key, place, item.at, known, report):
            continue
        if listed_key in found:
            report.error(place, item.at, f"The model {shown(listed_key)} is listed twice. Remove one.")
        found[listed_key] = (_binding(name, listed_key), item.at)
    return found


def _read_long(name: str, key: str, entry: Entry, path: str, report: Report) -> Binding:
    table = fields.mapping(entry.value, path, report)
    entries = table.entries if table else {}
    fields.refuse_unknown(entries, ("endpoint_var", "model_var"), path, report, {})
    chosen = {
        field: fields.text(entries[field].value, join(path, field), report)
        for field in ("endpoint_var", "model_var")
        if field in entries
    }
    return _binding(name, key, endpoint_var=chosen.get("endpoint_var"), model_var=chosen.get("model_var"))


def _binding(name: str, key: str, *, endpoint_var: str | None = None, model_var: str | None = None) -> Binding:
    return Binding(
        service=name,
        model_key=key,
        endpoint_var=variable_names.endpoint_name(key) if endpoint_var is None else endpoint_var,
        model_var=variable_names.model_name(key) if model_var is None else model_var,
    )


def _is_declared(key: str, path: str, at: Position, known: Table[str, ModelSpec | None], report: Report) -> bool:
    if key in known:
        return True
    names = f" Declared are {listed(sorted(known)[:10])}." if known else ""
    report.error(path, at, f"There is no model {shown(key)} under models. Declare it or correct the name.{names}")
    return False


def _dependencies(service: Mapping) -> dict[str, Position]:
    """The names in depends_on, in either of its forms; what else stands there is Compose's business."""
    entry = service.entries.get("depends_on")
    if entry is None:
        return {}
    if isinstance(entry.value, Mapping):
        return {key: inner.key_at for key, inner in entry.value.entries.items()}
    items = entry.value.items if isinstance(entry.value, Sequence) else ()
    return {item.text: item.at for item in items if isinstance(item, Scalar)}


def _check_variable(variable: str, key: str, taken: dict[str, str], path: str, at: Position, report: Report) -> None:
    if not variable_names.is_readable(variable):
        report.error(
            path, at, f"A shell cannot read a variable named {shown(variable)}. Set endpoint_var and model_var here."
        )
    elif variable in taken:
        report.error(
            path,
            at,
            f"The variable {variable} is already used for the model {shown(taken[variable])}. Set endpoint_var and"
            " model_var to names of their own.",
        )
    taken.setdefault(variable, key)
