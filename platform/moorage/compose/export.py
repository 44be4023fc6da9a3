"""Spec -> official Compose text that Docker Compose accepts and that parses back to the same Spec."""

import re
from typing import TYPE_CHECKING, Any

import yaml

from moorage.compose.variable_names import endpoint_name, model_name

if TYPE_CHECKING:
    from moorage.compose.spec import Binding, ModelSpec, PlacementSpec, ScaleSpec, SleepSpec, Spec, UpdateSpec

_HEADER = (
    "# Written by Moorage, which runs the models only. To run a service with Docker Compose, give it your own image.\n"
)
# Compose wants an image of every service; Moorage reads none.
_NO_IMAGE = "scratch"
# Text that both YAML 1.1 and 1.2 read as text, and that means nothing else in either.
_PLAIN = re.compile(
    r"(?!(?:y|n|yes|no|on|off|true|false|null)\Z)[A-Za-z][A-Za-z0-9._/-]*(?::[A-Za-z][A-Za-z0-9._-]*)?", re.I
)


class _Writer(yaml.SafeDumper):
    """Quotes all text that is not plainly text, so that no YAML reader takes it for a number or a boolean."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002  (PyYAML's signature)
        return True


def _write_text(writer: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = None if _PLAIN.fullmatch(text) else '"'
    return writer.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Writer.add_representer(str, _write_text)


def compose_text(spec: "Spec") -> str:
    """The file: `name`, `services` with their bindings, `models`."""
    document: dict[str, Any] = {}
    if spec.name is not None:
        document["name"] = spec.name
    document["models"] = {model.key: _model(model) for model in spec.models}
    services: dict[str, Any] = {}
    for binding in spec.bindings:
        service = services.setdefault(binding.service, {"image": _NO_IMAGE, "models": {}})
        service["models"][binding.model_key] = _names(binding)
    if services:
        document["services"] = services
    body = yaml.dump(
        document, Dumper=_Writer, sort_keys=False, default_flow_style=False, allow_unicode=True, width=1000
    )
    return (_HEADER if services else "") + body


def _names(binding: "Binding") -> dict[str, str]:
    names = {}
    if binding.endpoint_var != endpoint_name(binding.model_key):
        names["endpoint_var"] = binding.endpoint_var
    if binding.model_var != model_name(binding.model_key):
        names["model_var"] = binding.model_var
    return names


def _model(model: "ModelSpec") -> dict[str, Any]:
    document: dict[str, Any] = {"model": _literal(model.reference)}
    if model.name is not None:
        document["name"] = model.name
    if model.context_size is not None:
        document["context_size"] = model.context_size
    if model.flags:
        # Two items a flag: llama-server does not understand --flag=value.
        document["runtime_flags"] = [
            part for flag in model.flags for part in (flag.name, flag.value) if part is not None
        ]
    extension = _extension(model)
    if extension:
        document["x-moorage"] = extension
    return document


def _extension(model: "ModelSpec") -> dict[str, Any]:
    extension: dict[str, Any] = {}
    if model.driver is not None:
        extension["driver"] = model.driver
    if model.gpus is not None:
        extension["gpus"] = model.gpus
    extension |= _placement(model.placement)
    if model.health is not None:
        health = {name.removesuffix("_seconds"): value for name, value in vars(model.health).items()}
        extension["healthcheck"] = {name: value for name, value in health.items() if value is not None}
    extension["scale"] = _scale(model.scale)
    if sleep := _sleep(model.sleep):
        extension["scale"]["sleep"] = sleep
    if update := _update(model.update):
        extension["update"] = update
    if model.environment:
        extension["environment"] = {name: _literal(value) for name, value in model.environment}
    if model.labels:
        extension["labels"] = {name: _literal(value) for name, value in model.labels}
    return extension


def _placement(placement: "PlacementSpec") -> dict[str, Any]:
    document: dict[str, Any] = {}
    if placement.gpu_memory_bytes is not None:
        document["gpu_memory"] = _size(placement.gpu_memory_bytes)
    if placement.priority != "normal":
        document["priority"] = placement.priority
    if placement.node_labels:
        document["node"] = {"labels": {name: _literal(value) for name, value in placement.node_labels}}
    return document


def _size(size: int) -> str:
    """In the largest unit that says it exactly; shares are whole MiB."""
    gib, mib = 1024**3, 1024**2
    return f"{size // gib}g" if size % gib == 0 else f"{size // mib}m"


def _scale(scale: "ScaleSpec") -> dict[str, Any]:
    idle = "never" if scale.idle_seconds is None else scale.idle_seconds
    document: dict[str, Any] = {"min": scale.min, "max": scale.max, "idle": idle}
    for name in ("warm", "target"):
        if getattr(scale, name):
            document[name] = getattr(scale, name)
    if scale.down_delay_seconds:
        document["down_delay"] = scale.down_delay_seconds
    if scale.schedule:
        document["schedule"] = [
            {
                "days": list(one.days),
                "from": one.from_text,
                "to": one.to_text,
                "timezone": one.timezone,
                "min": one.min,
            }
            for one in scale.schedule
        ]
    return document


def _sleep(sleep: "SleepSpec") -> dict[str, Any]:
    given = {name.removesuffix("_seconds"): value for name, value in vars(sleep).items() if value is not None}
    return {name: value or "never" for name, value in given.items()}


def _update(update: "UpdateSpec") -> dict[str, Any]:
    document: dict[str, Any] = {} if update.strategy == "surge" else {"strategy": update.strategy}
    canary = update.canary
    if canary is not None:
        document["canary"] = {
            "weight": canary.weight,
            "for": canary.for_seconds,
            "errors": f"{canary.errors_hundredths / 100:g}%",
            "first_token": f"{canary.first_token_hundredths / 100:g}x",
            "tokens": f"{canary.tokens_hundredths / 100:g}x",
        }
    return document


def _literal(text: str) -> str:
    """Dollars doubled, so that they are not read as variables."""
    return text.replace("$", "$$")
