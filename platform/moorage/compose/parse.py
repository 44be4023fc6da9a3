"""Compose text -> Spec: pure, bounded, and with every problem at once.

1. Admit the bytes; 2. read YAML into positioned nodes; 3. fill in the variables that were sent along, where a value is
used; 4. read `models`, then `services`; 5. check names across models. Any error refuses the file as a whole.
"""

import re
from collections.abc import Mapping as Table
from dataclasses import dataclass, replace

from moorage.compose import fields, models_element, source_text, yaml_nodes
from moorage.compose.interpolation import Interpolation, check_variables
from moorage.compose.problems import START, Problem, Report, SpecInvalid, join, shown
from moorage.compose.services_element import read_services
from moorage.compose.spec import Binding, ModelSpec, Spec
from moorage.compose.yaml_nodes import Entry, Mapping, Node, Sequence

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")
_NAME_RULE = "A name is 1 to 63 of a-z, 0-9, dash and underscore, and begins with a letter or digit."

_READ = ("name", "models", "services", "x-moorage")
_REFUSED = {"include": "Moorage reads this one file only. Write the included parts into it and remove include."}
_IGNORED = {
    "version": "Compose ignores version, and so does Moorage.",
    "networks": "Moorage runs models only and ignores networks.",
    "volumes": "Moorage runs models only and ignores volumes.",
    "secrets": "Moorage runs models only and ignores secrets.",
    "configs": "Moorage runs models only and ignores configs.",
}


@dataclass(frozen=True, kw_only=True)
class Parsed:
    """A file that can be used: its Spec, what was ignored, and the line (from 1) of each path."""

    spec: Spec
    warnings: tuple[Problem, ...]
    lines: Table[str, int]


def parse(text: str | bytes, *, variables: Table[str, str] | None = None, deployment_name: str | None = None) -> Parsed:
    """Read one Compose file. `deployment_name`, when given, wins over the file's `name`.

    Raises SpecInvalid with every problem found.
    """
    report = Report()
    check_variables(variables or {}, report)
    try:
        root = yaml_nodes.load(source_text.admit(text), report)
    except source_text.Unreadable as error:
        report.error("", error.at, error.message)
        raise SpecInvalid(report.problems) from None
    spec = _read(root, variables or {}, deployment_name, report)
    if report.failed:
        raise SpecInvalid(report.problems)
    return Parsed(spec=spec, warnings=report.problems, lines=report.lines)


def _read(root: Node | None, variables: Table[str, str], deployment_name: str | None, report: Report) -> Spec:
    empty = Spec(name=None, models=())
    if root is None or fields.is_null(root):
        report.error("", START, f"The file is empty. Write at least:\n{models_element.EXAMPLE}")
        return empty
    if not isinstance(root, Mapping):
        report.error("", root.at, f"A Compose file is a mapping. Write at least:\n{models_element.EXAMPLE}")
        return empty
    _record_lines(root, "", report)
    _sort_keys(root, report)
    entries = _filled(root, Interpolation(variables, report))
    declared = models_element.read_models(entries["models"].value, report) if "models" in entries else {}
    provided: dict[str, ModelSpec | None] = {}
    bindings: tuple[Binding, ...] = ()
    if "services" in entries:
        provided, bindings = read_services(entries["services"].value, declared, report)
    models = {**declared, **provided}
    if not models and not ("models" in entries and _is_misshapen(entries["models"].value)):
        at = entries["models"].key_at if "models" in entries else START
        report.error("models", at, models_element.NO_MODELS)
    for key in provided:
        report.lines.setdefault(join("models", key), report.lines[join("services", key)])
    name = _read_name(entries, deployment_name, report)
    read = tuple(model for _, model in sorted(models.items()) if model is not None)
    _check_served_names(read, name, report)
    return Spec(name=name, models=read, bindings=bindings)


def _is_misshapen(node: Node) -> bool:
    """Whether `models` was told to be no mapping already."""
    return not isinstance(node, Mapping) and not fields.is_null(node)


def _record_lines(node: Node, path: str, report: Report) -> None:
    if isinstance(node, Mapping):
        for key, entry in node.entries.items():
            place = join(path, key)
            report.lines[place] = entry.key_at.line
            _record_lines(entry.value, place, report)
    elif isinstance(node, Sequence):
        for index, item in enumerate(node.items):
            report.lines[join(path, index)] = item.at.line
            _record_lines(item, join(path, index), report)


def _sort_keys(root: Mapping, report: Report) -> None:
    """Top-level keys: read, ignored with a warning, or refused."""
    for key, entry in root.entries.items():
        if key in _REFUSED:
            report.error(join("", key), entry.key_at, _REFUSED[key])
        elif key in _IGNORED:
            report.warning(join("", key), entry.key_at, _IGNORED[key])
        elif key.startswith("x-") and key != "x-moorage":
            report.warning(join("", key), entry.key_at, "Moorage does not know this extension and ignores it.")
        elif key not in _READ:
            fields.refuse(key, entry, (*_READ, *_IGNORED), "", report)
    for key in ("secrets", "configs"):
        if key in root.entries and isinstance(table := root.entries[key].value, Mapping):
            _refuse_sources(table, key, report)


def _refuse_sources(table: Mapping, path: str, report: Report) -> None:
    """Secrets and configs that name a file or a variable of the machine reading them."""
    for name, entry in table.entries.items():
        for source in ("file", "environment"):
            if isinstance(entry.value, Mapping) and source in entry.value.entries:
                at = entry.value.entries[source].key_at
                place = join(join(path, name), source)
                report.error(place, at, "Moorage reads no files and variables of a machine. Remove this entry.")


def _filled(root: Mapping, interpolation: Interpolation) -> dict[str, Entry]:
    """The top-level entries with variables filled in wherever a value is used; what is ignored stays as it is."""
    filled = dict(root.entries)
    for key in ("name", "x-moorage", "models"):
        if key in filled:
            filled[key] = replace(filled[key], value=interpolation.fill(filled[key].value, key))
    services = filled.get("services")
    if services is None or not isinstance(services.value, Mapping):
        return filled
    rewritten = {}
    for name, service in services.value.entries.items():
        rewritten[name] = service
        if isinstance(service.value, Mapping):
            used = {
                key: replace(entry, value=interpolation.fill(entry.value, join(join("services", name), key)))
                if key in ("models", "provider")
                else entry
                for key, entry in service.value.entries.items()
            }
            rewritten[name] = replace(service, value=replace(service.value, entries=used))
    filled["services"] = replace(services, value=replace(services.value, entries=rewritten))
    return filled


def _read_name(entries: Table[str, Entry], deployment_name: str | None, report: Report) -> str | None:
    """The deployment's name: the caller's, else `name`, else `x-moorage.name`."""
    given: list[tuple[str, str, Entry]] = []
    if "name" in entries and (name := fields.text(entries["name"].value, "name", report)) is not None:
        given.append((name, "name", entries["name"]))
    if "x-moorage" in entries:
        extension = fields.mapping(entries["x-moorage"].value, "x-moorage", report)
        for key, entry in (extension.entries if extension else {}).items():
            path = join("x-moorage", key)
            if key != "name":
                report.error(path, entry.key_at, f"There is no key {shown(key)} here; put it into a model's x-moorage.")
            elif (name := fields.text(entry.value, path, report)) is not None:
                given.append((name, path, entry))
    for name, path, entry in given:
        if not _NAME.fullmatch(name):
            report.error(path, entry.value.at, f"{_NAME_RULE} Correct it.")
        elif name != given[0][0]:
            report.error(path, entry.value.at, f"The file is named {shown(given[0][0])} already. Keep one name.")
    if deployment_name is None:
        return given[0][0] if given else None
    if not _NAME.fullmatch(deployment_name):
        report.error("name", START, f"{shown(deployment_name)} cannot name a deployment. {_NAME_RULE}")
    for name, path, entry in given[:1]:
        if name != deployment_name:
            report.warning(path, entry.value.at, f"This name is ignored: the deployment is called {deployment_name}.")
    return deployment_name


def _check_served_names(models: tuple[ModelSpec, ...], name: str | None, report: Report) -> None:
    """No two models of a file answer to one name."""
    taken: dict[str, str] = {}
    for model in models:
        served = model.name or (f"{name}/{model.key}" if name else None)
        if served is None:
            continue
        if served in taken:
            path = join(join("models", model.key), "name")
            line = report.lines.get(path) or report.lines.get(join("models", model.key), 1)
            at = replace(START, line=line)
            report.error(
                path, at, f"The model {shown(taken[served])} is served as {shown(served)} too. Choose another name."
            )
        taken.setdefault(served, model.key)
